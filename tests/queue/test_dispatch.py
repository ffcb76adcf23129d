"""The dispatcher's way with messages: delivered, deferred, returned, put back; and what it logs."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from gatewayd.errors import NexthopUnavailable, StoreError, TransportBroken
from gatewayd.interfaces import IIncomingContent, IQueueStore, IRequestSource, ITransport
from gatewayd.message import Notify
from gatewayd.queue.dispatch_settings import DispatchSettings
from gatewayd.queue.schedule import TransportSettings
from gatewayd.status import Action, Outcome, deferred, failed
from tests.fakes.dispatching import START, Dispatching
from tests.fakes.mail import recipient
from tests.fakes.queue_store import MemoryIncoming, MemoryStore
from tests.fakes.transport import DELIVERED, FakeTransport


class FakesTests(SynchronousTestCase):
    def test_fakes_implement_the_seams(self) -> None:
        """What the tests use in place of store and transport has the same interface."""
        verifyObject(IQueueStore, MemoryStore())
        verifyObject(IIncomingContent, MemoryIncoming())
        verifyObject(ITransport, FakeTransport())


class DeliveryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.d = Dispatching()

    def test_delivered(self) -> None:
        """A message submitted is delivered at once, settled once, and gone from the queue."""
        self.d.submit("A1", "user@example.com", arrival=START - 0.03)
        assert self.d.delivered() == ["A1"]
        [settlement] = self.d.store.settlements
        assert (settlement.done, settlement.remove) == ((1,), True)
        assert self.d.store.entries == {}
        sent = (
            "smtp: A1: to=<user@example.com>, relay=relay[192.0.2.1]:25, delay=0.03,"
            " delays=0.03/0/0/0, dsn=2.0.0, status=sent (250 ok)"
        )
        assert self.d.log.lines == [
            "qmgr: A1: from=<sender@example.net>, size=23, nrcpt=1 (queue active)",
            sent,
            "qmgr: A1: removed",
        ]

    def test_source_is_a_request_source(self) -> None:
        """What a transport gets provides IRequestSource."""
        seen: list[object] = []

        class Peeking(FakeTransport):
            async def deliver(self, nexthop: str, source: IRequestSource) -> None:
                seen.append(source)
                await super().deliver(nexthop, source)

        d = Dispatching(transports={"smtp": Peeking()})
        d.submit("A1", "user@example.com")
        verifyObject(IRequestSource, seen[0])

    def test_requests_by_destination(self) -> None:
        """Recipients go by route, not more than the recipient limit in one request."""
        limits = TransportSettings("smtp", recipient_limit=2)
        d = Dispatching(smtp=limits)
        d.submit("A1", "a@x.org", "b@y.org", "c@x.org", "d@x.org")
        sets = sorted(
            (each.route.nexthop, [str(one.recipient.address) for one in each.recipients])
            for each in d.transport.requests
        )
        assert sets == [
            ("x.org", ["a@x.org", "c@x.org"]),
            ("x.org", ["d@x.org"]),
            ("y.org", ["b@y.org"]),
        ]
        [settlement] = d.store.settlements
        assert sorted(settlement.done) == [1, 2, 3, 4]

    def test_deferred_and_tried_again(self) -> None:
        """A deferral keeps its reason and comes back after the back-off, until it's delivered."""
        self.d.transport.answer = lambda request: deferred("4.2.0", "450 later", relay="r[1]:25")
        self.d.dispatcher.start()
        self.d.submit("A1", "user@example.com")
        [settlement] = self.d.store.settlements
        assert settlement.next_attempt == START + 300
        [why] = settlement.deferrals
        assert (why.status, why.reason, why.attempted) == ("4.2.0", "450 later", True)
        assert "status=deferred (450 later)" in self.d.log.lines[1]
        self.d.transport.answer = lambda request: DELIVERED
        self.d.run(299)
        assert len(self.d.transport.requests) == 1
        self.d.run(2)
        assert len(self.d.transport.requests) == 2
        assert self.d.store.entries == {}

    def test_bounced(self) -> None:
        """A failure is reported to the sender in the same settlement."""
        self.d.transport.answer = lambda request: (
            failed("5.1.1", "550 no such user") if request.queue_id == "A1" else DELIVERED
        )
        self.d.dispatcher.start()
        self.d.submit("A1", "user@example.com")
        settlement = self.d.store.settlements[0]
        assert len(settlement.notices) == 1
        assert settlement.remove
        assert self.d.reports.originals == [b"Subject: test\r\n\r\nbody\r\n"]
        notice = settlement.notices[0].queue_id
        assert f"bounce: A1: sender non-delivery notification: {notice}" in self.d.log.lines
        assert self.d.delivered() == ["A1", notice]
        assert self.d.store.entries == {}

    def test_soft_bounce(self) -> None:
        """soft_bounce keeps what would be returned."""
        d = Dispatching(DispatchSettings(soft_bounce=True))
        d.transport.answer = lambda request: failed("5.1.1", "550 no such user")
        d.submit("A1", "user@example.com")
        [why] = d.store.settlements[0].deferrals
        assert why.status == "4.1.1"
        assert d.reports.bounces == []

    def test_failed_report_keeps_the_recipient(self) -> None:
        """If no report can be made, the failed recipient stays in the queue."""
        self.d.reports.broken = ValueError("no template")
        self.d.transport.answer = lambda request: failed("5.1.1", "550 no such user")
        self.d.submit("A1", "user@example.com")
        [why] = self.d.store.settlements[0].deferrals
        assert why.status == "4.1.1"
        assert "A1" in self.d.store.entries
        assert isinstance(self.d.log.failures[0], ValueError)

    def test_success_report(self) -> None:
        """NOTIFY=SUCCESS is answered, unless the next system took that duty over."""
        self.d.submit("A1", recipient("user@example.com", notify=Notify.SUCCESS))
        assert [each[0] for each in self.d.reports.successes] == ["A1"]
        self.d.transport.answer = lambda request: Outcome(Action.PASSED, "2.0.0", "ok")
        self.d.submit("A2", recipient("user@example.com", notify=Notify.SUCCESS))
        assert [each[0] for each in self.d.reports.successes] == ["A1"]

    def test_double_bounce_ends(self) -> None:
        """Mail to the double-bounce address ends here without delivery or report."""
        d = Dispatching(DispatchSettings(double_bounce=("double-bounce", "mx.example.net")))
        d.submit("A1", "double-bounce@MX.example.net", "user@example.com", sender="")
        assert len(d.transport.requests) == 1
        assert sorted(d.store.settlements[0].done) == [1, 2]

    def test_unknown_transport(self) -> None:
        """A route to a service that isn't there defers, and names it."""
        self.d.submit("A1", recipient("user@example.com", "uucp:far"))
        [why] = self.d.store.settlements[0].deferrals
        assert why.status == "4.3.0"
        assert "mail transport unavailable" in why.reason
        assert '"uucp"' in why.reason
        assert not why.attempted

    def test_idle_lane_is_used_again(self) -> None:
        """A lane that waits gets the next message, without a new one being opened."""
        self.d.transport.idle = 2.0
        self.d.submit("A1", "user@example.com")
        self.d.clock.advance(1)
        self.d.submit("A2", "other@example.com")
        self.d.clock.advance(1.5)
        self.d.submit("A3", "third@example.com")
        assert self.d.transport.opened == ["example.com"]
        self.d.clock.advance(2.1)
        assert self.d.transport.total == 0
        assert self.d.delivered() == ["A1", "A2", "A3"]

    def test_settlement_is_repeated(self) -> None:
        """A store that fails for a while gets the settlement later; nothing is sent twice."""
        self.d.dispatcher.start()
        sent: list[Deferred[Outcome]] = []

        def answer(request: object) -> Deferred[Outcome]:
            sent.append(Deferred())
            return sent[-1]

        self.d.transport.answer = answer
        self.d.submit("A1", "user@example.com")
        self.d.store.failing = StoreError("disk full")
        sent[0].callback(DELIVERED)
        assert "A1" in self.d.store.entries
        self.d.run(20)
        self.d.store.failing = None
        self.d.run(60)
        assert self.d.store.entries == {}
        assert len(self.d.transport.requests) == 1


class TroubleTests(SynchronousTestCase):
    """Whatever a transport does, recipients stay in the queue and others are not affected."""

    def setUp(self) -> None:
        self.d = Dispatching(transports={"smtp": FakeTransport(), "good": FakeTransport()})
        self.bad = self.d.transports["smtp"]

    def _reason(self, queue_id: str) -> str:
        [found] = [each for each in self.d.store.settlements if each.queue_id == queue_id]
        [why] = found.deferrals
        return f"{why.status} {why.reason}"

    def test_crash_with_a_request(self) -> None:
        """An exception defers what was under way, with its traceback in the log."""

        def crash(request: object) -> Outcome:
            raise ZeroDivisionError

        self.bad.answer = crash
        self.d.submit("A1", "user@example.com")
        assert self._reason("A1") == "4.3.0 unknown mail transport error"
        assert isinstance(self.d.log.failures[0], ZeroDivisionError)

    def test_crash_before_a_request(self) -> None:
        """A transport that crashes as such is left alone for transport_retry_time."""

        def crash(nexthop: str) -> None:
            raise ZeroDivisionError

        self.bad.connect = crash
        self.d.submit("A1", "user@example.com")
        assert self._reason("A1") == "4.3.0 mail transport unavailable"
        self.d.submit("A2", "user@example.org")
        assert len(self.bad.opened) == 1
        self.d.submit("A3", recipient("user@example.org", "good:x"))
        assert len(self.d.transports["good"].requests) == 1
        self.bad.connect = lambda nexthop: None
        self.d.run(61)
        self.d.submit("A4", "user@example.org")
        assert [each.queue_id for each in self.bad.requests] == ["A4"]

    def test_broken(self) -> None:
        """TransportBroken defers all that waits for the transport."""
        connecting: Deferred[None] = Deferred()
        self.bad.connect = lambda nexthop: connecting
        self.d.submit("A1", "user@example.com")
        self.d.submit("A2", "user@example.org")
        connecting.errback(TransportBroken("no modem"))
        for queue_id in ("A1", "A2"):
            assert self._reason(queue_id) == "4.3.0 mail transport unavailable"
        assert "smtp: transport smtp: no modem" in self.d.log.problems

    def test_returns_without_taking(self) -> None:
        """A transport that ignores its requests doesn't make the dispatcher spin."""

        class Ignoring(FakeTransport):
            async def deliver(self, nexthop: str, source: IRequestSource) -> None:
                self.opened.append(nexthop)

        d = self.d = Dispatching(transports={"smtp": Ignoring()})
        d.submit("A1", "user@example.com")
        assert len(d.transports["smtp"].opened) == 1
        assert self._reason("A1") == "4.3.0 mail transport unavailable"

    def test_returns_without_result(self) -> None:
        """A request without outcomes is deferred and complained about."""

        class Forgetting(FakeTransport):
            async def deliver(self, nexthop: str, source: IRequestSource) -> None:
                source.take()

        d = self.d = Dispatching(transports={"smtp": Forgetting()})
        d.submit("A1", "user@example.com")
        assert "4.3.0 the mail transport gave no result" in self._reason("A1")
        assert len(d.log.problems) == 1

    def test_second_result(self) -> None:
        """done() twice for one request changes nothing the second time."""

        class Doubling(FakeTransport):
            async def deliver(self, nexthop: str, source: IRequestSource) -> None:
                request = source.take()
                assert request is not None
                source.done(request, {1: DELIVERED})
                source.done(request, {1: DELIVERED})

        d = self.d = Dispatching(transports={"smtp": Doubling()})
        d.submit("A1", "user@example.com")
        assert len(d.store.settlements) == 1
        assert len(d.log.problems) == 1

    def test_unavailable(self) -> None:
        """An unreachable next hop defers what waits for it, with its own status and relay."""
        connecting: Deferred[None] = Deferred()
        self.bad.connect = lambda nexthop: connecting
        self.d.submit("A1", "user@example.com")
        connecting.errback(NexthopUnavailable("4.4.1", "connect: refused", relay="mx[1]:25"))
        assert self._reason("A1") == "4.4.1 connect: refused"
        assert "relay=mx[1]:25" in self.d.log.lines[1]

    def test_dead_destination(self) -> None:
        """After a window of failures mail for it is suspended for minimal_backoff_time."""
        lanes: list[Deferred[None]] = []

        def connect(nexthop: str) -> Deferred[None]:
            lanes.append(Deferred())
            return lanes[-1]

        self.bad.connect = connect
        for n in range(6):
            self.d.submit(f"A{n}", f"u{n}@example.com")
        assert len(lanes) == 5
        for lane in lanes[:4]:
            lane.errback(NexthopUnavailable("4.4.1", "connect: timed out"))
        plain = "4.4.1 connect: timed out"
        suspended = "4.4.1 delivery temporarily suspended: connect: timed out"
        reasons = [self._reason(f"A{n}") for n in range(6)]
        assert reasons == [plain] * 4 + [suspended] * 2
        self.d.submit("B1", "u@example.com")
        assert self._reason("B1") == suspended
        assert "error: B1: to=<u@example.com>, relay=none" in self.d.log.lines[-1]
        lanes[4].errback(NexthopUnavailable("4.4.1", "connect: timed out"))
        self.bad.connect = lambda nexthop: None
        self.d.run(299)
        self.d.submit("B2", "u@example.com")
        assert self._reason("B2") == suspended
        self.d.run(2)
        self.d.submit("B3", "u@example.com")
        assert [each.queue_id for each in self.bad.requests] == ["B3"]
        assert list(self.d.dispatcher.schedule.destinations()) == []

    def test_busy_lane_keeps_the_rest(self) -> None:
        """One refused connection among lanes that deliver defers nothing."""
        answers: list[Deferred[Outcome]] = []

        def answer(request: object) -> Deferred[Outcome]:
            answers.append(Deferred())
            return answers[-1]

        self.bad.answer = answer
        self.d.submit("A1", "u1@example.com")
        answers[0].callback(DELIVERED)
        self.bad.idle = 5.0
        self.d.submit("A2", "u2@example.com")
        answers[1].callback(DELIVERED)
        self.d.submit("A3", "u3@example.com")
        refused: Deferred[None] = Deferred()
        self.bad.connect = lambda nexthop: refused
        self.d.submit("A4", "u4@example.com")
        refused.errback(NexthopUnavailable("4.4.2", "421 too many connections"))
        assert [each.queue_id for each in self.bad.requests] == ["A1", "A2", "A3"]
        answers[2].callback(DELIVERED)
        assert self.bad.requests[-1].queue_id == "A4"

    def test_silent_lane(self) -> None:
        """A next hop that hangs holds up its own mail only."""
        self.bad.answer = lambda request: (
            Deferred() if request.route.nexthop == "slow.org" else succeed(DELIVERED)
        )
        for n in range(30):
            self.d.submit(f"S{n}", f"u{n}@slow.org")
        self.d.submit("F1", "u@fast.org")
        assert "F1" in [each.queue_id for each in self.bad.requests]
        assert self.bad.most_lanes["slow.org"] == 5
