"""The dispatcher's settings that are not a transport's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gatewayd.queue.backoff import Backoff

if TYPE_CHECKING:
    from gatewayd.config.settings import Settings

__all__ = ["DispatchSettings"]


@dataclass(frozen=True, slots=True)
class DispatchSettings:
    """Limits of what is active, and rules for all transports. Times are seconds.

    ``original_limit``: octets of a message that reports are made from.
    ``double_bounce``: the address, local part and domain, that reports about reports come from;
    mail to it ends here.
    """

    backoff: Backoff = Backoff()  # noqa: RUF009 (a frozen value)
    active_limit: int = 20000
    recipient_limit: int = 20000
    queue_run_delay: float = 300.0
    transport_retry_time: float = 60.0
    defer_transports: frozenset[str] = frozenset()
    soft_bounce: bool = False
    original_limit: int = 102400
    double_bounce: tuple[str, str] = ("double-bounce", "")

    @classmethod
    def from_settings(cls, settings: Settings) -> DispatchSettings:
        return cls(
            backoff=Backoff.from_settings(settings),
            active_limit=max(1, settings.number("qmgr_message_active_limit")),
            recipient_limit=max(1, settings.number("qmgr_message_recipient_limit")),
            queue_run_delay=max(1.0, settings.seconds("queue_run_delay")),
            transport_retry_time=max(1.0, settings.seconds("transport_retry_time")),
            defer_transports=frozenset(settings.words("defer_transports")),
            soft_bounce=settings.flag("soft_bounce"),
            original_limit=max(
                settings.number("bounce_size_limit"), settings.number("header_size_limit")
            ),
            double_bounce=(
                settings.text("double_bounce_sender"),
                settings.text("myhostname").lower(),
            ),
        )
