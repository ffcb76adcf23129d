"""Who may be sent what, and when: the whole of the queue's decisions, without a clock.

The caller places recipients, then makes the moves that ``next_move`` tells:

    place(...) ─► Destination, or the Suspension that it is to be deferred with
    next_move(now) ─► Serve(turn): an idle lane gets a request     (then take(turn))
                      Open(destination): a new lane                 (then open())
                      End(turn): an idle lane makes room for others (then close())
    take(turn) ─► a request for a lane that asks for one
    served / unavailable / broken ─► feedback; what is to be deferred now
    wake_at() ─► when to call wake(), though nothing else happens

``now`` is any clock's seconds, the same for all calls; a clock set back shortens what waits
for it, and never strands anything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gatewayd.message import QueuedRecipient, Route
from gatewayd.queue.schedule.alarms import Alarms
from gatewayd.queue.schedule.destination import Destination, Part, Suspension
from gatewayd.queue.schedule.settings import TransportSettings
from gatewayd.queue.schedule.turns import TransportTurns, Turn
from gatewayd.queue.schedule.window import NOTHING

__all__ = ["End", "Move", "Open", "Refusal", "Schedule", "Serve"]

BROKEN = ("4.3.0", "mail transport unavailable")
_SUSPENDED = "delivery temporarily suspended: "


@dataclass(frozen=True, slots=True)
class Serve:
    turn: Turn


@dataclass(frozen=True, slots=True)
class Open:
    destination: Destination


@dataclass(frozen=True, slots=True)
class End:
    turn: Turn


Move = Serve | Open | End


@dataclass(frozen=True, slots=True)
class Refusal:
    """Recipients to be deferred now. ``attempted``: a try for them was made and failed."""

    part: Part
    route: Route
    status: str
    text: str
    attempted: bool


class Schedule:
    """The state of all transports and destinations that have anything to do.

    ``dead_for``: how long a dead destination is left alone; ``broken_for``: a transport.
    ``epoch`` counts flushes: recipients placed with a later epoch than a suspension's end it.
    """

    def __init__(
        self, transports: Mapping[str, TransportSettings], dead_for: float, broken_for: float
    ) -> None:
        self.dead_for = dead_for
        self.broken_for = broken_for
        self.epoch = 0
        self._transports: dict[str, TransportTurns] = {}
        self._ready: dict[TransportTurns, None] = {}
        self._idle_served: deque[Destination] = deque()
        self._alarms: Alarms[TransportTurns | Destination] = Alarms()
        self.configure(transports)

    def configure(self, transports: Mapping[str, TransportSettings], now: float = 0.0) -> None:
        """Take new settings over; destinations go on, with windows within the new limits."""
        for name, settings in transports.items():
            turns = self._transports.get(name)
            if turns is None:
                self._transports[name] = TransportTurns(settings)
            elif turns.settings != settings:
                self._resettle(turns, settings, now)

    def _resettle(self, turns: TransportTurns, settings: TransportSettings, now: float) -> None:
        turns.settings = settings
        for destination in turns.destinations.values():
            destination.reconfigure()
            if turns.lines:
                turns.leave_line(destination)
            self._consider(destination, now)
        self._ready[turns] = None

    # Placing

    def destination(self, route: Route, recipients: tuple[QueuedRecipient, ...]) -> Destination:
        """Where these recipients wait; raises KeyError for an unknown transport."""
        turns = self._transports[route.transport]
        if turns.settings.recipient_limit == 1:
            key = f"{route.nexthop} {recipients[0].recipient.address}"
        else:
            key = route.nexthop
        return turns.destination(route, key)

    def is_by_recipient(self, route: Route) -> bool:
        """Whether every recipient of this transport is a destination of its own."""
        return self._transports[route.transport].settings.recipient_limit == 1

    def waiting_for(self, route: Route) -> int:
        """Requests that wait for a route's destination, or its like, so far."""
        turns = self._transports.get(route.transport)
        if turns is None:
            return 0
        if turns.settings.recipient_limit == 1:
            return turns.in_line
        destination = turns.destinations.get(route.nexthop)
        return destination.waiting if destination else 0

    def place(
        self,
        owner: Any,
        destination: Destination,
        recipients: tuple[QueuedRecipient, ...],
        now: float,
        epoch: int = 0,
    ) -> Suspension | None:
        """Let recipients wait for a destination, or else say why they cannot.

        ``epoch`` is that of the flush they come with, 0 if none. Where a recipient is a
        destination, one is placed at a time.
        """
        turns = destination.transport
        for holder in (turns, destination):
            suspension = holder.suspension
            if suspension is not None:
                if suspension.holds(now, epoch):
                    self._forget(destination, now)
                    return suspension
                self._revive(holder)
        destination.add(Part(owner, recipients))
        self._consider(destination, now)
        return None

    def _revive(self, holder: TransportTurns | Destination) -> None:
        holder.suspension = None
        if isinstance(holder, Destination):
            holder.window.reset()

    def _consider(self, destination: Destination, now: float) -> None:
        """Put the destination where the next move is looked for, if it wants one."""
        waiting = destination.waiting
        if not waiting:
            return
        if self._is_paused(destination, now):
            self._alarms.set(destination.resume_at, destination)
        elif destination.idle:
            self._idle_served.append(destination)
        elif (
            destination.line is None
            and waiting > destination.fresh
            and destination.lanes < destination.window.size
        ):
            destination.transport.enter_line(destination)
            self._ready[destination.transport] = None

    # Moves

    def next_move(self, now: float) -> Move | None:
        """What to do next, or None if nothing can be done now."""
        while self._idle_served:
            destination = self._idle_served.popleft()
            if destination.waiting and destination.idle:
                return Serve(destination.idle[-1])
        while self._ready:
            turns = next(iter(self._ready))
            move = self._move_of(turns, now) if turns.lines else None
            if move is not None:
                return move
            del self._ready[turns]
        return None

    def _move_of(self, turns: TransportTurns, now: float) -> Move | None:
        """What to do about the lines of a transport."""
        delay = turns.settings.transport_rate_delay
        if delay:
            if 0 < turns.resume_at - now <= delay:
                self._alarms.set(turns.resume_at, turns)
                return None
            if turns.fresh:
                return None
        if turns.is_full:
            return End(next(iter(turns.idle))) if turns.idle and turns.is_short else None
        while turns.lines:
            destination = turns.first_in_line()
            if destination.idle:
                self._consider(destination, now)
            elif (
                destination.waiting > destination.fresh
                and destination.lanes < destination.window.size
            ):
                return Open(destination)
        return None

    def open(self, destination: Destination, now: float) -> Turn:
        """A lane starts; it counts against every limit until close()."""
        turns = destination.transport
        destination.lanes += 1
        destination.fresh += 1
        turns.lanes += 1
        turns.fresh += 1
        self._consider(destination, now)
        return Turn(destination, now)

    def take(self, turn: Turn, now: float) -> Part | None:
        """The next request's recipients for a lane; None if it has to wait, or to end.

        The caller tells the two apart by ``turn.ending``.
        """
        destination = turn.destination
        turns = destination.transport
        if turn.fresh:
            self._no_longer_fresh(turn)
        elif turn.idle:
            self._no_longer_idle(turn)
        if turn.ending:
            return None
        if destination.lanes - destination.ending > destination.window.size or turns.is_over(
            turn, now
        ):
            self.end(turn)
            return None
        if not destination.parts or self._has_to_wait(destination, now):
            return None
        part = destination.next()
        if destination.parts:
            self._consider(destination, now)
        if turn.requests == turn.served:
            turn.since = now
        turn.requests += 1
        destination.outstanding += 1
        settings = turns.settings
        if settings.rate_delay:
            destination.resume_at = now + settings.rate_delay
        if settings.transport_rate_delay:
            turns.resume_at = now + settings.transport_rate_delay
        return part

    def _has_to_wait(self, destination: Destination, now: float) -> bool:
        turns = destination.transport
        settings = turns.settings
        if settings.rate_delay:
            if destination.outstanding:
                return True
            if self._is_paused(destination, now):
                self._alarms.set(destination.resume_at, destination)
                return True
        if 0 < turns.resume_at - now <= settings.transport_rate_delay:
            self._alarms.set(turns.resume_at, destination)
            return True
        return False

    def rest(self, turn: Turn) -> None:
        """The lane waits for a request on an idle connection."""
        if not turn.idle:
            turn.idle = True
            turn.destination.idle.append(turn)
            turn.destination.transport.idle[turn] = None
            if turn.destination.transport.lines:
                self._ready[turn.destination.transport] = None

    def rouse(self, turn: Turn) -> None:
        """The lane no longer waits."""
        if turn.idle:
            self._no_longer_idle(turn)

    def end(self, turn: Turn) -> None:
        """The lane is told that it gets nothing more."""
        self.rouse(turn)
        if not turn.ending:
            turn.ending = True
            turn.destination.ending += 1
            turn.destination.transport.ending += 1

    def close(self, turn: Turn, now: float) -> None:
        """A lane has ended; the requests it took have been served or put back."""
        destination = turn.destination
        turns = destination.transport
        if turn.fresh:
            self._no_longer_fresh(turn)
        self.rouse(turn)
        if turn.ending:
            turns.ending -= 1
            destination.ending -= 1
        if turn.served:
            destination.proven -= 1
        destination.lanes -= 1
        turns.lanes -= 1
        self._consider(destination, now)
        if turns.lines:
            self._ready[turns] = None
        self._forget(destination, now)

    def _no_longer_fresh(self, turn: Turn) -> None:
        turn.fresh = False
        turn.destination.fresh -= 1
        turn.destination.transport.fresh -= 1

    def _no_longer_idle(self, turn: Turn) -> None:
        turn.idle = False
        turn.destination.idle.remove(turn)
        del turn.destination.transport.idle[turn]

    # Feedback

    def served(self, turn: Turn, now: float) -> None:
        """A request has its outcomes: the destination can be reached."""
        destination = turn.destination
        destination.outstanding -= 1
        if not turn.served:
            destination.proven += 1
        turn.served += 1
        if destination.suspension is not None:
            self._revive(destination)
        settings = destination.transport.settings
        if settings.rate_delay:
            destination.resume_at = now + settings.rate_delay
        feedback = settings.positive
        line = destination.slow_line
        if line is not None and not line.served(now - turn.since):
            feedback = NOTHING
        turn.since = now
        grown = destination.window.succeeded(feedback, destination.lanes)
        if destination.parts and (grown or settings.rate_delay):
            self._consider(destination, now)

    def waits(self, turn: Turn, seconds: float, now: float) -> None:
        """This lane has to wait so long for an answer before it may send its next message."""
        destination = turn.destination
        destination.waits(seconds)
        if destination.slow_line is not None:
            self._consider(destination, now)

    def complained(self, turn: Turn) -> None:
        """The next hop took the mail of this lane badly: it gets no more lanes than usual."""
        if turn.destination.slow_line is not None:
            turn.destination.slow_line.spoil()

    def put_back(self, turn: Turn, owner: Any, recipients: tuple[QueuedRecipient, ...]) -> None:
        """A request taken by this lane was not attempted: it is the first to wait again."""
        destination = turn.destination
        destination.outstanding -= 1
        part = Part(owner, recipients)
        destination.parts.appendleft(part)
        destination.waiting += part.requests(destination.transport.settings.recipient_limit)

    def dropped(self, turn: Turn) -> None:
        """A request taken by this lane is over without saying anything of the destination."""
        turn.destination.outstanding -= 1

    def unavailable(self, turn: Turn, status: str, text: str, now: float) -> list[Refusal]:
        """This lane could not reach the destination. Gives what is to be deferred at once.

        While another lane delivers, nothing is: it will see to the rest. Nor if this lane was
        beyond the usual and others are left. While others still try, the one request that this
        lane would have had. Otherwise, or if the destination is dead by now, all.
        """
        destination = turn.destination
        settings = destination.transport.settings
        if destination.suspension is not None:
            why = destination.suspension
            return self._drain_one(destination, why.status, why.text)
        others = destination.lanes - 1
        if turn.extra and others:
            self.complained(turn)
            destination.window.shrink(others)
            return []
        dead = destination.window.failed(settings.negative, settings.cohort_limit)
        if not dead and destination.proven - bool(turn.served) > 0:
            destination.window.shrink(others)
            return []
        first = destination.next()
        refusals = [Refusal(first, destination.route, status, text, True)] if first else []
        if dead:
            suspended = Suspension(status, _SUSPENDED + text, now, self.dead_for, self.epoch)
            destination.suspension = suspended
            self._alarms.set(suspended.until, destination)
            refusals += self._drain_one(destination, status, suspended.text)
        elif not others:
            refusals += self._drain_one(destination, status, text, attempted=True)
        return refusals

    def _drain_one(
        self, destination: Destination, status: str, text: str, attempted: bool = False
    ) -> list[Refusal]:
        destination.transport.leave_line(destination)
        return [
            Refusal(part, destination.route, status, text, attempted)
            for part in destination.drain()
        ]

    def broken(self, transport: str, now: float) -> list[Refusal]:
        """The transport does not work: leave it alone for a while, defer what waits for it."""
        turns = self._transports[transport]
        turns.suspension = Suspension(*BROKEN, now, self.broken_for, self.epoch)
        self._alarms.set(turns.suspension.until, turns)
        return self.drain(transport, *BROKEN)

    def drain(self, transport: str, status: str, text: str) -> list[Refusal]:
        """Defer all that waits for a transport."""
        refusals: list[Refusal] = []
        turns = self._transports.get(transport)
        for destination in list(turns.destinations.values()) if turns else ():
            refusals += self._drain_one(destination, status, text)
            if destination.is_unused:
                destination.transport.forget(destination)
        return refusals

    # Time

    def wake_at(self) -> float | None:
        """When wake() is to be called next."""
        return self._alarms.next_at()

    def wake(self, now: float) -> None:
        """Let go on whatever has waited until now; then there may be moves."""
        for holder in self._alarms.due(now):
            self._awake(holder, now)

    def _awake(self, holder: TransportTurns | Destination, now: float) -> None:
        suspension = holder.suspension
        if suspension is not None:
            if suspension.holds(now, 0):
                self._alarms.set(suspension.until, holder)
            else:
                self._revive(holder)
        if isinstance(holder, TransportTurns):
            self._ready[holder] = None
        else:
            self._consider(holder, now)
            self._forget(holder, now)

    def _is_paused(self, destination: Destination, now: float) -> bool:
        """Whether its rate delay is running; a longer wait than that is a clock set back."""
        return 0 < destination.resume_at - now <= destination.transport.settings.rate_delay

    def _forget(self, destination: Destination, now: float) -> None:
        """Drop what need not be remembered, so that memory follows what waits."""
        if not destination.is_unused:
            return
        if self._is_paused(destination, now):
            self._alarms.set(destination.resume_at, destination)
        else:
            destination.transport.forget(destination)

    # For people and reload

    def revive(self) -> None:
        """Forget every suspension: a flush of the whole queue starts."""
        for turns in self._transports.values():
            turns.suspension = None
            for destination in list(turns.destinations.values()):
                if destination.suspension is not None:
                    self._revive(destination)
                    turns.forget(destination)

    def withdraw_all(self, destination: Destination) -> list[Part]:
        """Take back all that waits for a destination."""
        destination.transport.leave_line(destination)
        return destination.drain()

    def withdraw(self, destination: Destination, owner: Any, now: float) -> list[Part]:
        """Take back what waits of one message for one destination."""
        parts = destination.withdraw(owner)
        if parts:
            destination.transport.leave_line(destination)
            self._consider(destination, now)
            self._forget(destination, now)
        return parts

    def destinations(self) -> Iterator[Destination]:
        """All that anything is known of, for status and metrics."""
        for turns in self._transports.values():
            yield from turns.destinations.values()

    @property
    def lanes(self) -> int:
        return sum(turns.lanes for turns in self._transports.values())
