"""Core transports beside SMTP, as master.cf names them."""

from gatewayd.transport import TransportMaker

error = TransportMaker("error", "gatewayd.transports.error", "Returns or defers all mail")
discard = TransportMaker("discard", "gatewayd.transports.discard", "Throws all mail away")
