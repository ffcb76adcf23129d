"""Lines with long round trips: more lanes where they carry more, and are not disliked."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from zope.interface import implementer

from gatewayd.errors import NexthopUnavailable
from gatewayd.interfaces import IRequestSource, ITransport
from gatewayd.queue.schedule import Open, Schedule, TransportSettings, Turn, Window, is_complaint
from gatewayd.queue.schedule.slow_line import SlowLine
from gatewayd.queue.schedule.window import UNIT
from gatewayd.status import Outcome, deferred, failed
from tests.fakes.dispatching import Dispatching
from tests.fakes.transport import DELIVERED, FakeTransport
from tests.queue.test_schedule import Runner


def line(window: Window, *answers: float) -> SlowLine:
    """What is known after lanes opened with these round trips."""
    found = SlowLine(window, 45, answers[0])
    for seconds in answers:
        found.opened(seconds)
    return found


def test_five_lanes_make_room_for_forty() -> None:
    """Those that a destination begins with are enough to fill its line."""
    window = Window(5, 20)
    line(window, 0.6, 0.61, 0.6, 0.63, 0.62)
    assert window.size == 45
    line(window, 0.6)
    assert window.size == 45


@pytest.mark.parametrize(
    ("answers", "size"),
    [
        ((0.39, 0.39), 5),
        ((0.6,), 13),
        ((0.6, 0.8), 13),
        ((0.6, 0.74), 21),
        ((0.6, 0.6, 0.1, 0.6), 20),
        ((2.0, 0.6, 2.0), 21),
    ],
)
def test_which_answers_make_room(answers: tuple[float, ...], size: int) -> None:
    """Those as late as the quickest, and about as quick; the limit holds if any wasn't late."""
    window = Window(5, 20)
    line(window, *answers)
    assert window.size == size


def test_a_full_line_takes_lanes_back() -> None:
    """One for each request that took long, down to the usual limit; quick ones give some again."""
    window = Window(5, 20)
    slow = line(window, *[0.6] * 5)
    for size in [*range(44, 19, -1), 20, 20]:
        assert not slow.served(2.5)
        assert window.size == size
    assert not slow.served(1.3)
    assert slow.served(1.2)
    window.succeeded(UNIT, 20)
    assert window.size == 21
    assert not slow.served(2.3)
    assert window.size == 21


def test_feedback_below_the_limit_is_as_usual() -> None:
    """A slow server's successes count, up to the usual limit."""
    window = Window(5, 20)
    slow = line(window, 0.6)
    assert window.size < 20
    assert slow.served(300)


def test_what_is_spoilt_stays_so() -> None:
    """The usual limit holds again, whatever comes later."""
    window = Window(5, 20)
    slow = line(window, *[0.6] * 5)
    slow.spoil()
    assert (window.size, window.is_wide) == (20, False)
    slow.opened(0.6)
    window.succeeded(UNIT, 45)
    assert window.size == 20


@pytest.mark.parametrize(
    ("outcome", "complains"),
    [
        (DELIVERED, False),
        (failed("5.7.1", "554 no"), False),
        (deferred("4.2.2", "452 mailbox full"), False),
        (deferred("4.1.1", "450 who"), False),
        (deferred("4.7.0", "421 too many connections"), True),
        (deferred("4.4.2", "lost connection"), True),
        (deferred("4.3.2", "450 busy"), True),
    ],
)
def test_complaints(outcome: Outcome, complains: bool) -> None:
    """Mail put off, but not for its recipient's sake."""
    assert is_complaint([DELIVERED, outcome]) == complains


def opened(runner: Runner) -> list[Turn]:
    """The lanes that the schedule opens now."""
    found = []
    while (move := runner.schedule.next_move(runner.now)) is not None:
        assert isinstance(move, Open)
        found.append(runner.schedule.open(move.destination, runner.now))
    return found


def widened() -> tuple[Runner, list[Turn], list[Turn]]:
    """A schedule with the five lanes that told their round trip, and those opened for it."""
    runner = Runner(TransportSettings("smtp"))
    for n in range(100):
        runner.place(f"m{n}", "far.org")
    first = opened(runner)
    for turn in first:
        assert runner.schedule.take(turn, runner.now) is not None
        runner.schedule.waits(turn, 0.6, runner.now)
    extra = opened(runner)
    assert (len(first), len(extra)) == (5, 40)
    return runner, first, extra


def waiting(schedule: Schedule) -> int:
    return sum(each.waiting for each in schedule.destinations())


def test_refused_lanes_go_and_hurt_nothing() -> None:
    """A server that takes seven at once: no mail is put off, and the limit holds from then on."""
    runner, first, extra = widened()
    schedule = runner.schedule
    for turn in extra[2:]:
        assert schedule.unavailable(turn, "4.3.2", "too many", runner.now) == []
        schedule.close(turn, runner.now)
    assert opened(runner) == []
    assert waiting(schedule) == 95
    for turn in extra[:2]:
        assert schedule.take(turn, runner.now) is not None
        schedule.waits(turn, 0.6, runner.now)
    assert opened(runner) == []
    assert not first[0].destination.window.is_wide


def test_a_line_that_is_cut_defers_all() -> None:
    """If the last lane fails as well, the destination is dead, as ever."""
    runner, first, extra = widened()
    schedule = runner.schedule
    for turn in first:
        schedule.dropped(turn)
        schedule.close(turn, runner.now)
    refused = []
    for turn in extra:
        refused += schedule.unavailable(turn, "4.4.1", "no route", runner.now)
        schedule.close(turn, runner.now)
    assert sum(len(each.part.recipients) for each in refused) == 95
    assert waiting(schedule) == 0
    assert not runner.place("later", "far.org")


def test_other_limits_hold() -> None:
    """A limit of the transport, and settings that allow no more, or have no limit at all."""
    for limits, lanes in (
        (TransportSettings("smtp", maxproc=12), 12),
        (TransportSettings("smtp", slow_line_limit=0), 5),
        (TransportSettings("smtp", slow_line_limit=20), 5),
        (TransportSettings("smtp", concurrency_limit=0), 5),
    ):
        runner = Runner(limits)
        for n in range(100):
            runner.place(f"m{n}", "far.org")
        turns = opened(runner)
        for turn in list(turns):
            runner.schedule.take(turn, runner.now)
            runner.schedule.waits(turn, 0.6, runner.now)
        turns += opened(runner)
        assert len(turns) == lanes


def test_a_reload_begins_anew() -> None:
    """New limits hold at once for lanes opened from then on."""
    runner, first, _ = widened()
    limits = TransportSettings("smtp", concurrency_limit=10, slow_line_limit=0)
    runner.schedule.configure({"smtp": limits}, runner.now)
    runner.schedule.waits(first[0], 0.6, runner.now)
    assert first[0].destination.window.size == 10


@implementer(ITransport)
class Satellite(FakeTransport):
    """A next hop 0.6 seconds away that takes one small message a round trip over a connection.

    It takes ``connections`` at once; ``rate`` messages a second get through its line.
    """

    def __init__(self, connections: int = 1000, rate: float = 1000.0) -> None:
        super().__init__()
        self.round_trip = 0.6
        self.connected = 0
        self._connections = connections
        self._rate = rate
        self._free_at = 0.0

    def attach(self, d: Dispatching) -> None:
        self._clock = d.clock
        self.answer = self._answer

    async def deliver(self, nexthop: str, source: IRequestSource) -> None:
        self._count(nexthop, 1)
        try:
            await deferLater(self._clock, 1.8)
            if self.connected >= self._connections:
                raise NexthopUnavailable("4.3.2", "421 too many connections")
            self.connected += 1
            await self._serve(source)
            self.connected -= 1
        finally:
            self._count(nexthop, -1)

    def _answer(self, request: object) -> Deferred[Outcome]:
        now = self._clock.seconds()
        self._free_at = max(now, self._free_at) + 1 / self._rate
        return deferLater(self._clock, self._free_at - now + 0.6, lambda: DELIVERED)


def carried(satellite: Satellite, limits: TransportSettings) -> tuple[float, int]:
    """Seconds until 500 messages were delivered, and the most lanes at once."""
    d = Dispatching(transports={"smtp": satellite}, smtp=limits)
    satellite.attach(d)
    start = d.clock.seconds()
    for n in range(500):
        d.submit(f"Q{n}", "user@far.org")
    while d.store.entries:
        d.clock.advance(0.05)
        assert d.clock.seconds() < start + 300
    assert not any(each.deferrals for each in d.store.settlements)
    return d.clock.seconds() - start, satellite.most_lanes["far.org"]


def test_five_hundred_messages_by_satellite() -> None:
    """Half the time that the usual limit would take."""
    seconds, lanes = carried(Satellite(), TransportSettings("smtp"))
    usual, usual_lanes = carried(Satellite(), TransportSettings("smtp", slow_line_limit=0))
    assert (lanes, usual_lanes) == (45, 20)
    assert seconds < 11
    assert usual > 1.8 * seconds


def test_a_satellite_that_takes_twelve() -> None:
    """Not one message is put off because more were tried."""
    seconds, lanes = carried(Satellite(connections=12), TransportSettings("smtp"))
    assert lanes == 45
    assert seconds < 32


def test_a_thin_line_sheds_lanes() -> None:
    """Where eight messages a second get through, more than the usual lanes carry nothing more."""
    satellite = Satellite(rate=8)
    d = Dispatching(transports={"smtp": satellite})
    satellite.attach(d)
    for n in range(500):
        d.submit(f"Q{n}", "user@far.org")
    d.run(40, step=0.05)
    assert satellite.most_lanes["far.org"] == 45
    assert satellite.lanes["far.org"] == 20


def test_mail_put_off_ends_it() -> None:
    """A next hop that answers 421 to some mail gets its usual number of lanes."""
    satellite = Satellite()
    d = Dispatching(transports={"smtp": satellite})
    satellite.attach(d)

    def put_off(request: object) -> Deferred[Outcome]:
        return deferLater(d.clock, 0.6, lambda: deferred("4.7.0", "421 too many connections"))

    for n in range(500):
        d.submit(f"Q{n}", "user@far.org")
    d.run(5, step=0.05)
    assert satellite.lanes["far.org"] == 45
    usual, satellite.answer = satellite.answer, put_off
    d.run(0.3, step=0.05)
    satellite.answer = usual
    d.run(1.5, step=0.05)
    assert satellite.lanes["far.org"] == 20
    assert 0 < sum(len(each.deferrals) for each in d.store.settlements) < 45
