"""SMTP and LMTP delivery on Twisted, by gatewayd.smtp's dialogue.

transport   a master.cf service; connects                     one a service
lane        the way through the servers of a next hop         one a deliver()
connection  octets, flow control and time                     one a server talked to
delivery    requests become exchanges, answers outcomes       one a connection
"""

from gatewayd.smtp.client.transport import SmtpTransport, make

__all__ = ["SmtpTransport", "make"]
