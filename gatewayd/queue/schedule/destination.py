"""One destination, a next hop of a transport: what waits for it, and how it fares."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from gatewayd.message import QueuedRecipient, Route
from gatewayd.queue.schedule.slow_line import LONG, SlowLine
from gatewayd.queue.schedule.window import Window

if TYPE_CHECKING:
    from gatewayd.queue.schedule.turns import TransportTurns, Turn

__all__ = ["Destination", "Part", "Suspension"]


class Part:
    """Recipients of one message that wait for one destination.

    ``owner`` is whatever the caller knows the message by.
    """

    __slots__ = ("owner", "recipients")

    def __init__(self, owner: Any, recipients: tuple[QueuedRecipient, ...]) -> None:
        self.owner = owner
        self.recipients = recipients

    def requests(self, limit: int) -> int:
        """How many requests of up to ``limit`` recipients (0: any number) they make."""
        return -(-len(self.recipients) // limit) if limit else 1


class Suspension:
    """Why nothing is sent at present: what a recipient is deferred with, without an attempt.

    It lasts from ``since`` for ``duration`` seconds. A clock that was set back ends it, lest a
    destination stay shut for as long as the step. ``epoch`` counts the flushes before it: a
    later one overrides it.
    """

    __slots__ = ("duration", "epoch", "since", "status", "text")

    def __init__(
        self, status: str, text: str, since: float = 0.0, duration: float = 0.0, epoch: int = 0
    ) -> None:
        self.status = status
        self.text = text
        self.since = since
        self.duration = duration
        self.epoch = epoch

    def holds(self, now: float, epoch: int) -> bool:
        return epoch <= self.epoch and 0 <= now - self.since < self.duration

    @property
    def until(self) -> float:
        return self.since + self.duration


class Destination:
    """What waits for one next hop, with the lanes that serve it.

    Messages take turns: each gives one request, then goes to the end of the line, so that one
    of ten thousand recipients delays another by one request only. ``waiting`` counts requests,
    ``lanes`` all lanes, ``fresh`` those of them that have not asked for a request yet, ``proven``
    those that have delivered, ``ending`` those that get no more; ``outstanding`` requests under
    way.
    """

    __slots__ = (
        "ending",
        "fresh",
        "idle",
        "key",
        "lanes",
        "line",
        "outstanding",
        "parts",
        "proven",
        "resume_at",
        "route",
        "slow_line",
        "suspension",
        "transport",
        "waiting",
        "window",
    )

    def __init__(self, transport: TransportTurns, route: Route, key: str) -> None:
        settings = transport.settings
        self.transport = transport
        self.route = route
        self.key = key
        self.parts: deque[Part] = deque()
        self.waiting = 0
        self.window = Window(settings.initial_concurrency, settings.concurrency_limit)
        self.lanes = 0
        self.fresh = 0
        self.ending = 0
        self.proven = 0
        self.outstanding = 0
        self.idle: list[Turn] = []
        self.resume_at = 0.0
        self.suspension: Suspension | None = None
        self.slow_line: SlowLine | None = None
        self.line: Any = None
        """The line of the transport that it stands in, if it wants a lane."""

    def reconfigure(self) -> None:
        """The transport's settings are new: its limits hold for what is opened from now on."""
        settings = self.transport.settings
        self.waiting = sum(part.requests(settings.recipient_limit) for part in self.parts)
        self.window.relimit(settings.concurrency_limit)
        self.slow_line = None

    def waits(self, seconds: float) -> None:
        """A lane was opened, and waits so long for an answer before it may send the next."""
        if self.slow_line is None:
            settings = self.transport.settings
            if seconds < LONG or not 0 < settings.concurrency_limit < settings.slow_line_limit:
                return
            self.slow_line = SlowLine(self.window, settings.slow_line_limit, seconds)
        self.slow_line.opened(seconds)

    def add(self, part: Part) -> None:
        self.parts.append(part)
        self.waiting += part.requests(self.transport.settings.recipient_limit)

    def next(self) -> Part | None:
        """The next request's recipients, of the message whose turn it is."""
        if not self.parts:
            return None
        part = self.parts.popleft()
        self.waiting -= 1
        limit = self.transport.settings.recipient_limit
        recipients = part.recipients
        if not limit or len(recipients) <= limit:
            return part
        self.parts.append(Part(part.owner, recipients[limit:]))
        return Part(part.owner, recipients[:limit])

    def drain(self) -> list[Part]:
        """All that waits, which it no longer does."""
        parts = list(self.parts)
        self.parts.clear()
        self.waiting = 0
        return parts

    def withdraw(self, owner: Any) -> list[Part]:
        """What waits of one message, which it no longer does."""
        taken = [part for part in self.parts if part.owner is owner]
        if taken:
            self.parts = deque(part for part in self.parts if part.owner is not owner)
            limit = self.transport.settings.recipient_limit
            self.waiting -= sum(part.requests(limit) for part in taken)
        return taken

    @property
    def is_unused(self) -> bool:
        return not self.lanes and not self.waiting and self.suspension is None
