"""When a message is tried again, when its sender is warned, and when it is given up.

Pure arithmetic on POSIX seconds. As Postfix does it: the pause after a failed attempt is the
message's age, held between two bounds, so that pauses about double.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gatewayd.message import QueuedMessage

if TYPE_CHECKING:
    from gatewayd.config.settings import Settings

__all__ = ["Backoff"]

_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """The times of a message's life in the queue, all in seconds.

    ``lifetime`` and ``bounce_lifetime`` (mail from the null sender) of 0 mean one attempt only;
    ``warning`` of 0 means that nobody is told of a delay.
    """

    minimal: float = 300.0
    maximal: float = 4000.0
    lifetime: float = 5 * _DAY
    bounce_lifetime: float = 5 * _DAY
    warning: float = 0.0

    @classmethod
    def from_settings(cls, settings: Settings) -> Backoff:
        minimal = settings.seconds("minimal_backoff_time")
        lifetime = settings.seconds("maximal_queue_lifetime")
        return cls(
            minimal=minimal,
            maximal=max(minimal, settings.seconds("maximal_backoff_time")),
            lifetime=lifetime,
            bounce_lifetime=min(lifetime, settings.seconds("bounce_queue_lifetime")),
            warning=settings.seconds("delay_warning_time"),
        )

    def next_attempt(self, arrival: float, now: float) -> float:
        """When a message that has just been deferred is due again.

        An arrival in the future (a clock set back) counts as just arrived.
        """
        return now + min(max(now - arrival, self.minimal), self.maximal)

    def is_expired(self, message: QueuedMessage, now: float) -> bool:
        """Whether an attempt that ended now, without success, was the last one."""
        lifetime = self.lifetime if message.envelope.sender else self.bounce_lifetime
        return message.expire or now - message.arrival >= lifetime

    def is_warning_due(self, message: QueuedMessage, now: float) -> bool:
        """Whether the sender is now to be told, once, that the message is delayed."""
        return (
            self.warning > 0
            and not message.warned
            and bool(message.envelope.sender)
            and now - message.arrival >= self.warning
        )
