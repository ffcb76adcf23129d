"""A message that kills the process whenever it's tried does not stop the queue."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import gatherResults

from gatewayd import maillog
from gatewayd.queue.records import Selection, Settlement, State
from gatewayd.queue.sqlite_store import SqliteStore
from gatewayd.queue.suspects import LIMIT
from tests.fakes.mail import mail
from tests.queue.stores import listed, using

_POISON = "POISON"
_ALL = 1000


def _queue(folder: Path, before: int, after: int) -> None:
    """So many innocent messages before and after the poison, by their time."""

    async def put(store: SqliteStore) -> None:
        for number in range(before):
            await store.put(mail(f"A{number}", "u@a.example", arrival=1.0), False)
        await store.put(mail(_POISON, "u@a.example", arrival=2.0), False)
        for number in range(after):
            await store.put(mail(f"B{number}", "u@a.example", arrival=3.0), False)

    using(folder, put)


def _live(folder: Path, delivered: list[str]) -> bool:
    """A life of the gateway: deliver what is due until nothing is, or until death (False)."""

    async def live(store: SqliteStore) -> bool:
        while (due := await store.next_due()) is not None:
            leased = await store.lease_due(due, _ALL)
            if _POISON in [each.queue_id for each in leased]:
                return False
            delivered.extend(each.queue_id for each in leased)
            ends = [Settlement(each.queue_id, due, remove=True) for each in leased]
            await gatherResults([store.settle(each) for each in ends])
        return True

    return using(folder, live)


def _states(folder: Path) -> dict[str, State]:
    async def look(store: SqliteStore) -> dict[str, State]:
        return {each.queue_id: each.state for each in await listed(store, Selection())}

    return using(folder, look)


def _lease_and_die(folder: Path, times: int) -> None:
    async def lease(store: SqliteStore) -> None:
        assert await store.lease_due(5.0, _ALL)

    for _ in range(times):
        using(folder, lease)


def test_poison_is_set_aside_and_the_innocent_get_through(tmp_path: Path) -> None:
    """It dies of it as soon as it has leased it with all others: the worst case."""
    _queue(tmp_path, before=15, after=200)
    delivered: list[str] = []
    deaths = 0
    with maillog.capture() as lines:
        while not _live(tmp_path, delivered):
            deaths += 1
            assert deaths < 20
    assert _states(tmp_path) == {_POISON: State.CORRUPT}
    assert len(delivered) == len(set(delivered)) == 215
    assert deaths == LIMIT
    [line] = lines.containing("set aside")
    assert f"{_POISON}: set aside as corrupt: the gateway died 6 times in a row" in line


def test_some_deaths_accuse_nobody(tmp_path: Path) -> None:
    """After two power cuts everything is as before."""
    _queue(tmp_path, before=5, after=5)
    _lease_and_die(tmp_path, 2)

    async def lease(store: SqliteStore) -> int:
        return len(await store.lease_due(5.0, _ALL))

    assert using(tmp_path, lease) == 11


def test_suspects_do_not_hold_others_up(tmp_path: Path) -> None:
    """While suspects are tried, what else is due is leased; and more of them soon."""
    _queue(tmp_path, before=120, after=0)
    _lease_and_die(tmp_path, 3)

    async def work(store: SqliteStore) -> None:
        await store.put(mail("NEW", "u@a.example", arrival=4.0), False)
        first = await store.lease_due(5.0, _ALL)
        assert len(first) == 101
        assert first[-1].queue_id == "NEW"
        assert await store.lease_due(5.5, _ALL) == []
        assert await store.next_due() == 5.75
        assert (await store.totals()).messages[State.ACTIVE] == 122
        assert first[0].queue_id == "A0"
        await store.release([each.queue_id for each in first])
        second = await store.lease_due(6.5, _ALL)
        assert len(second) == 21 + 101
        assert await store.next_due() == 6.75
        await store.release([each.queue_id for each in second])
        assert len(await store.lease_due(7.5, _ALL)) == 122
        assert await store.next_due() is None

    using(tmp_path, work)


def test_an_attempt_that_ends_ends_the_suspicion(tmp_path: Path) -> None:
    _queue(tmp_path, before=0, after=0)
    _lease_and_die(tmp_path, LIMIT - 1)

    async def defer(store: SqliteStore) -> None:
        [message] = await store.lease_due(5.0, _ALL)
        await store.settle(Settlement(message.queue_id, 5.0, next_attempt=5.0))

    using(tmp_path, defer)
    _lease_and_die(tmp_path, 2)
    assert _states(tmp_path) == {_POISON: State.DEFERRED}


def test_an_operator_may_try_it_again(tmp_path: Path) -> None:
    _queue(tmp_path, before=0, after=0)
    _lease_and_die(tmp_path, LIMIT)
    assert _states(tmp_path) == {_POISON: State.CORRUPT}

    async def requeue(store: SqliteStore) -> None:
        assert await store.requeue(Selection(queue_ids=(_POISON,))) == 1

    using(tmp_path, requeue)
    _lease_and_die(tmp_path, LIMIT - 1)
    assert _states(tmp_path) == {_POISON: State.ACTIVE}


def test_operators_reach_a_suspect_at_once(tmp_path: Path) -> None:
    """It's nobody's hands that it is in, though it shows as active."""
    _queue(tmp_path, before=1, after=1)
    _lease_and_die(tmp_path, 3)

    async def work(store: SqliteStore) -> None:
        assert await store.hold(Selection(queue_ids=("A0",))) == 1
        assert await store.delete(Selection(queue_ids=(_POISON,))) == 1
        assert await store.requeue(Selection(queue_ids=("B0",))) == 1

    using(tmp_path, work)
    assert _states(tmp_path) == {"A0": State.HOLD, "B0": State.DEFERRED}
