"""The mail log: lines in Postfix's layout, so that the tools that read its log read ours.

    log = MailLog("smtpd")
    log.info(f"connect from {peer}", client=peer)

Until ``configure()`` has said where they go, lines are kept (the latest few hundred). Tests read
them with ``capture()``. docs/logging.md is for administrators.
"""

from gatewayd.maillog.logger import MailLog
from gatewayd.maillog.output import (
    Captured,
    capture,
    configure,
    flush,
    take_over_twisted,
    unconfigure,
)
from gatewayd.maillog.settings import LogSettings

__all__ = [
    "Captured",
    "LogSettings",
    "MailLog",
    "capture",
    "configure",
    "flush",
    "take_over_twisted",
    "unconfigure",
]
