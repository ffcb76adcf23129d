"""A transport that records, and does with each request what the test says."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from gatewayd.interfaces import IRequestSource, ITransport
from gatewayd.message import DeliveryRequest
from gatewayd.status import Action, Outcome

DELIVERED = Outcome(Action.RELAYED, "2.0.0", "250 ok", "relay[192.0.2.1]:25")

Answer = Callable[[DeliveryRequest], "Outcome | Deferred[Outcome]"]


def deliver_all(request: DeliveryRequest) -> Outcome:
    """The answer of a next hop that takes everything."""
    return DELIVERED


@implementer(ITransport)
class FakeTransport:
    """Delivers one request after the other on each lane.

    ``answer`` gives the outcome of a whole request, or a Deferred of it; it may raise, as
    ``connect`` may, which is called with the next hop when a lane opens and may give a Deferred.
    ``idle``: seconds that a lane waits for more; ``round_trip``: what it says of the line.
    """

    def __init__(self, answer: Answer = deliver_all, idle: float = 0.0) -> None:
        self.answer = answer
        self.connect: Callable[[str], Deferred[None] | None] = lambda nexthop: None
        self.idle = idle
        self.round_trip = 0.0
        self.requests: list[DeliveryRequest] = []
        self.opened: list[str] = []
        self.lanes: dict[str, int] = {}
        self.most_lanes: dict[str, int] = {}
        self.total = 0
        self.most_total = 0
        self.closed = False

    async def deliver(self, nexthop: str, source: IRequestSource) -> None:
        self.opened.append(nexthop)
        self._count(nexthop, 1)
        try:
            connecting = self.connect(nexthop)
            if connecting is not None:
                await connecting
            await self._serve(source)
        finally:
            self._count(nexthop, -1)

    async def _serve(self, source: IRequestSource) -> None:
        request = source.take()
        if self.round_trip:
            source.round_trip(self.round_trip)
        while request is not None:
            self.requests.append(request)
            outcome = self.answer(request)
            if isinstance(outcome, Deferred):
                outcome = await outcome
            source.done(request, {each.number: outcome for each in request.recipients})
            request = source.take()
            if request is None and self.idle:
                request = await source.wait(self.idle)

    def _count(self, nexthop: str, step: int) -> None:
        lanes = self.lanes[nexthop] = self.lanes.get(nexthop, 0) + step
        self.most_lanes[nexthop] = max(lanes, self.most_lanes.get(nexthop, 0))
        self.total += step
        self.most_total = max(self.most_total, self.total)

    def close(self) -> Deferred[None]:
        self.closed = True
        return succeed(None)
