"""The SQLite store, verb by verb (any order of them: test_store_model.py)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from twisted.internet.defer import gatherResults
from zope.interface.verify import verifyObject

from gatewayd.errors import StoreError, StoreFull
from gatewayd.interfaces import IIncomingContent, IQueueStore
from gatewayd.message import Route
from gatewayd.queue.records import Deferral, Selection, Settlement, State
from gatewayd.queue.sqlite_store import SqliteStore
from tests.fakes.mail import mail, recipient
from tests.queue.stores import listed, new_store, using

_NOW = 1_000_000.0


async def _state(store: SqliteStore, queue_id: str) -> State | None:
    entries = await listed(store, Selection(queue_ids=(queue_id,)))
    return entries[0].state if entries else None


async def _due(store: SqliteStore, now: float = _NOW) -> list[str]:
    return [each.queue_id for each in await store.lease_due(now, 100)]


def test_interfaces(tmp_path: Path) -> None:
    async def verify(store: SqliteStore) -> None:
        verifyObject(IQueueStore, store)
        verifyObject(IIncomingContent, store.incoming())

    using(tmp_path, verify)


def test_queue_ids_are_never_given_twice(tmp_path: Path) -> None:
    """Neither in a life nor in the next, whatever the clock says, in either form."""
    given: list[str] = []

    async def take(store: SqliteStore) -> None:
        given.extend(store.new_queue_id(_NOW) for _ in range(500))
        await store.put(mail(store.new_queue_id(_NOW), "u@a.example"), False)

    for long_ids in (False, True):
        for _ in range(2):
            using(tmp_path, take, long_ids=long_ids)
    assert len(set(given)) == 2000


def test_a_queue_id_that_is_there_is_refused(tmp_path: Path) -> None:
    """And only that: what is committed with it goes in."""

    async def put(store: SqliteStore) -> None:
        await store.put(mail("A1", "u@a.example"), False)
        again = store.put(mail("A1", "u@a.example"), False)
        others = [store.put(mail(f"B{n}", "u@a.example"), False) for n in range(20)]
        with pytest.raises(StoreError):
            await again
        await gatherResults(others)
        assert len(await listed(store, Selection())) == 21

    using(tmp_path, put)


def test_longest_due_first(tmp_path: Path) -> None:
    """Whatever order they came in; what isn't due stays, and next_due tells when it will be."""

    async def work(store: SqliteStore) -> None:
        for name, arrival in (("C", 30.0), ("A", 10.0), ("D", 40.0), ("B", 20.0)):
            await store.put(mail(name, "u@a.example", arrival=arrival), False)
        assert [each.queue_id for each in await store.lease_due(30.0, 2)] == ["A", "B"]
        assert await _due(store, 30.0) == ["C"]
        assert await _due(store, 30.0) == []
        assert await store.next_due() == 40.0
        assert await _due(store, 40.0) == ["D"]
        assert await store.next_due() is None

    using(tmp_path, work)


def test_put_with_a_lease(tmp_path: Path) -> None:
    """Nobody else gets it, unless it's on hold: then nobody has it."""

    async def work(store: SqliteStore) -> None:
        await store.put(mail("A", "u@a.example"), True)
        await store.put(replace(mail("B", "u@a.example"), hold=True), True)
        assert await _due(store) == []
        assert (await _state(store, "A"), await _state(store, "B")) == (State.ACTIVE, State.HOLD)
        await store.release(["A"])
        assert await _due(store) == ["A"]

    using(tmp_path, work)


def test_settle_keeps_who_is_not_done(tmp_path: Path) -> None:
    """Numbers name recipients for ever; attempts count only where one was made."""

    async def work(store: SqliteStore) -> None:
        message = await store.put(mail("A", "a@x.example", "b@x.example", "c@x.example"), True)
        first, second, third = (each.number for each in message.recipients)
        deferrals = (
            Deferral(second, "4.2.2", "full", "mx.x.example"),
            Deferral(third, "4.3.2", "deferred transport", attempted=False),
        )
        await store.settle(Settlement("A", _NOW, (first,), deferrals, _NOW + 300, warned=True))
        assert await _due(store, _NOW + 299) == []
        [message] = await store.lease_due(_NOW + 300, 9)
        assert message.warned
        found = {each.number: each for each in message.recipients}
        assert sorted(found) == [second, third]
        one, other = found[second], found[third]
        assert (one.attempts, one.status, one.reason) == (1, "4.2.2", "full")
        assert (one.remote_mta, one.last_attempt) == ("mx.x.example", _NOW)
        assert (other.attempts, other.reason, other.last_attempt) == (0, "deferred transport", 0.0)
        await store.settle(Settlement("A", _NOW, (second, third)))
        assert await store.message("A") is None

    using(tmp_path, work)


def test_notices_come_with_the_settlement(tmp_path: Path) -> None:
    """A report is in the queue if, and only if, the message it is about is settled."""

    async def work(store: SqliteStore) -> None:
        await store.put(mail("A", "u@a.example"), True)
        twice = Settlement("A", _NOW, notices=(mail("A", "s@b.example"),), remove=True)
        with pytest.raises(StoreError):
            await store.settle(twice)
        assert await _state(store, "A") is State.ACTIVE
        report = mail("R", "s@b.example", sender="")
        await store.settle(Settlement("A", _NOW, notices=(report,), remove=True))
        [message] = await store.lease_due(_NOW, 9)
        assert message.queue_id == "R"
        assert await message.content.read(0, 99) == b"Subject: test\r\n\r\nbody\r\n"

    using(tmp_path, work)


def test_attempts_are_remembered_up_to_a_limit(tmp_path: Path) -> None:
    """The latest ones, for each recipient."""

    async def work(store: SqliteStore) -> None:
        message = await store.put(mail("A", "u@a.example"), True)
        number = message.recipients[0].number
        for turn in range(5):
            at = _NOW + turn
            why = Deferral(number, "4.2.0", f"try {turn}")
            await store.settle(Settlement("A", at, (), (why,), at))
            await store.lease_due(at, 1)
        assert await store.history("A") == [
            (number, _NOW + turn, "4.2.0", f"try {turn}") for turn in (2, 3, 4)
        ]

    using(tmp_path, work, history_limit=3)


def test_leases_end_with_the_process(tmp_path: Path) -> None:
    async def lease(store: SqliteStore) -> list[str]:
        await store.put(mail(store.new_queue_id(_NOW), "u@a.example"), True)
        return await _due(store)

    assert len(using(tmp_path, lease)) == 0
    assert len(using(tmp_path, lease)) == 1


@pytest.mark.parametrize("ending", ["settle", "release", "crash"])
@pytest.mark.parametrize(
    ("asked", "state"),
    [
        ("hold", State.HOLD),
        ("delete", None),
        ("expire", State.DEFERRED),
        ("requeue", State.DEFERRED),
        ("hold unhold", State.DEFERRED),
        ("hold requeue", State.DEFERRED),
        ("requeue hold", State.HOLD),
        ("hold delete", None),
    ],
)
def test_what_is_asked_of_a_leased_message_is_done_when_the_lease_ends(
    tmp_path: Path, asked: str, state: State | None, ending: str
) -> None:
    everything = Selection()

    async def ask(store: SqliteStore) -> None:
        await store.put(mail("A", "u@a.example", arrival=_NOW), True)
        for verb in asked.split():
            assert await getattr(store, verb)(everything) == 1
        assert await _state(store, "A") is State.ACTIVE
        if ending == "settle":
            await store.settle(Settlement("A", _NOW, next_attempt=_NOW + 300))
        elif ending == "release":
            await store.release(["A"])

    async def look(store: SqliteStore) -> None:
        assert await _state(store, "A") is state
        totals = await store.totals()
        assert sum(totals.messages.values()) == (state is not None)
        if state is State.DEFERRED:
            at_once = "expire" in asked or "requeue" in asked
            later = _NOW + 300 if ending == "settle" else _NOW
            assert await store.next_due() == (0.0 if at_once else later)
            [message] = await store.lease_due(_NOW + 300, 9)
            assert message.expire is ("expire" in asked)

    using(tmp_path, ask)
    using(tmp_path, look)


def test_operator_verbs_count_what_they_change(tmp_path: Path) -> None:
    site = Selection(site="B.EXAMPLE")

    async def work(store: SqliteStore) -> None:
        for number in range(3):
            await store.put(mail(f"A{number}", "u@a.example", "v@b.example"), False)
            await store.put(mail(f"B{number}", "u@a.example"), False)
        assert await store.hold(site) == 3
        assert await store.hold(site) == 0
        assert await _due(store) == ["B0", "B1", "B2"]
        assert await store.unhold(Selection(queue_ids=("A0", "B0", "NONE"))) == 1
        assert await _due(store) == ["A0"]
        assert await store.expire(Selection(queue_ids=("A1",))) == 1
        assert (await listed(store, Selection(queue_ids=("A1",))))[0].expire
        assert await store.requeue(Selection(states=(State.HOLD,))) == 2
        assert await store.delete(Selection(states=(State.DEFERRED,))) == 2
        totals = await store.totals()
        assert totals.messages == {**dict.fromkeys(State, 0), State.ACTIVE: 4}

    using(tmp_path, work)


def test_delete_by_thousands(tmp_path: Path) -> None:
    """More than fit into one step, with their contents, rows and files."""

    async def work(store: SqliteStore) -> None:
        names = [f"A{number}" for number in range(2500)]
        puts = [store.put(mail(each, "u@a.example"), False) for each in names]
        await gatherResults(puts)
        large = store.incoming()
        large.write(b"x" * 100)
        await store.put(replace(mail("L", "u@a.example"), content=large.finish()), False)
        assert len(list((tmp_path / "content").iterdir())) == 1
        assert await store.delete(Selection()) == 2501
        assert await listed(store, Selection()) == []
        assert list((tmp_path / "content").iterdir()) == []

    using(tmp_path, work, file_threshold=50)


def test_pages(tmp_path: Path) -> None:
    """Every message of a selection once, also if some go or come in between."""
    slow = Selection(transport="slow")

    async def work(store: SqliteStore) -> None:
        for number in range(30):
            name = "slow" if number % 3 == 0 else "fast"
            twice = (recipient("u@a.example", f"{name}:x"), recipient("v@a.example", f"{name}:y"))
            await store.put(mail(f"A{number:02}", *twice), False)
        first, after = await store.listing(slow, 0, 4)
        assert [each.queue_id for each in first] == ["A00", "A03", "A06", "A09"]
        await store.delete(Selection(queue_ids=("A09", "A12")))
        await store.put(mail("LAST", recipient("u@a.example", "slow:x")), False)
        second, after = await store.listing(slow, after, 4)
        assert [each.queue_id for each in second] == ["A15", "A18", "A21", "A24"]
        third, after = await store.listing(slow, after, 4)
        assert ([each.queue_id for each in third], after) == (["A27", "LAST"], 0)
        leased, after = await store.lease_selected(slow, 0, 8)
        assert [each.queue_id for each in leased][-2:] == ["A24", "A27"]
        assert all(each.flush for each in leased)
        again, after = await store.lease_selected(slow, after, 8)
        assert ([each.queue_id for each in again], after) == (["LAST"], 0)

    using(tmp_path, work)


def test_reroute(tmp_path: Path) -> None:
    """Some recipients of some messages; what isn't there any more is no error."""

    async def work(store: SqliteStore) -> None:
        message = await store.put(mail("A", "u@a.example", "v@b.example"), True)
        first = message.recipients[0].number
        hub = Route("smtp", "[hub]:26")
        await store.reroute({"A": {first: hub, 99: hub}, "GONE": {first: hub}})
        found = await store.message("A")
        assert found is not None
        assert [str(each.recipient.route) for each in found.recipients] == [
            "smtp:[hub]:26",
            "smtp:b.example",
        ]
        assert len(await listed(store, Selection(nexthop="[hub]:26"))) == 1
        assert await listed(store, Selection(nexthop="a.example")) == []

    using(tmp_path, work)


def test_what_is_no_text_damages_nothing(tmp_path: Path) -> None:
    """A lone surrogate, such as Python makes of octets that are no UTF-8."""
    odd = "gr\udcfcn"

    async def work(store: SqliteStore) -> None:
        one = replace(recipient("u@a.example"), original=odd, route=Route("error", odd))
        message = await store.put(mail("A", one), True)
        number = message.recipients[0].number
        await store.reroute({"A": {number: Route("retry", odd)}})
        why = Deferral(number, "4.3.0", f"{odd} \U0001f600")
        await store.settle(Settlement("A", _NOW, (), (why,), _NOW))
        [message] = await store.lease_due(_NOW, 1)
        [found] = message.recipients
        assert found.reason == "gr?n \U0001f600"
        assert found.recipient.route == Route("retry", "gr?n")
        assert found.recipient.original == "gr?n"

    using(tmp_path, work)


def test_one_process_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second one would void the first one's leases."""
    monkeypatch.setattr("gatewayd.queue.lock._PATIENCE", 0.2)

    async def work(store: SqliteStore) -> None:
        with pytest.raises(StoreError, match="in use by another process"):
            await new_store(tmp_path).open()

    using(tmp_path, work)
    using(tmp_path, lambda store: store.totals())


def test_no_room(tmp_path: Path) -> None:
    """Below the reserve nothing new is taken, and what is there goes on."""

    async def before(store: SqliteStore) -> None:
        await store.put(mail("A", "u@a.example"), False)

    async def work(store: SqliteStore) -> None:
        with pytest.raises(StoreFull):
            store.incoming()
        with pytest.raises(StoreFull):
            store.put(mail("B", "u@a.example"), False)
        assert await _due(store) == ["A"]
        report = mail("R", "s@b.example", sender="")
        await store.settle(Settlement("A", _NOW, notices=(report,), remove=True))
        assert await _due(store) == ["R"]

    using(tmp_path, before)
    using(tmp_path, work, reserve=1 << 60)
