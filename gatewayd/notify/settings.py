"""The parameters of reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gatewayd.address import Address, parse_address
from gatewayd.errors import AddressSyntaxError

if TYPE_CHECKING:
    from gatewayd.config.settings import Settings

__all__ = ["ReportSettings"]

_CLASSES = frozenset(
    ("2bounce", "bounce", "data", "delay", "policy", "protocol", "resource", "software")
)
_POSTMASTER = Address("postmaster")


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """What main.cf says of reports. Times are seconds, sizes octets.

    Of ``classes``, those three count that tell of mail: bounce, 2bounce and delay. A recipient
    without domain is at ``origin``.
    """

    host: str
    origin: str
    mail_name: str = "gatewayd"
    size_limit: int = 50000
    classes: frozenset[str] = frozenset()
    bounce_recipient: Address = _POSTMASTER
    double_bounce_recipient: Address = _POSTMASTER
    delay_recipient: Address = _POSTMASTER
    double_bounce_sender: str = "double-bounce"
    lifetime: float = 432000.0
    warning_time: float = 0.0

    @classmethod
    def from_settings(cls, settings: Settings) -> ReportSettings:
        """As main.cf says. Raises ConfigError."""
        return cls(
            host=settings.text("myhostname"),
            origin=settings.text("myorigin"),
            mail_name=settings.text("mail_name"),
            size_limit=settings.number("bounce_size_limit"),
            classes=_classes(settings),
            bounce_recipient=_recipient(settings, "bounce_notice_recipient"),
            double_bounce_recipient=_recipient(settings, "2bounce_notice_recipient"),
            delay_recipient=_recipient(settings, "delay_notice_recipient"),
            double_bounce_sender=settings.text("double_bounce_sender"),
            lifetime=settings.seconds("maximal_queue_lifetime"),
            warning_time=settings.seconds("delay_warning_time"),
        )


def _classes(settings: Settings) -> frozenset[str]:
    classes = frozenset(settings.words("notify_classes"))
    if unknown := sorted(classes - _CLASSES):
        known = ", ".join(sorted(_CLASSES))
        raise settings.error("notify_classes", f'"{unknown[0]}": some of {known} expected')
    return classes


def _recipient(settings: Settings, name: str) -> Address:
    text = settings.text(name)
    try:
        address = parse_address(text)
    except AddressSyntaxError as error:
        raise settings.error(name, str(error)) from None
    if not address:
        raise settings.error(name, "an address expected, not nothing")
    return address
