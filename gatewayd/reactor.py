"""The reactor of the gateway's own commands: Twisted's for epoll, with less ado for each event.

Twisted runs every event of a socket within a log context, so that lines logged by old code tell
whose they are. Ours tell that themselves (gatewayd.maillog), and a message makes about nine
events: without the contexts it costs a twentieth less. ``twistd`` brings its own reactor, and
everything works with that, too.
"""

from __future__ import annotations

import errno
from typing import Any

__all__ = ["install"]


def install() -> None:
    """Make it the process's reactor, where there is epoll; before twisted.internet.reactor is."""
    try:
        from twisted.internet.epollreactor import EPollReactor
    except ImportError:
        return
    from twisted.internet.main import installReactor

    class MailReactor(EPollReactor):
        """See the module."""

        def doPoll(self, timeout: float | None) -> None:
            """Wait for events, at most so long, and let their sockets handle them."""
            selectables: dict[int, Any] = self._selectables
            try:
                events = self._poller.poll(-1 if timeout is None else timeout, len(selectables))
            except OSError as error:
                if error.errno == errno.EINTR:
                    return
                raise
            handle: Any = self._doReadOrWrite
            for descriptor, event in events:
                selectable = selectables.get(descriptor)
                if selectable is not None:
                    handle(selectable, descriptor, event)

        doIteration = doPoll

    make: Any = MailReactor
    installReactor(make())
