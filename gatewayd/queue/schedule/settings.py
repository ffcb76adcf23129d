"""What the configuration says of one transport, as far as scheduling goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gatewayd.queue.schedule.window import UNIT, Feedback

if TYPE_CHECKING:
    from gatewayd.config.master_cf import Service
    from gatewayd.config.settings import Settings

__all__ = ["TransportSettings"]


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """Limits of one transport (a master.cf service); 0 means none. Delays are seconds.

    ``maxproc``: lanes in all; ``concurrency_limit``: lanes to one destination;
    ``recipient_limit``: recipients in one request, where 1 makes every recipient a destination
    of its own. ``program`` is the name that its deliveries are logged under.
    """

    name: str
    program: str = ""
    maxproc: int = 100
    concurrency_limit: int = 20
    initial_concurrency: int = 5
    positive: Feedback = UNIT
    negative: Feedback = UNIT
    cohort_limit: float = 1.0
    rate_delay: float = 0.0
    transport_rate_delay: float = 0.0
    recipient_limit: int = 50

    @classmethod
    def from_settings(cls, settings: Settings, service: Service) -> TransportSettings:
        """Raises ConfigError for a value that its type alone does not rule out."""
        name = service.name
        command = service.command
        rate_delay = settings.transport_seconds(name, "destination_rate_delay")
        return cls(
            name=name,
            program=name if name == command else f"{name}/{command}",
            maxproc=service.maxproc,
            concurrency_limit=(
                1
                if rate_delay
                else settings.transport_number(name, "destination_concurrency_limit")
            ),
            initial_concurrency=settings.transport_number(name, "initial_destination_concurrency"),
            positive=_feedback(settings, name, "positive"),
            negative=_feedback(settings, name, "negative"),
            cohort_limit=settings.transport_number(
                name, "destination_concurrency_failed_cohort_limit"
            ),
            rate_delay=rate_delay,
            transport_rate_delay=settings.transport_seconds(name, "transport_rate_delay"),
            recipient_limit=settings.transport_number(name, "destination_recipient_limit"),
        )


def _feedback(settings: Settings, transport: str, sign: str) -> Feedback:
    name = f"destination_concurrency_{sign}_feedback"
    try:
        return Feedback.parse(settings.transport_text(transport, name))
    except ValueError as error:
        raise settings.error(f"{transport}_{name}", str(error)) from None
