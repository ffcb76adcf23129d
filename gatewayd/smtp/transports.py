"""The core transports that speak SMTP and LMTP, as master.cf names them."""

from gatewayd.transport import TransportMaker

smtp = TransportMaker("smtp", "gatewayd.smtp.client", "SMTP to the next hop's hosts")
lmtp = TransportMaker("lmtp", "gatewayd.smtp.client", "LMTP to a server over TCP or a Unix socket")
