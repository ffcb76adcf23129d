"""The dispatcher over simulated days and weeks: retries, warnings, expiry, clocks that jump."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.errors import NexthopUnavailable, StoreError
from gatewayd.message import DeliveryRequest
from gatewayd.queue.backoff import Backoff
from gatewayd.queue.dispatch_settings import DispatchSettings
from gatewayd.queue.records import Selection
from gatewayd.status import Outcome, deferred
from tests.fakes.dispatching import START, Dispatching
from tests.fakes.mail import recipient
from tests.fakes.transport import DELIVERED, FakeTransport

DAY = 86400.0


class RetryTests(SynchronousTestCase):
    def _dispatching(self, backoff: Backoff | None = None, **rest: object) -> Dispatching:
        d = self.d = Dispatching(DispatchSettings(backoff or Backoff(), **rest))  # type: ignore[arg-type]
        d.dispatcher.start()
        self.tried: list[float] = []

        def answer(request: DeliveryRequest) -> Outcome:
            if request.queue_id == "A1":
                self.tried.append(d.clock.seconds() - START)
            return deferred("4.2.2", "452 mailbox full")

        d.transport.answer = answer
        return d

    def test_five_days_then_returned(self) -> None:
        """Attempts after 5, 10, 20 … minutes, then every 4000 s; after five days it's returned."""
        d = self._dispatching()
        d.submit("A1", "user@example.com", "other@example.com")
        d.run(6 * DAY, step=100)
        pauses = [later - one for one, later in zip(self.tried, self.tried[1:], strict=False)]
        rounded = [round(pause, -2) for pause in pauses[:6]]
        assert rounded == [300, 300, 600, 1200, 2400, 4000]
        assert all(4000 <= pause <= 4100 for pause in pauses[6:-1])
        [(queue_id, failures)] = d.reports.bounces
        assert queue_id == "A1"
        assert [(one.status, one.text) for _, one in failures] == [
            ("4.2.2", "452 mailbox full")
        ] * 2
        expired = "qmgr: A1: from=<sender@example.net>, status=expired, returned to sender"
        assert expired in d.log.lines
        assert "A1" not in d.store.entries

    def test_warned_once(self) -> None:
        """One warning, with the first deferral after delay_warning_time."""
        d = self._dispatching(Backoff(warning=4 * 3600))
        d.submit("A1", "user@example.com")
        d.run(4 * 3600 - 100, step=100)
        assert d.reports.delays == []
        d.run(2 * DAY, step=100)
        assert [each[0] for each in d.reports.delays] == ["A1"]
        warned = [each for each in d.store.settlements if each.notices]
        assert [each.queue_id for each in warned[:1]] == ["A1"]

    def test_zero_lifetime(self) -> None:
        """maximal_queue_lifetime 0: one attempt, then returned."""
        d = self._dispatching(Backoff(lifetime=0, bounce_lifetime=0))
        d.submit("A1", "user@example.com", sender="")
        assert [each[0] for each in d.reports.bounces] == ["A1"]
        assert d.store.entries == {}

    def test_expired_by_the_operator(self) -> None:
        """postsuper -e returns it after the next attempt."""
        d = self._dispatching()
        d.submit("A1", "user@example.com")
        d.store.expire(Selection(queue_ids=("A1",)))
        d.run(301)
        line = "qmgr: A1: from=<sender@example.net>, status=force-expired, returned to sender"
        assert line in d.log.lines

    def test_some_recipients_stay(self) -> None:
        """What was delivered is not delivered again; the others are tried alone."""
        d = self._dispatching()

        def answer(request: DeliveryRequest) -> Outcome:
            full = request.route.nexthop == "full.org"
            return deferred("4.2.2", "452 full") if full else DELIVERED

        d.transport.answer = answer
        d.submit("A1", "a@full.org", "b@fine.org")
        d.run(400)
        nexthops = [request.route.nexthop for request in d.transport.requests]
        assert nexthops == ["full.org", "fine.org", "full.org"]

    def test_a_message_that_its_transport_fails_at(self) -> None:
        """An exception each time: it waits as if it had been deferred, and is returned in the end.

        Others for the same destination are not held up by it.
        """
        d = self._dispatching()

        def answer(request: DeliveryRequest) -> Outcome:
            if request.queue_id == "POISON":
                self.tried.append(d.clock.seconds() - START)
                raise ZeroDivisionError
            return DELIVERED

        d.transport.answer = answer
        for n in range(10):
            d.submit(f"A{n}", f"u{n}@example.com")
        d.submit("POISON", "user@example.com")
        for n in range(10):
            d.submit(f"B{n}", f"u{n}@example.com")
        d.run(1)
        assert list(d.store.entries) == ["POISON"]
        d.run(6 * DAY, step=100)
        assert 100 < len(self.tried) < 120
        [(queue_id, failures)] = d.reports.bounces
        assert queue_id == "POISON"
        assert [one.text for _, one in failures] == ["unknown mail transport error"]
        assert "POISON" not in d.store.entries

    def test_dead_for_a_week(self) -> None:
        """A dead destination with 200 messages costs few connections, and nothing is lost."""
        d = self._dispatching(Backoff(lifetime=30 * DAY))

        def connect(nexthop: str) -> None:
            if d.clock.seconds() < START + 7 * DAY:
                raise NexthopUnavailable("4.4.1", "connect to mx: timed out")

        d.transport.connect = connect
        d.transport.answer = lambda request: DELIVERED
        for n in range(200):
            d.submit(f"A{n}", f"u{n}@dead.org")
        d.run(7 * DAY, step=200)
        assert len(d.store.entries) == 200
        assert len(d.transport.opened) < 200 * 7 * DAY / 4000 / 2
        d.run(4001 + 300, step=100)
        assert d.store.entries == {}
        assert len(d.transport.requests) == 200

    def test_store_trouble(self) -> None:
        """A store that cannot be read for an hour stops nothing for longer."""
        d = self._dispatching()
        d.transport.answer = lambda request: DELIVERED
        d.store.failing = StoreError("read-only")
        d.run(3600, step=10)
        d.store.failing = None
        d.queue("A1", "user@example.com")
        d.run(11)
        assert d.store.entries == {}


class ClockTests(SynchronousTestCase):
    """The time of day is set by a day, forth or back: no mail is lost, and none waits for it."""

    def _dispatching(self, ahead: float = 0.0, **rest: Any) -> Dispatching:
        d = Dispatching(**rest)
        d.ahead = ahead
        d.transport.answer = lambda request: deferred("4.2.2", "452 mailbox full")
        d.dispatcher.start()
        return d

    def test_set_back(self) -> None:
        """What was deferred before is tried within ten minutes, not a day later."""
        d = self._dispatching()
        d.ahead = DAY
        d.submit("A1", "user@example.com")
        d.run(10)
        d.ahead = 0.0
        d.transport.answer = lambda request: DELIVERED
        d.run(601)
        assert d.store.entries == {}
        assert any("clock was set back" in each for each in d.log.problems)

    def test_set_forth(self) -> None:
        """Everything is due, and nothing is returned: it is not five days old."""
        d = self._dispatching()
        for n in range(50):
            d.submit(f"A{n}", f"u{n}@example.com")
        d.run(10)
        d.ahead = DAY
        d.run(400)
        assert len(d.transport.requests) == 100
        assert d.reports.bounces == []
        d.transport.answer = lambda request: DELIVERED
        d.run(4100, step=10)
        assert d.store.entries == {}

    def test_forth_and_back_again(self) -> None:
        """As by a mistaken time server; mail from the future is as old as mail can be young."""
        d = self._dispatching()
        d.submit("BEFORE", "u@example.com")
        d.ahead = DAY
        d.submit("MEANWHILE", "u@example.com")
        d.run(400)
        d.ahead = 0.0
        d.submit("AFTER", "u@example.com")
        d.run(700)
        assert d.reports.bounces == []
        later = [line for line in d.log.lines if "MEANWHILE: to=" in line]
        assert "delay=0," in later[-1]
        d.transport.answer = lambda request: DELIVERED
        d.run(601)
        assert d.store.entries == {}

    def test_started_with_a_clock_behind(self) -> None:
        """A machine without a clock of its own starts in the past, with a queue from the future."""
        before = self._dispatching()
        for n in range(300):
            before.submit(f"A{n}", f"u{n}@example.com")
        before.run(10)
        d = self._dispatching(-DAY, store=before.store)
        assert len(d.transport.requests) == 300
        d.transport.answer = lambda request: DELIVERED
        d.run(301)
        assert d.store.entries == {}
        assert any("clock was set back" in each for each in d.log.problems)

    def test_started_in_time(self) -> None:
        """Mail that waits for its time does so after a start, too."""
        before = self._dispatching()
        before.submit("A1", "u@example.com")
        d = self._dispatching(store=before.store)
        d.run(200)
        assert d.transport.requests == []
        assert d.log.problems == []

    def test_reports_come_out_of_the_same_clock(self) -> None:
        """Five days after a step back, counted by the clock as it is then, mail is returned."""
        d = self._dispatching()
        d.ahead = DAY
        d.submit("A1", "u@example.com")
        d.run(10)
        d.ahead = 0.0
        d.run(5 * DAY, step=100)
        assert d.reports.bounces == []
        d.run(DAY + 4100, step=100)
        assert [each[0] for each in d.reports.bounces][:1] == ["A1"]


class FlushTests(SynchronousTestCase):
    def setUp(self) -> None:
        settings = DispatchSettings(defer_transports=frozenset({"slow"}))
        self.smtp = FakeTransport()
        self.slow = FakeTransport()
        self.d = Dispatching(settings, {"smtp": self.smtp, "slow": self.slow})
        self.d.dispatcher.start()

    def _defer(self, *queue_ids: str) -> None:
        for queue_id in queue_ids:
            self.d.submit(queue_id, recipient(f"{queue_id}@far.org", "slow:far.org"))

    def test_deferred_transport(self) -> None:
        """Mail for a deferred transport waits with 4.3.2, every time, until it's flushed."""
        self._defer("A1")
        [why] = self.d.store.settlements[0].deferrals
        assert (why.status, why.reason, why.attempted) == ("4.3.2", "deferred transport", False)
        self.d.run(5000, step=10)
        assert self.slow.requests == []
        assert len(self.d.store.settlements) > 3
        self.d.dispatcher.flush()
        assert [each.queue_id for each in self.slow.requests] == ["A1"]

    def test_flush_is_one_pass(self) -> None:
        """What comes after a flush is deferred again."""
        self._defer("A1")
        self.d.dispatcher.flush()
        self._defer("A2")
        self.d.run(5)
        assert [each.queue_id for each in self.slow.requests] == ["A1"]

    def test_flush_of_a_site(self) -> None:
        """A site's messages are tried with all their recipients; others are left alone."""
        mixed = (recipient("u@far.org", "slow:far.org"), recipient("v@near.org", "slow:near.org"))
        self.d.submit("A1", *mixed)
        self.d.submit("A2", recipient("w@near.org", "slow:near.org"))
        self.d.dispatcher.flush(Selection(site="FAR.org"))
        assert [each.queue_id for each in self.slow.requests] == ["A1", "A1"]

    def test_flush_leaves_hold(self) -> None:
        """Held messages stay held."""
        self._defer("A1")
        self.d.store.hold(Selection())
        self.d.dispatcher.flush()
        assert self.slow.requests == []

    def test_flush_revives_the_dead(self) -> None:
        """A flush tries dead destinations again; one that dies during it stays dead."""
        connecting: list[Deferred[None]] = []

        def connect(nexthop: str) -> Deferred[None]:
            connecting.append(Deferred())
            return connecting[-1]

        def refuse_all() -> int:
            count = 0
            while connecting:
                count += 1
                connecting.pop(0).errback(NexthopUnavailable("4.4.1", "refused"))
            return count

        self.smtp.connect = connect
        for n in range(9):
            self.d.submit(f"A{n}", f"u{n}@dead.org")
        assert refuse_all() == 5
        self.d.submit("B1", "u@dead.org")
        assert connecting == []
        self.d.dispatcher.flush()
        assert refuse_all() == 5
        self.d.submit("B2", "u@dead.org")
        assert connecting == []
        self.smtp.connect = lambda nexthop: None
        self.d.dispatcher.flush(Selection(site="dead.org"))
        assert self.d.store.entries == {}

    def test_flush_reaches_active(self) -> None:
        """A message half-way through active, part of it deferred already, is tried again."""
        mixed = (recipient("u@far.org", "slow:far.org"), recipient("v@near.org", "smtp:near.org"))
        answers = _hold_answers(self.smtp)
        self.d.submit("A1", *mixed)
        self.d.dispatcher.flush(Selection(site="far.org"))
        assert self.slow.requests == []
        answers[0].callback(DELIVERED)
        self.d.run(1)
        assert [each.queue_id for each in self.slow.requests] == ["A1"]
        assert self.d.store.entries == {}

    def test_many_flushes(self) -> None:
        """Repeated flushes of one selection don't pile up."""
        _hold_answers(self.slow)
        for n in range(300):
            self._defer(f"A{n}")
        self.d.store.failing = StoreError("busy")
        for _ in range(1000):
            self.d.dispatcher.flush(Selection(site="far.org"))
        flusher = self.d.dispatcher._flusher
        assert len(flusher._running) + len(flusher._waiting) <= 2
        assert self.d.dispatcher.schedule.epoch == 1, "one pass at a time"
        self.d.store.failing = None
        self.d.run(11)
        assert self.d.dispatcher.status().messages == 300
        assert self.d.dispatcher.schedule.epoch == 2


def _hold_answers(transport: FakeTransport) -> list[Deferred[Outcome]]:
    answers: list[Deferred[Outcome]] = []

    def answer(request: DeliveryRequest) -> Deferred[Outcome]:
        answers.append(Deferred())
        return answers[-1]

    transport.answer = answer
    return answers
