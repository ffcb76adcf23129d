"""What the dispatcher is doing, as people and metrics see it."""

from __future__ import annotations

from dataclasses import dataclass

from gatewayd.queue.schedule import Schedule

__all__ = ["DestinationStatus", "DispatchStatus", "take_status"]


@dataclass(frozen=True, slots=True)
class DestinationStatus:
    """One destination: requests that wait, lanes open, the window they may grow to.

    ``suspended`` is the reason why nothing is sent there at present, for ``seconds_left`` more
    seconds; "" if there is none.
    """

    transport: str
    nexthop: str
    waiting: int
    lanes: int
    window: int
    suspended: str
    seconds_left: float


@dataclass(frozen=True, slots=True)
class DispatchStatus:
    """Messages and recipients in active, and the destinations, those with most waiting first."""

    messages: int
    recipients: int
    destinations: tuple[DestinationStatus, ...]


def take_status(schedule: Schedule, messages: int, recipients: int, now: float) -> DispatchStatus:
    """``now`` is the schedule's clock."""
    found = []
    for destination in schedule.destinations():
        suspension = destination.suspension or destination.transport.suspension
        if suspension is not None and not suspension.holds(now, 0):
            suspension = None
        found.append(
            DestinationStatus(
                destination.route.transport,
                destination.route.nexthop,
                destination.waiting,
                destination.lanes,
                destination.window.size,
                suspension.text if suspension else "",
                suspension.until - now if suspension else 0.0,
            )
        )
    found.sort(key=lambda each: (-each.waiting, each.transport, each.nexthop))
    return DispatchStatus(messages, recipients, tuple(found))
