"""gatewayd: a multi-protocol mail gateway for places where the line is slow, dear or down.

The map of the package follows a message through it:

- ``smtp``     the SMTP and LMTP engines, server and client: sans-I/O machines and thin edges
- ``access``   who may send what where
- ``receive``  what is done to a message between the protocol and the queue
- ``queue``    durable store, schedule (pure), dispatch
- ``routing``  addresses to transport and next hop; next hop to hosts
- ``plugins``  transports that are not SMTP, a folder each (a link to the top-level folder)
- ``notify``   delivery status notifications
- ``control``  the operator's API, and ``cli`` the commands that talk to it
- ``config``   main.cf and master.cf; ``tables`` the lookup tables both refer to

The nouns that all of them share are here at the top: ``address``, ``message``, ``status``,
``errors``, ``interfaces``. ``service`` assembles the parts and is the only place that knows
them all; ``tap`` is the door for ``twistd``.
"""

__version__ = "0.1.0"
