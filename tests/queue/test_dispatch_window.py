"""Bounded memory, fair shares of it, stop, reload and new routes."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.errors import TableError
from gatewayd.message import DeliveryRequest, Route
from gatewayd.queue.backoff import Backoff
from gatewayd.queue.dispatch_settings import DispatchSettings
from gatewayd.queue.records import Selection
from gatewayd.queue.schedule import TransportSettings
from gatewayd.status import Outcome, deferred
from tests.fakes.dispatching import START, Dispatching
from tests.fakes.mail import recipient
from tests.fakes.transport import DELIVERED, FakeTransport


class Held:
    """Answers of a transport that the test gives when it likes."""

    def __init__(self) -> None:
        self.waiting: list[tuple[DeliveryRequest, Deferred[Outcome]]] = []

    def __call__(self, request: DeliveryRequest) -> Deferred[Outcome]:
        answer: Deferred[Outcome] = Deferred()
        self.waiting.append((request, answer))
        return answer

    def give(self, outcome: Outcome = DELIVERED) -> None:
        waiting, self.waiting = self.waiting, []
        for _, answer in waiting:
            answer.callback(outcome)


class WindowTests(SynchronousTestCase):
    def test_hundred_thousand(self) -> None:
        """100 000 messages go through a window of 1000; never more are in memory."""
        d = Dispatching(DispatchSettings(active_limit=1000))
        for n in range(100_000):
            d.queue(f"{n:X}", f"u@d{n % 50}.org")
        held = Held()
        d.transport.answer = held
        d.dispatcher.start()
        for _ in range(10_000):
            if not d.store.entries:
                break
            assert held.waiting, "nothing is under way"
            held.give()
            if not held.waiting:
                d.clock.advance(1)
        assert d.store.entries == {}
        assert d.store.most_leased <= 1000
        assert len(d.transport.requests) == 100_000

    def test_room(self) -> None:
        """Without room the SMTP server keeps its mail in the store, where the feed finds it."""
        d = Dispatching(DispatchSettings(active_limit=2))
        held = Held()
        d.transport.answer = held
        d.dispatcher.start()
        d.submit("A1", "u@a.org")
        assert d.dispatcher.room()
        d.submit("A2", "u@b.org")
        assert not d.dispatcher.room()
        d.queue("A3", "u@c.org")
        held.give()
        d.run(2)
        held.give()
        assert d.delivered() == ["A1", "A2", "A3"]

    def test_recipients_count(self) -> None:
        """Recipients are bounded like messages."""
        d = Dispatching(DispatchSettings(recipient_limit=100))
        d.transport.answer = Held()
        d.submit("A1", *[f"u{n}@a.org" for n in range(100)])
        assert not d.dispatcher.room()

    def test_slow_destination_leaves_room(self) -> None:
        """A destination that takes nothing, with 3000 messages due first, lets others through."""
        d = Dispatching(DispatchSettings(active_limit=400))
        held = Held()
        d.transport.answer = lambda request: (
            held(request) if request.route.nexthop == "slow.org" else DELIVERED
        )
        for n in range(3000):
            d.queue(f"S{n}", f"u{n}@slow.org", arrival=START - 100)
        for n in range(20):
            d.queue(f"F{n}", f"u{n}@f{n}.org", arrival=START - 50)
        d.dispatcher.start()
        d.run(120)
        tried = {each.queue_id for each in d.transport.requests}
        assert {f"F{n}" for n in range(20)} <= tried
        assert d.dispatcher.room()
        assert d.store.most_leased <= 400
        for _ in range(4000):
            held.give()
            d.clock.advance(1)
            if not d.store.entries:
                break
        assert d.store.entries == {}
        assert len(d.transport.requests) == 3020

    def test_status(self) -> None:
        """What is going on can be told."""
        d = Dispatching()
        d.transport.answer = Held()
        for n in range(8):
            d.submit(f"A{n}", f"u{n}@a.org")
        status = d.dispatcher.status()
        assert (status.messages, status.recipients) == (8, 8)
        [one] = status.destinations
        assert (one.transport, one.nexthop, one.waiting, one.lanes) == ("smtp", "a.org", 3, 5)


class StopTests(SynchronousTestCase):
    def test_stop_waits_for_deliveries(self) -> None:
        """What runs is ended and recorded; what waits is put back unattempted."""
        d = Dispatching(smtp=TransportSettings("smtp", concurrency_limit=1))
        held = Held()
        d.transport.answer = held
        for n in range(3):
            d.submit(f"A{n}", "u@a.org")
        stopped = Deferred.fromCoroutine(d.dispatcher.stop(10))
        self.assertNoResult(stopped)
        d.clock.advance(1)
        held.give()
        self.successResultOf(stopped)
        assert sorted(d.store.entries) == ["A1", "A2"]
        assert sorted(d.store.released) == ["A1", "A2"]
        assert d.store.leased == 0
        assert d.transport.closed
        assert d.clock.getDelayedCalls() == []

    def test_stop_has_a_bound(self) -> None:
        """A delivery that doesn't end is cancelled, and put back."""
        d = Dispatching()
        d.transport.answer = Held()
        d.submit("A1", "u@a.org", "v@b.org")
        stopped = Deferred.fromCoroutine(d.dispatcher.stop(10))
        d.clock.advance(9)
        self.assertNoResult(stopped)
        d.clock.advance(1)
        self.successResultOf(stopped)
        assert d.store.released == ["A1"]

    def test_stop_with_half_a_message(self) -> None:
        """Delivered recipients are recorded, the others stay and are due at once."""
        d = Dispatching()
        held = Held()
        d.transport.answer = lambda request: (
            held(request) if request.route.nexthop == "b.org" else DELIVERED
        )
        d.submit("A1", "u@a.org", "v@b.org")
        stopped = Deferred.fromCoroutine(d.dispatcher.stop(0))
        d.clock.advance(0)
        self.successResultOf(stopped)
        [settlement] = d.store.settlements
        assert (settlement.done, settlement.remove) == ((1,), False)
        assert settlement.next_attempt == START
        assert [
            str(each.recipient.address) for each in d.store.entries["A1"].message.recipients
        ] == ["v@b.org"]

    def test_stop_returns_nothing(self) -> None:
        """A message that was not tried to the end does not expire by a stop."""
        d = Dispatching(DispatchSettings(Backoff(lifetime=0)))
        held = Held()
        d.transport.answer = lambda request: (
            held(request) if request.route.nexthop == "b.org" else deferred("4.2.0", "later")
        )
        d.submit("A1", "u@a.org", "v@b.org")
        stopped = Deferred.fromCoroutine(d.dispatcher.stop(0))
        d.clock.advance(0)
        self.successResultOf(stopped)
        assert d.reports.bounces == []
        assert len(d.store.entries["A1"].message.recipients) == 2

    def test_deaf_transport(self) -> None:
        """A transport that ignores its cancellation doesn't keep the gateway from stopping."""

        class Deaf(FakeTransport):
            async def deliver(self, nexthop: str, source: object) -> None:
                source.take()  # type: ignore[attr-defined]
                while True:
                    try:
                        await Deferred()
                    except Exception:
                        continue

        d = Dispatching(transports={"smtp": Deaf()})
        d.submit("A1", "u@a.org")
        stopped = Deferred.fromCoroutine(d.dispatcher.stop(1))
        d.clock.advance(1)
        self.assertNoResult(stopped)
        d.clock.advance(5)
        self.successResultOf(stopped)

    def test_submit_while_stopping(self) -> None:
        """A message that comes too late goes back to the store."""
        d = Dispatching()
        self.successResultOf(Deferred.fromCoroutine(d.dispatcher.stop(1)))
        assert not d.dispatcher.room()
        d.submit("A1", "u@a.org")
        assert d.store.released == ["A1"]


class ReloadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.other = FakeTransport()
        self.d = Dispatching(smtp=TransportSettings("smtp", concurrency_limit=1))
        self.d.dispatcher.start()

    def _reload(self, **transports: FakeTransport) -> None:
        limits = {name: TransportSettings(name) for name in transports}
        self.d.transports.update(transports)
        self.d.dispatcher.reload(DispatchSettings(), transports, limits)

    def test_queued_mail_is_routed_anew(self) -> None:
        """Deferred and held mail gets the routes of the new configuration."""
        self.d.transport.answer = lambda request: deferred("4.2.0", "later")
        self.d.submit("A1", "u@a.org", "v@b.org")
        self.d.submit("A2", "u@a.org")
        self.d.store.hold(Selection(queue_ids=("A2",)))
        self.d.routes["a.org"] = Route("other", "hub")
        self._reload(smtp=self.d.transport, other=self.other)
        self.d.run(1)
        routes = [
            str(each.recipient.route)
            for queue_id in ("A1", "A2")
            for each in self.d.store.entries[queue_id].message.recipients
        ]
        assert routes == ["other:hub", "smtp:b.org", "other:hub"]
        self.d.run(301)
        assert [each.queue_id for each in self.other.requests] == ["A1"]

    def test_an_attempt_goes_by_what_tables_say_then(self) -> None:
        """A table may change without a reload: the next attempt follows it."""
        self.d.transport.answer = lambda request: deferred("4.2.0", "later")
        self.d.submit("A1", "u@a.org", "v@b.org")
        self.d.routes["a.org"] = Route("smtp", "hub")
        self.d.run(301)
        hops = [request.route.nexthop for request in self.d.transport.requests]
        assert sorted(hops[:2]) == ["a.org", "b.org"]
        assert sorted(hops[2:]) == ["b.org", "hub"]
        recipients = self.d.store.entries["A1"].message.recipients
        assert [each.recipient.route.nexthop for each in recipients] == ["hub", "b.org"]
        assert self.d.rerouted == 0

    def test_start_with_another_configuration(self) -> None:
        """What was queued by another one is routed anew, in the background."""
        other = Dispatching()
        for n in range(500):
            other.queue(f"A{n}", "u@a.org", arrival=other.clock.seconds() + 1000)
        other.routes["a.org"] = Route("smtp", "hub")
        other.dispatcher.start(routes_changed=True)
        assert other.rerouted == 0
        other.run(1, step=0.1)
        assert other.rerouted == 1
        entries = other.store.entries.values()
        routes = {each.message.recipients[0].recipient.route.nexthop for each in entries}
        assert routes == {"hub"}

    def test_active_mail_is_routed_anew(self) -> None:
        """What waits in active moves; what a lane has taken ends where it is."""
        held = Held()
        self.d.transport.answer = held
        for n in range(3):
            self.d.submit(f"A{n}", "u@a.org")
        self.d.routes["a.org"] = Route("other", "hub")
        self._reload(smtp=self.d.transport, other=self.other)
        assert [each.queue_id for each in self.other.requests] == ["A1", "A2"]
        held.give()
        assert self.d.store.entries == {}

    def test_transport_removed(self) -> None:
        """A transport that is gone: its mail moves, or is deferred naming it; then it's closed."""
        held = Held()
        self.d.transport.answer = held
        for n in range(2):
            self.d.submit(f"A{n}", "u@a.org")
        self._reload(other=self.other)
        assert not self.d.transport.closed
        [why] = self.d.store.settlements[0].deferrals
        assert '"smtp"' in why.reason
        held.give()
        assert self.d.transport.closed
        assert sorted(self.d.store.entries) == ["A1"]

    def test_table_trouble_keeps_routes(self) -> None:
        """A table that can't answer leaves the routes as they were."""

        async def broken(*_: object) -> Route:
            raise TableError("no answer")

        self.d.transport.answer = lambda request: deferred("4.2.0", "later")
        self.d.submit("A1", "u@a.org")
        self.d.dispatcher._rerouting._resolve = broken
        self._reload(smtp=self.d.transport)
        self.d.run(1)
        [one] = self.d.store.entries["A1"].message.recipients
        assert str(one.recipient.route) == "smtp:a.org"

    def test_replaced_transport(self) -> None:
        """Lanes of a transport that was replaced end; the next request goes to the new one."""
        self.d.transport.idle = 100.0
        self.d.submit("A1", "u@a.org")
        new = FakeTransport()
        old = self.d.transport
        self._reload(smtp=new)
        assert old.closed
        self.d.submit("A2", "u@a.org")
        assert [each.queue_id for each in new.requests] == ["A2"]

    def test_huge_message_by_pipe(self) -> None:
        """A message of 5000 recipients for a pipe of one recipient doesn't hold up another."""
        pipe = FakeTransport()
        held = Held()
        pipe.answer = held
        limits = {"pipe": TransportSettings("pipe", maxproc=2, recipient_limit=1)}
        self.d.transports = {"pipe": pipe}
        self.d.dispatcher.reload(DispatchSettings(), {"pipe": pipe}, limits)
        self.d.submit("HUGE", *[recipient(f"u{n}@a.org", "pipe:x") for n in range(5000)])
        self.d.submit("SMALL", recipient("u@b.org", "pipe:x"))
        for _ in range(3):
            held.give()
        assert "SMALL" in [each.queue_id for each in pipe.requests[:6]]
