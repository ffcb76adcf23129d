"""A lane: one run of a transport's deliver(), and the source it takes its requests from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from gatewayd.errors import NexthopUnavailable, TransportBroken
from gatewayd.interfaces import IRequestSource, ITransport
from gatewayd.message import DeliveryRequest
from gatewayd.queue.active import ActiveMessage
from gatewayd.queue.results import Results
from gatewayd.queue.schedule import BROKEN, Refusal, Schedule, Turn, is_complaint
from gatewayd.status import Action, Outcome, deferred

__all__ = ["Lane", "LaneHost"]

_CRASHED = deferred("4.3.0", "unknown mail transport error")
_UNANSWERED = deferred("4.3.0", "the mail transport gave no result")


class LaneHost(Protocol):
    """What a lane needs of the dispatcher."""

    schedule: Schedule
    reactor: IReactorTime
    now: Callable[[], float]
    is_stopping: bool
    results: Results

    def lane_closed(self, lane: Lane, refusals: list[Refusal], why: Outcome | None) -> None: ...

    def pump(self) -> None: ...


@implementer(IRequestSource)
class Lane:
    """One lane of delivery to one destination, from its opening until deliver() returns.

    Requests taken are known by identity: comparing whole messages would cost more than
    delivering them.
    """

    __slots__ = (
        "_cancelled",
        "_host",
        "_idle_until",
        "_running",
        "_taken",
        "_timer",
        "_wait",
        "name",
        "transport",
        "turn",
    )

    def __init__(self, host: LaneHost, turn: Turn, transport: ITransport) -> None:
        self._host = host
        self.turn = turn
        self.transport = transport
        self.name = turn.destination.route.transport
        self._taken: dict[int, tuple[DeliveryRequest, ActiveMessage, float]] = {}
        self._wait: Deferred[DeliveryRequest | None] | None = None
        self._idle_until = 0.0
        self._timer: IDelayedCall | None = None
        self._running: Deferred[None] | None = None
        self._cancelled = False

    def start(self) -> None:
        """Run the transport; lane_closed() of the host tells of the end, maybe at once."""
        self._running = Deferred.fromCoroutine(self._deliver())
        self._running.addCallbacks(self._ended, self._failed)
        self._running.addErrback(self._broke)

    async def _deliver(self) -> None:
        await self.transport.deliver(self.turn.destination.route.nexthop, self)

    def cancel(self) -> None:
        """End it now; what it has taken without result is put back."""
        self._cancelled = True
        if self._running is not None:
            self._running.cancel()

    # IRequestSource

    def take(self) -> DeliveryRequest | None:
        host = self._host
        turn = self.turn
        part = host.schedule.take(turn, host.reactor.seconds())
        if part is None:
            return None
        entry: ActiveMessage = part.owner
        request = DeliveryRequest(entry.message, turn.destination.route, part.recipients)
        self._taken[id(request)] = (request, entry, host.now())
        return request

    def wait(self, seconds: float) -> Deferred[DeliveryRequest | None]:
        wait: Deferred[DeliveryRequest | None] = Deferred(self._abandon)
        request = self.take()
        if request is not None or self.turn.ending or self._host.is_stopping or seconds <= 0:
            wait.callback(request)
            return wait
        self._wait = wait
        self._idle_until = self._host.reactor.seconds() + seconds
        if self._timer is None:
            self._timer = self._host.reactor.callLater(seconds, self._idled)
        self._host.schedule.rest(self.turn)
        self._host.pump()
        return wait

    def done(self, request: DeliveryRequest, outcomes: Mapping[int, Outcome]) -> None:
        taken = self._taken.pop(id(request), None)
        host = self._host
        if taken is None:
            host.results.complain(self.name, f"{request.queue_id}: a second result for one request")
            return
        _, entry, since = taken
        if self.turn.destination.window.is_wide and is_complaint(outcomes.values()):
            host.schedule.complained(self.turn)
        host.schedule.served(self.turn, host.reactor.seconds())
        host.results.delivered(entry, request.recipients, outcomes, self.name, since)
        host.pump()

    def round_trip(self, seconds: float) -> None:
        self._host.schedule.waits(self.turn, seconds, self._host.reactor.seconds())
        self._host.pump()

    # Waiting for a request

    def resume(self) -> None:
        """Something waits for this idle lane."""
        request = self.take()
        if request is not None or self.turn.ending:
            self._fire(request)
        elif self._wait is not None:
            self._host.schedule.rest(self.turn)

    def finish(self) -> None:
        """It gets nothing more; if it is idle it learns that now."""
        self._host.schedule.end(self.turn)
        self._fire(None)

    def _fire(self, request: DeliveryRequest | None) -> None:
        wait, self._wait = self._wait, None
        if wait is not None:
            wait.callback(request)

    def _abandon(self, wait: Deferred[Any]) -> None:
        if wait is self._wait:
            self._wait = None
            self._host.schedule.rouse(self.turn)

    def _idled(self) -> None:
        """The timer of wait(): one serves for many waits, since a busy lane waits often."""
        self._timer = None
        if self._wait is None:
            return
        left = self._idle_until - self._host.reactor.seconds()
        if left > 0.001:
            self._timer = self._host.reactor.callLater(left, self._idled)
        else:
            self._host.schedule.rouse(self.turn)
            self._fire(None)

    # The end

    def _ended(self, _: object) -> None:
        if self._cancelled:
            self._give_back()
        elif self._taken:
            self._host.results.complain(
                self.name, "a delivery ended without a result for all it took"
            )
        refused = self.turn.fresh and self.turn.destination.waiting and not self._cancelled
        self._close(_UNANSWERED, broken=bool(refused))

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        if self._cancelled or isinstance(error, CancelledError):
            self._give_back()
            self._close(None)
        elif isinstance(error, NexthopUnavailable):
            self._close(_outcome(error), unavailable=error)
        elif isinstance(error, TransportBroken):
            self._host.results.complain(self.name, f"transport {self.name}: {error}")
            self._close(deferred(*BROKEN), broken=True)
        else:
            self._host.results.complain(self.name, f"transport {self.name} failed", failure)
            self._close(_CRASHED, broken=not self.turn.requests)

    def _give_back(self) -> None:
        host = self._host
        for request, entry, _ in self._taken.values():
            if host.is_stopping:
                host.schedule.dropped(self.turn)
                host.results.put_back(entry, len(request.recipients))
            else:
                host.schedule.put_back(self.turn, entry, request.recipients)
        self._taken.clear()

    def _close(
        self,
        why: Outcome | None,
        unavailable: NexthopUnavailable | None = None,
        broken: bool = False,
    ) -> None:
        host = self._host
        schedule = host.schedule
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wait = None
        taken, self._taken = self._taken, {}
        now = host.reactor.seconds()
        for request, entry, since in taken.values():
            schedule.dropped(self.turn)
            outcomes = {recipient.number: why or _CRASHED for recipient in request.recipients}
            host.results.delivered(entry, request.recipients, outcomes, self.name, since)
        refusals: list[Refusal] = []
        if unavailable is not None:
            refusals = schedule.unavailable(self.turn, unavailable.status, unavailable.text, now)
        elif broken:
            refusals = schedule.broken(self.name, now)
        schedule.close(self.turn, now)
        host.lane_closed(self, refusals, why)

    def _broke(self, failure: Failure) -> None:
        self._host.results.complain(self.name, "the end of a delivery failed", failure)


def _outcome(error: NexthopUnavailable) -> Outcome:
    return Outcome(
        Action.DEFERRED,
        error.status,
        error.text,
        error.relay,
        error.remote_mta,
        error.diagnostic,
    )
