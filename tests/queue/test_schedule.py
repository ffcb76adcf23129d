"""The schedule on its own: limits, turns, delays, and that nothing is forgotten."""

from __future__ import annotations

import itertools
import random
from collections import Counter, deque

from hypothesis import given, settings
from hypothesis import strategies as st

from gatewayd.message import QueuedRecipient, Route
from gatewayd.queue.schedule import (
    End,
    Open,
    Part,
    Refusal,
    Schedule,
    Serve,
    TransportSettings,
    Turn,
)
from tests.fakes.mail import recipient


def recipients(count: int, site: str = "x.org") -> tuple[QueuedRecipient, ...]:
    return tuple(QueuedRecipient(n, recipient(f"u{n}@{site}")) for n in range(count))


class Runner:
    """Makes the schedule's moves; ``served`` lists (owner, number of recipients) in order."""

    def __init__(self, limits: TransportSettings) -> None:
        self.limits = limits
        self.schedule = Schedule({limits.name: limits}, 300.0, 60.0)
        self.now = 1000.0
        self.open: list[Turn] = []
        self.busy: dict[Turn, Part] = {}
        self.resting: list[Turn] = []
        self.served: list[tuple[str, int]] = []
        self.refused: list[Refusal] = []

    def place(self, owner: str, nexthop: str, count: int = 1) -> bool:
        route = Route(self.limits.name, nexthop)
        placed = True
        chunks = [recipients(count, owner)]
        if self.schedule.is_by_recipient(route):
            chunks = [(each,) for each in chunks[0]]
        for chunk in chunks:
            destination = self.schedule.destination(route, chunk)
            placed = self.schedule.place(owner, destination, chunk, self.now) is None and placed
        return placed

    def moves(self) -> None:
        while (move := self.schedule.next_move(self.now)) is not None:
            if isinstance(move, Open):
                self.open.append(self.schedule.open(move.destination, self.now))
            elif isinstance(move, Serve):
                self.resting.remove(move.turn)
                self.take(move.turn)
            else:
                assert isinstance(move, End)
                self.resting.remove(move.turn)
                self.schedule.end(move.turn)
                self.schedule.close(move.turn, self.now)
            self.check()

    def take(self, turn: Turn, rests: bool = False) -> None:
        part = self.schedule.take(turn, self.now)
        if part is not None:
            assert len(part.recipients) <= (self.limits.recipient_limit or 10**6)
            self.busy[turn] = part
        elif rests and not turn.ending:
            self.schedule.rest(turn)
            self.resting.append(turn)
        else:
            self.schedule.close(turn, self.now)

    def connect(self) -> None:
        opened, self.open = self.open, []
        for turn in opened:
            self.take(turn)

    def finish(self, turn: Turn, rests: bool = False) -> None:
        part = self.busy.pop(turn)
        self.served.append((part.owner, len(part.recipients)))
        self.schedule.served(turn, self.now)
        self.take(turn, rests)

    def check(self) -> None:
        lanes: Counter[int] = Counter()
        for turn in [*self.open, *self.busy, *self.resting]:
            lanes[id(turn.destination)] += 1
        limits = self.limits
        most = limits.concurrency_limit and max(limits.concurrency_limit, limits.slow_line_limit)
        assert not limits.maxproc or sum(lanes.values()) <= limits.maxproc
        assert not most or not lanes or max(lanes.values()) <= most

    def run(self, rounds: int = 10**6) -> None:
        """Every lane connects and delivers, one step a round, until nothing is left to do."""
        for _ in range(rounds):
            self.moves()
            if not self.open and not self.busy:
                return
            self.connect()
            self.check()
            for turn in list(self.busy):
                self.finish(turn)


def test_initial_window() -> None:
    """A destination gets five lanes at first, and never more than its limit."""
    runner = Runner(TransportSettings("smtp"))
    for n in range(100):
        runner.place(f"m{n}", "x.org")
    runner.moves()
    assert len(runner.open) == 5
    most = 0
    while runner.open or runner.busy:
        runner.connect()
        most = max(most, len(runner.busy))
        for turn in list(runner.busy):
            runner.finish(turn)
        runner.moves()
    assert most == 20
    assert len(runner.served) == 100
    assert list(runner.schedule.destinations()) == []


def test_huge_message_in_a_destination() -> None:
    """Behind a message of 10 000 recipients another waits for one request, not for 200."""
    runner = Runner(TransportSettings("smtp", concurrency_limit=1, initial_concurrency=1))
    runner.place("huge", "x.org", 10000)
    runner.place("small", "x.org")
    runner.run(4)
    assert ("small", 1) in runner.served[:2]


def test_huge_message_by_recipient() -> None:
    """Where recipients are destinations, a message of 10 000 takes its turn like any other."""
    runner = Runner(TransportSettings("pipe", maxproc=2, recipient_limit=1))
    runner.place("huge", "far", 10000)
    for n in range(5):
        runner.place(f"small{n}", "far")
    runner.run(8)
    assert {f"small{n}" for n in range(5)} < {owner for owner, _ in runner.served}


def test_busy_destination_gives_way() -> None:
    """With two lanes in all, a destination of thousands leaves others their turn."""
    runner = Runner(TransportSettings("smtp", maxproc=2))
    for n in range(5000):
        runner.place(f"busy{n}", "busy.org")
    for n in range(10):
        runner.place(f"other{n}", f"other{n}.org")
    runner.run(200)
    others = [n for n, (owner, _) in enumerate(runner.served) if owner.startswith("other")]
    assert len(others) == 10
    assert others[-1] < 10 * 10 + 40


def test_lane_gives_way_after_its_turn() -> None:
    """A lane with thousands waiting ends after ten requests when others have no lane at all."""
    runner = Runner(TransportSettings("smtp", maxproc=2))
    for n in range(5000):
        runner.place(f"busy{n}", "busy.org")
    runner.moves()
    runner.connect()
    assert len(runner.busy) == 2
    runner.place("other", "other.org")
    runner.run(12)
    assert ("other", 1) in runner.served


def test_pipelining_within_a_rate_delay() -> None:
    """With a rate delay a lane gets no second request while its first is under way."""
    runner = Runner(TransportSettings("smtp", concurrency_limit=1, rate_delay=10))
    runner.place("a", "x.org")
    runner.place("b", "x.org")
    runner.moves()
    [turn] = runner.open
    assert runner.schedule.take(turn, runner.now) is not None
    assert runner.schedule.take(turn, runner.now + 60) is None
    assert not turn.ending
    runner.schedule.served(turn, runner.now + 60)
    assert runner.schedule.take(turn, runner.now + 69) is None
    assert runner.schedule.take(turn, runner.now + 70) is not None


def test_idle_lane_ends_for_others() -> None:
    """An idle lane that holds the last slot is closed as soon as another destination wants it."""
    runner = Runner(TransportSettings("smtp", maxproc=1))
    runner.place("a", "a.org")
    runner.moves()
    runner.connect()
    runner.finish(runner.busy and next(iter(runner.busy)), rests=True)
    assert len(runner.resting) == 1
    runner.place("b", "b.org")
    runner.moves()
    assert runner.resting == []
    assert [turn.destination.route.nexthop for turn in runner.open] == ["b.org"]


def test_rate_delay() -> None:
    """destination_rate_delay: one at a time, that long after the last one's end."""
    runner = Runner(TransportSettings("smtp", concurrency_limit=1, rate_delay=10))
    times = []
    for n in range(3):
        runner.place(f"m{n}", "x.org")
    while len(runner.served) < 3:
        runner.moves()
        runner.connect()
        for turn in list(runner.busy):
            runner.now += 2
            times.append(runner.now)
            runner.finish(turn)
        runner.moves()
        wake = runner.schedule.wake_at()
        if wake is not None:
            runner.now = max(runner.now, wake)
            runner.schedule.wake(runner.now)
    assert times == [1002, 1014, 1026]


def test_transport_rate_delay() -> None:
    """transport_rate_delay: one start in so many seconds, whatever the destination."""
    runner = Runner(TransportSettings("smtp", transport_rate_delay=5))
    starts = []
    for n in range(4):
        runner.place(f"m{n}", f"d{n}.org")
    for _ in range(30):
        runner.moves()
        assert len(runner.open) <= 1
        before = len(runner.busy)
        runner.connect()
        if len(runner.busy) > before:
            starts.append(runner.now)
        assert len(runner.busy) <= before + 1
        for turn in list(runner.busy):
            runner.finish(turn)
        runner.now += 1
        runner.schedule.wake(runner.now)
    assert len(starts) == 4
    assert all(later - earlier >= 5 for earlier, later in itertools.pairwise(starts))


def test_clock_set_back() -> None:
    """A clock that goes back a day ends a suspension rather than prolonging it by a day."""
    runner = Runner(TransportSettings("smtp", concurrency_limit=1))
    runner.place("a", "x.org")
    runner.moves()
    [turn] = runner.open
    refused = runner.schedule.unavailable(turn, "4.4.1", "down", runner.now)
    runner.schedule.close(turn, runner.now)
    runner.open.clear()
    assert [each.part.owner for each in refused] == ["a"]
    assert not runner.place("b", "x.org")
    runner.now -= 86400
    assert runner.place("c", "x.org")
    runner.run()
    assert runner.served == [("c", 1)]


def test_reload_shrinks_limits() -> None:
    """New limits hold for lanes that are opened from then on; nothing that waits is lost."""
    runner = Runner(TransportSettings("smtp"))
    for n in range(40):
        runner.place(f"m{n}", "x.org", 3)
    runner.moves()
    runner.limits = TransportSettings("smtp", concurrency_limit=20, recipient_limit=2)
    runner.schedule.configure({"smtp": runner.limits}, runner.now)
    runner.run()
    assert sum(count for _, count in runner.served) == 120


LIMITS = st.builds(
    TransportSettings,
    name=st.just("smtp"),
    maxproc=st.sampled_from([0, 1, 2, 3, 10]),
    concurrency_limit=st.sampled_from([0, 1, 2, 5]),
    slow_line_limit=st.sampled_from([0, 4, 9]),
    initial_concurrency=st.integers(1, 6),
    recipient_limit=st.sampled_from([0, 1, 2, 50]),
    rate_delay=st.sampled_from([0.0, 0.0, 3.0]),
    transport_rate_delay=st.sampled_from([0.0, 0.0, 2.0]),
)
PLACEMENTS = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 7)), min_size=1, max_size=40)


@settings(max_examples=150, deadline=None)
@given(LIMITS, PLACEMENTS, st.integers(0, 2**32))
def test_everything_is_handed_out(
    limits: TransportSettings, placements: list[tuple[int, int]], seed: int
) -> None:
    """In any order of events, limits hold and every recipient gets its turn exactly once."""
    chance = random.Random(seed)
    runner = Runner(limits)
    waiting = deque(placements)
    expected: Counter[str] = Counter()
    done: Counter[str] = Counter()
    for _ in range(20000):
        if waiting and chance.random() < 0.3:
            nexthop, count = waiting.popleft()
            owner = f"m{len(waiting)}"
            assert runner.place(owner, f"d{nexthop}.org", count)
            expected[owner] += count
        runner.moves()
        if runner.open and chance.random() < 0.7:
            turn = runner.open.pop(chance.randrange(len(runner.open)))
            if chance.random() < 0.1:
                runner.schedule.close(turn, runner.now)
            else:
                runner.take(turn, chance.random() < 0.5)
        if runner.busy and chance.random() < 0.3:
            turn = chance.choice(list(runner.busy))
            runner.schedule.waits(turn, chance.choice([0.5, 0.5, 1.0, 0.1]), runner.now)
        if runner.busy and chance.random() < 0.7:
            turn = chance.choice(list(runner.busy))
            if chance.random() < 0.1:
                part = runner.busy.pop(turn)
                runner.schedule.put_back(turn, part.owner, part.recipients)
                runner.schedule.close(turn, runner.now)
            else:
                runner.finish(turn, chance.random() < 0.5)
        runner.check()
        if chance.random() < 0.2:
            runner.now += chance.random() * 3
            runner.schedule.wake(runner.now)
        if not (waiting or runner.open or runner.busy or _left(runner)):
            break
    for owner, count in runner.served:
        done[owner] += count
    assert done == expected


def _left(runner: Runner) -> int:
    return sum(destination.waiting for destination in runner.schedule.destinations())
