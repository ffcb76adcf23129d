"""The drop-in that gives twistd its ``gatewayd`` command."""

from twisted.application.service import ServiceMaker

gatewayd = ServiceMaker(
    "gatewayd mail gateway",
    "gatewayd.tap",
    "Mail gateway: receives by SMTP, queues durably, delivers by SMTP, LMTP and plugins.",
    "gatewayd",
)
