"""One transport's lanes, and in what order its destinations get them.

Destinations that want a lane stand in line and get one each in turn. Where every recipient is
a destination of its own (recipient limit 1), those of one message share a place in the line, so
that a message of ten thousand recipients counts as one. If the transport has no lane left, a
lane gives way after its turn; an idle one at once.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any

from gatewayd.message import Route
from gatewayd.queue.schedule.destination import Destination, Suspension
from gatewayd.queue.schedule.settings import TransportSettings

__all__ = ["TURN_REQUESTS", "TURN_SECONDS", "TransportTurns", "Turn"]

TURN_REQUESTS = 10
TURN_SECONDS = 5.0
"""A lane's turn while others want one: enough to make a connection worth its set-up."""


class Turn:
    """A lane, as the schedule sees it: its destination and how much it has had.

    ``holder`` is whatever the caller knows the lane by. ``ending``: it gets no more requests.
    ``extra``: it was opened while the destination had more than its usual share. ``since``: when
    it began with the request that it is to serve next.
    """

    __slots__ = (
        "destination",
        "ending",
        "extra",
        "fresh",
        "holder",
        "idle",
        "opened",
        "requests",
        "served",
        "since",
    )

    def __init__(self, destination: Destination, now: float) -> None:
        self.destination = destination
        self.opened = self.since = now
        self.extra = destination.window.is_wide
        self.requests = 0
        self.served = 0
        self.fresh = True
        self.idle = False
        self.ending = False
        self.holder: Any = None


class TransportTurns:
    """The destinations of one transport, those that want a lane in line."""

    def __init__(self, settings: TransportSettings) -> None:
        self.settings = settings
        self.destinations: dict[str, Destination] = {}
        self.lines: OrderedDict[object, deque[Destination]] = OrderedDict()
        self.in_line = 0
        self.lanes = 0
        self.fresh = 0
        self.ending = 0
        self.idle: dict[Turn, None] = {}
        self.resume_at = 0.0
        self.suspension: Suspension | None = None

    def destination(self, route: Route, key: str) -> Destination:
        """The destination by that key, new if nothing is known of it."""
        destination = self.destinations.get(key)
        if destination is None:
            destination = self.destinations[key] = Destination(self, route, key)
        return destination

    def forget(self, destination: Destination) -> None:
        """Nothing of a destination is worth remembering any more, if it is unused."""
        if destination.is_unused:
            self.leave_line(destination)
            self.destinations.pop(destination.key, None)

    def enter_line(self, destination: Destination) -> None:
        shared = self.settings.recipient_limit == 1
        line = destination.parts[0].owner if shared else destination
        waiting = self.lines.get(line)
        if waiting is None:
            waiting = self.lines[line] = deque()
        waiting.append(destination)
        destination.line = line
        self.in_line += 1

    def leave_line(self, destination: Destination) -> None:
        if destination.line is None:
            return
        waiting = self.lines[destination.line]
        waiting.remove(destination)
        if not waiting:
            del self.lines[destination.line]
        destination.line = None
        self.in_line -= 1

    def first_in_line(self) -> Destination:
        """Take the next destination out; the rest of its line goes behind the others."""
        line, waiting = next(iter(self.lines.items()))
        destination = waiting.popleft()
        if waiting:
            self.lines.move_to_end(line)
        else:
            del self.lines[line]
        destination.line = None
        self.in_line -= 1
        return destination

    @property
    def is_full(self) -> bool:
        return 0 < self.settings.maxproc <= self.lanes

    @property
    def is_short(self) -> bool:
        """Whether lanes should give way: somebody wants one, and none is left or about to be."""
        return self.in_line > self.ending and self.is_full

    def is_over(self, turn: Turn, now: float) -> bool:
        """Whether this lane has to make room for others."""
        return self.is_short and (
            turn.requests >= TURN_REQUESTS or not 0 <= now - turn.opened < TURN_SECONDS
        )
