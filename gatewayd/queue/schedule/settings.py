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
    ``slow_line_limit``: the same where a line has a long round trip, if more.
    ``recipient_limit``: recipients in one request, where 1 makes every recipient a destination
    of its own. ``program`` is the name that its deliveries are logged under.
    """

    name: str
    program: str = ""
    maxproc: int = 100
    concurrency_limit: int = 20
    slow_line_limit: int = 45
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
            slow_line_limit=_slow_line_limit(settings, name),
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


def _slow_line_limit(settings: Settings, name: str) -> int:
    """None (0) where somebody has decided how much a destination may get, and how soon."""
    limit = settings.transport_number(name, "destination_slow_line_concurrency_limit")
    for suffix in (
        "destination_concurrency_limit",
        "destination_concurrency_positive_feedback",
        "destination_rate_delay",
    ):
        own, default = f"{name}_{suffix}", f"default_{suffix}"
        is_set = settings.is_set(own) or settings.is_set(default)
        if is_set or settings.transport_text(name, suffix) != settings.text(default):
            return 0
    return limit


def _feedback(settings: Settings, transport: str, sign: str) -> Feedback:
    name = f"destination_concurrency_{sign}_feedback"
    try:
        return Feedback.parse(settings.transport_text(transport, name))
    except ValueError as error:
        raise settings.error(f"{transport}_{name}", str(error)) from None
