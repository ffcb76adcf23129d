"""The SMTP server's edge: Twisted protocol and factory around the sans-I/O session."""

from gatewayd.smtp.limits import ConnectionCounts
from gatewayd.smtp.server.factory import Exemptions, SmtpdFactory
from gatewayd.smtp.server.protocol import SmtpdProtocol
from gatewayd.smtp.smtpd_settings import SmtpdSettings

__all__ = ["ConnectionCounts", "Exemptions", "SmtpdFactory", "SmtpdProtocol", "SmtpdSettings"]
