"""Whatever is damaged is set aside and logged, and the rest goes on (G21)."""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from twisted.internet.defer import DeferredList, gatherResults

from gatewayd import maillog
from gatewayd.cli.postqueue import render_json, render_list
from gatewayd.control.operator import Operator
from gatewayd.errors import StoreError
from gatewayd.queue.records import Selection, Settlement, State
from gatewayd.queue.sqlite_store import SqliteStore
from tests.fakes.mail import mail
from tests.queue.stores import listed, using

_OTHERS = 40
_IN_FILE, _IN_SEGMENT = b"x" * 40_000, b"y" * 20_000
_BAD = "BAD000"


def _queue(folder: Path, content: bytes = b"Subject: bad\r\n\r\nbody\r\n") -> None:
    """One message to be damaged between others, of which some have contents in files."""

    async def put(store: SqliteStore) -> None:
        for number in range(_OTHERS):
            if number == _OTHERS // 2:
                await store.put(mail(_BAD, "u@a.example", "v@a.example", content=content), False)
            message = mail(f"OK{number:04}", "u@a.example")
            if number % 4 == 0:
                incoming = store.incoming()
                incoming.write(_IN_FILE if number % 8 == 0 else _IN_SEGMENT)
                message = replace(message, content=incoming.finish())
            await store.put(message, False)

    using(folder, put, file_threshold=30_000)


def _files(folder: Path) -> list[Path]:
    """The files of single messages, the oldest first."""
    return sorted(
        path for path in (folder / "content").iterdir() if path.stat().st_size == len(_IN_FILE)
    )


def _segment(folder: Path) -> Path:
    """The file that several messages share."""
    [path] = set((folder / "content").iterdir()) - set(_files(folder))
    return path


def _execute(folder: Path, *statements: str) -> None:
    """Change the queue behind the store's back, as a fault of the disk may."""
    with closing(sqlite3.connect(folder / "queue.db")) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_schema SET sql = replace(sql, 'NOT NULL', '') WHERE type = 'table'"
        )
        connection.execute("PRAGMA schema_version = 99")
        connection.commit()
    with closing(sqlite3.connect(folder / "queue.db")) as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount != 0, statement
        connection.commit()


async def _deliver_all(store: SqliteStore) -> list[str]:
    """As the dispatcher does it: lease what is due, read it, settle it.

    On damaged pages a settlement may fail; then the message stays leased.
    """
    delivered: list[str] = []
    while (due := await store.next_due()) is not None:
        ends = []
        for message in await store.lease_due(due, 15):
            octets = await message.content.read(0, message.size)
            assert len(octets) == message.size
            delivered.append(message.queue_id)
            ends.append(store.settle(Settlement(message.queue_id, 1.0, remove=True)))
        for succeeded, result in await DeferredList(ends, consumeErrors=True):
            assert succeeded or "queue.db is damaged" in result.getErrorMessage()
    assert len(delivered) == len(set(delivered))
    return delivered


async def _shown(store: SqliteStore) -> str:
    """What postqueue -p and -j make of the queue."""
    pages = [page async for page in Operator(store, None).listing(Selection())]
    entries = [entry for page in pages for entry in page]
    return "\n".join([*render_list(entries), *render_json(entries)])


def _envelope(text: str) -> str:
    return f"UPDATE message SET envelope = '{text}' WHERE queue_id = '{_BAD}'"


def _message(column: str, value: str) -> str:
    return f"UPDATE message SET {column} = {value} WHERE queue_id = '{_BAD}'"


def _recipient(column: str, value: str) -> str:
    number = f"(SELECT number FROM message WHERE queue_id = '{_BAD}')"
    return f"UPDATE recipient SET {column} = {value} WHERE message = {number}"


_NUMBER = f"(SELECT number FROM message WHERE queue_id = '{_BAD}')"
_DAMAGES = {
    "envelope cut short": _envelope('{"v": 1, "sender": ["s", "x.ex'),
    "envelope empty": _envelope(""),
    "envelope no object": _envelope("[1, 2]"),
    "envelope deep": _envelope("[" * 100_000),
    "envelope of the future": _envelope('{"v": 2, "sender": ["s", "x"]}'),
    "envelope without sender": _envelope('{"v": 1}'),
    "sender no text": _envelope('{"v": 1, "sender": [1, null]}'),
    "sender too long": _envelope('{"v": 1, "sender": ["a", "b", "c"]}'),
    "envid no text": _envelope('{"v": 1, "sender": ["s", "x"], "envid": []}'),
    "origin no object": _envelope('{"v": 1, "sender": ["s", "x"], "origin": 7}'),
    "origin unknown": _envelope('{"v": 1, "sender": ["s", "x"], "origin": {"evil": 1}}'),
    "origin of wrong type": _envelope('{"v": 1, "sender": ["s", "x"], "origin": {"helo": 1}}'),
    "envelope NULL": _message("envelope", "NULL"),
    "envelope blob": _message("envelope", "x'00ff'"),
    "envelope no UTF-8": _message("envelope", "CAST(x'7b22ff' AS TEXT)"),
    "arrival text": _message("arrival", "'yesterday'"),
    "arrival NULL": _message("arrival", "NULL"),
    "flags text": _message("flags", "'many'"),
    "flags NULL": _message("flags", "NULL"),
    "size wrong": _message("size", "size + 1"),
    "size text": _message("size", "'big'"),
    "file NULL": _message("file", "NULL"),
    "file missing": _message("file", "'nowhere'"),
    "file outside": _message("file", "'../queue.db'"),
    "file with NUL": _message("file", "CAST(x'610062' AS TEXT)"),
    "content missing": f"DELETE FROM content WHERE number = {_NUMBER}",
    "content short": f"UPDATE content SET octets = x'41' WHERE number = {_NUMBER}",
    "content NULL": f"UPDATE content SET octets = NULL WHERE number = {_NUMBER}",
    "no recipients": f"DELETE FROM recipient WHERE message = {_NUMBER}",
    "recipient NULL": _recipient("local", "NULL"),
    "recipient number": _recipient("domain", "x'41'"),
    "recipient no UTF-8": _recipient("local", "CAST(x'ff' AS TEXT)"),
    "route NULL": _recipient("transport", "NULL"),
    "notify text": _recipient("notify", "'all'"),
    "attempts text": _recipient("attempts", "'some'"),
    "last attempt text": _recipient("last_attempt", "'then'"),
}


@pytest.mark.parametrize("name", _DAMAGES)
def test_damaged_rows_are_set_aside(tmp_path: Path, name: str) -> None:
    """Also in lists and for postcat, before and after; operators can delete it."""
    _queue(tmp_path)
    _execute(tmp_path, _DAMAGES[name])

    async def work(store: SqliteStore) -> None:
        assert len(await listed(store, Selection())) == _OTHERS + 1
        assert len(await _deliver_all(store)) == _OTHERS
        [left] = await listed(store, Selection())
        assert (left.queue_id, left.state) == (_BAD, State.CORRUPT)
        assert _BAD in await _shown(store)
        assert (await store.totals()).messages[State.CORRUPT] == 1
        with pytest.raises(StoreError, match=r"damaged|cannot be read"):
            await store.message(_BAD)
        assert await store.delete(Selection(states=(State.CORRUPT,))) == 1
        assert await listed(store, Selection()) == []

    with maillog.capture() as lines:
        using(tmp_path, work)
    [line] = lines.containing("set aside as corrupt: ")
    assert line.startswith(f"queue: error: {_BAD}: ")


@pytest.mark.parametrize("damage", ["gone", "short", "long", "a folder"])
def test_damaged_files_are_set_aside(tmp_path: Path, damage: str) -> None:
    _queue(tmp_path)
    path = _files(tmp_path)[0]
    _damage_file(path, damage)

    async def work(store: SqliteStore) -> None:
        assert len(await _deliver_all(store)) == _OTHERS
        [left] = await listed(store, Selection())
        assert left.state is State.CORRUPT

    with maillog.capture() as lines:
        using(tmp_path, work)
    assert len(lines.containing(f"set aside as corrupt: its content file {path.name!r}")) == 1


def _damage_file(path: Path, damage: str) -> None:
    if damage == "short":
        os.truncate(path, 100)
    elif damage == "long":
        os.truncate(path, 60_000)
    else:
        path.unlink()
        if damage == "a folder":
            path.mkdir()


@pytest.mark.parametrize(("left", "lost"), [(0, 5), (30_000, 4), (99_999, 1)])
def test_damaged_segments(tmp_path: Path, left: int, lost: int) -> None:
    """Those are set aside whose contents aren't there; others in the same file are delivered."""
    _queue(tmp_path)
    os.truncate(_segment(tmp_path), left)

    async def work(store: SqliteStore) -> None:
        assert len(await _deliver_all(store)) == _OTHERS + 1 - lost
        aside = await listed(store, Selection(states=(State.CORRUPT,)))
        assert len(aside) == len(await listed(store, Selection())) == lost
        assert await store.delete(Selection()) == lost

    with maillog.capture() as lines:
        using(tmp_path, work)
    assert len(lines.containing("set aside as corrupt: its content file")) == lost
    assert list((tmp_path / "content").iterdir()) == []


def test_content_that_goes_bad_while_it_is_delivered(tmp_path: Path) -> None:
    """It's loaded, and then can't be read: an error for that delivery, then it's set aside."""
    _queue(tmp_path, b"c" * 10_000)

    async def work(store: SqliteStore) -> None:
        messages = {each.queue_id: each for each in await store.lease_due(1.0, 99)}
        _execute_while_open(tmp_path, f"DELETE FROM content WHERE number = {_NUMBER}")
        os.truncate(_segment(tmp_path), 90_000)
        os.truncate(_files(tmp_path)[0], 0)
        failed = []
        for queue_id, message in messages.items():
            try:
                octets = await message.content.read(0, message.size)
                assert octets or not message.size
                await store.settle(Settlement(queue_id, 1.0, remove=True))
            except (StoreError, AssertionError):
                failed.append(queue_id)
                await store.settle(Settlement(queue_id, 1.0, next_attempt=2.0))
        assert len(failed) == 3
        assert await store.lease_due(2.0, 99) == []
        assert {each.state for each in await listed(store, Selection())} == {State.CORRUPT}
        assert len(await listed(store, Selection())) == 3

    using(tmp_path, work)


def _execute_while_open(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / "queue.db")) as connection:
        connection.execute(statement)
        connection.commit()


# The database as a whole


@pytest.mark.parametrize("kind", ["header", "no database", "cut short"])
def test_a_damaged_database_is_refused_with_advice(tmp_path: Path, kind: str) -> None:
    """And is left as it is."""
    _queue(tmp_path)
    path = tmp_path / "queue.db"
    if kind == "header":
        _overwrite(path, 0, b"\xff" * 100)
    elif kind == "no database":
        path.write_bytes(b"Not a database at all. " * 1000)
    else:
        os.truncate(path, 5000)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"queue\.db is damaged .*postsuper -s"):
        using(tmp_path, lambda store: store.totals())
    assert path.read_bytes() == before
    assert list((tmp_path / "content").iterdir())


def _overwrite(path: Path, offset: int, octets: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(octets)


def _big_queue(folder: Path, count: int) -> None:
    """Contents that have pages of their own."""

    async def put(store: SqliteStore) -> None:
        puts = [
            store.put(
                mail(
                    f"A{n:04}",
                    "u@a.example",
                    sender=f"{n}@{'long' * 60}.example",
                    content=b"c" * 15_000,
                ),
                False,
            )
            for n in range(count)
        ]
        await gatherResults(puts)

    using(folder, put)


def _page_size(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        size: int = connection.execute("PRAGMA page_size").fetchone()[0]
        return size


def _pages_of(path: Path, table: str) -> list[int]:
    """The leaf pages of a table, by SQLite's own dbstat if it has that, else by their looks."""
    size = _page_size(path)
    octets = path.read_bytes()
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
        (root,) = connection.execute(query, (table,)).fetchone()
    start = (root - 1) * size
    assert octets[start] == 5, "an inner page of a table"
    cells = int.from_bytes(octets[start + 3 : start + 5], "big")
    pages = []
    for cell in range(cells):
        at = int.from_bytes(octets[start + 12 + 2 * cell : start + 14 + 2 * cell], "big")
        pages.append(int.from_bytes(octets[start + at : start + at + 4], "big"))
    return pages


def test_damaged_pages_of_contents(tmp_path: Path) -> None:
    """The messages whose contents lay there are set aside, all others are delivered."""
    _big_queue(tmp_path, 60)
    path = tmp_path / "queue.db"
    page, size = _pages_of(path, "content")[1], _page_size(path)
    _overwrite(path, (page - 1) * size, b"\x00" * size)

    async def work(store: SqliteStore) -> tuple[int, int]:
        delivered = len(await _deliver_all(store))
        return delivered, len(await listed(store, Selection(states=(State.CORRUPT,))))

    with maillog.capture() as lines:
        delivered, aside = using(tmp_path, work)
    assert aside > 0
    assert delivered + aside == 60
    assert len(lines.containing("set aside as corrupt")) == aside


def test_damaged_pages_of_messages(tmp_path: Path) -> None:
    """What lay there can't even be marked: it's left alone, and named; others are delivered."""
    _big_queue(tmp_path, 60)
    path = tmp_path / "queue.db"
    page, size = _pages_of(path, "message")[1], _page_size(path)
    _overwrite(path, (page - 1) * size, b"\x00" * size)

    async def work(store: SqliteStore) -> int:
        delivered = len(await _deliver_all(store))
        with pytest.raises(StoreError, match=r"queue\.db is damaged .*postsuper -s"):
            await listed(store, Selection())
        await store.put(mail("NEW", "u@a.example"), False)
        assert await _deliver_all(store) == ["NEW"]
        return delivered

    with maillog.capture() as lines:
        delivered = using(tmp_path, work)
    left = len(lines.containing("left alone until the queue is repaired"))
    assert left > 0
    assert delivered + left == 60


def test_random_damage(tmp_path: Path) -> None:
    """Octets overwritten anywhere: it opens or advises, delivers or says why, and always ends."""
    chance = random.Random(5)
    _big_queue(tmp_path / "whole", 40)
    whole = (tmp_path / "whole" / "queue.db").read_bytes()
    outcomes: dict[str, int] = {}
    for turn in range(40):
        folder = tmp_path / str(turn)
        (folder / "content").mkdir(parents=True)
        octets = bytearray(whole)
        for _ in range(chance.randrange(1, 8)):
            at = chance.randrange(100, len(octets))
            octets[at : at + 16] = chance.randbytes(16)
        (folder / "queue.db").write_bytes(octets)
        outcome = _try_to_deliver(folder)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    assert set(outcomes) <= {"delivered", "advised"}
    assert outcomes["delivered"] > 10


def _try_to_deliver(folder: Path) -> str:
    async def work(store: SqliteStore) -> None:
        for _ in range(10):
            ends = []
            for message in await store.lease_due(1.0, 15):
                try:
                    await message.content.read(0, message.size)
                    end = Settlement(message.queue_id, 1.0, remove=True)
                except StoreError:
                    end = Settlement(message.queue_id, 1.0, next_attempt=1.0)
                ends.append(store.settle(end))
            await DeferredList(ends, consumeErrors=True)

    try:
        using(folder, work)
    except StoreError as error:
        return "advised" if "postsuper -s" in str(error) else str(error)
    return "delivered"
