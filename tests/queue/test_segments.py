"""Contents that share files: where they lie, when files go, what is moved, what damage does."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as _reactor

from gatewayd.address import Address
from gatewayd.errors import StoreError
from gatewayd.maillog import capture
from gatewayd.message import Envelope, MemoryContent, NewMessage, QueuedMessage, Recipient, Route
from gatewayd.queue import segments as segments_module
from gatewayd.queue.records import Selection, Settlement, State
from gatewayd.queue.segments import Place, Segments
from gatewayd.queue.sqlite_store import SqliteStore, StoreSettings
from tests.reactor_run import run

reactor: Any = _reactor
KB = 1024
_TO = (Recipient(Address("r", "site.test"), Route("smtp", "[127.0.0.1]")),)


def with_store(
    folder: Path, work: Callable[[SqliteStore], Awaitable[None]], **settings: Any
) -> None:
    """Open a store, work with it, close it."""

    async def whole() -> None:
        store = SqliteStore(StoreSettings(str(folder), reserve=0, **settings), reactor)
        await store.open()
        try:
            await work(store)
        finally:
            await store.close()

    run(whole)


def octets_of(name: str, size: int) -> bytes:
    return name.encode() + b"-" * (size - len(name))


async def put(store: SqliteStore, size: int, lease: bool = False) -> str:
    queue_id = store.new_queue_id(1000.0)
    content = MemoryContent(octets_of(queue_id, size))
    await store.put(NewMessage(queue_id, 1000.0, Envelope(Address("s", "x")), _TO, content), lease)
    return queue_id


async def is_whole(store: SqliteStore, queue_id: str) -> bool:
    message = await store.message(queue_id)
    assert message is not None
    octets = await message.content.read(0, message.size)
    assert await message.content.read(3, 10) == octets[3:13]
    return octets == octets_of(queue_id, message.size)


async def gone(store: SqliteStore, *queue_ids: str) -> None:
    for queue_id in queue_ids:
        await store.settle(Settlement(queue_id, 1001.0, remove=True))


def files(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder / "content") if "-" in name)


def test_only_middling_contents_share_files(tmp_path: Path) -> None:
    """Small ones lie in the database, whose limit is 16 KB."""

    async def work(store: SqliteStore) -> None:
        small = await put(store, 16 * KB)
        assert files(tmp_path) == []
        middling = [await put(store, size * KB) for size in (17, 100, 200)]
        (segment,) = files(tmp_path)
        assert (tmp_path / "content" / segment).stat().st_size == 317 * KB
        for queue_id in (small, *middling):
            assert await is_whole(store, queue_id)

    with_store(tmp_path, work)


def test_they_are_there_after_a_restart(tmp_path: Path) -> None:
    """And the next process begins a file of its own, leaving those of others alone."""
    kept: list[str] = []

    async def first(store: SqliteStore) -> None:
        kept.extend([await put(store, 50 * KB), await put(store, 60 * KB)])

    async def second(store: SqliteStore) -> None:
        kept.append(await put(store, 70 * KB))
        assert len(files(tmp_path)) == 2
        leased = await store.lease_due(2000.0, 10)
        assert [message.queue_id for message in leased] == kept
        for queue_id in kept:
            assert await is_whole(store, queue_id)

    with_store(tmp_path, first)
    with_store(tmp_path, second)


def test_a_segment_goes_with_its_last_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the one that is being written, though; that goes at the next start."""
    small_segments(monkeypatch, 100 * KB)

    async def work(store: SqliteStore) -> None:
        first, second, third = [await put(store, 60 * KB) for _ in range(3)]
        assert len(files(tmp_path)) == 2
        await gone(store, first)
        assert len(files(tmp_path)) == 2
        await gone(store, second)
        assert len(files(tmp_path)) == 1
        await gone(store, third)
        assert len(files(tmp_path)) == 1

    with_store(tmp_path, work)

    async def nothing(store: SqliteStore) -> None:
        assert files(tmp_path) == []

    with_store(tmp_path, nothing)


def test_a_sparse_segment_is_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for long doesn't hold the room of what has gone; it can be read as before."""
    small_segments(monkeypatch, 200 * KB)
    waiting: list[str] = []

    async def work(store: SqliteStore) -> None:
        read_later: list[QueuedMessage | None] = []
        for _ in range(10):
            ids = [await put(store, 20 * KB) for _ in range(10)]
            waiting.append(ids[4])
            read_later.append(await store.message(ids[4]))
            await gone(store, *ids[:4], *ids[5:])
        total = sum((tmp_path / "content" / name).stat().st_size for name in files(tmp_path))
        wanted = 10 * 20 * KB
        assert total <= 4 * wanted + 200 * KB < 10 * 200 * KB
        for queue_id, message in zip(waiting, read_later, strict=True):
            assert await is_whole(store, queue_id)
            assert message is not None
            assert await message.content.read(0, message.size) == octets_of(queue_id, 20 * KB)

    async def later(store: SqliteStore) -> None:
        for queue_id in waiting:
            assert await is_whole(store, queue_id)
        await gone(store, *waiting)

    with_store(tmp_path, work)
    with_store(tmp_path, later)


def test_room_of_segments_is_given_back_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that starts knows what is wanted of the files of those before."""
    small_segments(monkeypatch, 1000 * KB)
    ids: list[str] = []

    async def first(store: SqliteStore) -> None:
        ids.extend([await put(store, 20 * KB) for _ in range(20)])

    async def second(store: SqliteStore) -> None:
        (old,) = files(tmp_path)
        await gone(store, *ids[1:])
        (new,) = files(tmp_path)
        assert new != old
        assert await is_whole(store, ids[0])

    with_store(tmp_path, first)
    with_store(tmp_path, second)


@pytest.mark.parametrize("harm", ["cut", "gone"])
def test_damage_sets_aside_only_what_it_hits(tmp_path: Path, harm: str) -> None:
    """A file cut short takes the contents behind the cut; the others are delivered."""
    ids: list[str] = []

    async def first(store: SqliteStore) -> None:
        ids.extend([await put(store, 20 * KB) for _ in range(3)])
        ids.append(await put(store, 1 * KB))

    with_store(tmp_path, first)
    path = tmp_path / "content" / files(tmp_path)[0]
    if harm == "cut":
        os.truncate(path, 50 * KB)
    else:
        path.unlink()

    async def second(store: SqliteStore) -> None:
        with capture() as lines:
            leased = await store.lease_due(2000.0, 10)
        unharmed = ids[:2] if harm == "cut" else []
        assert [message.queue_id for message in leased] == [*unharmed, ids[3]]
        listed, _ = await store.listing(Selection(states=(State.CORRUPT,)), 0, 10)
        assert [entry.queue_id for entry in listed] == [i for i in ids[:3] if i not in unharmed]
        assert all(f"{entry.queue_id}: set aside" in "".join(lines) for entry in listed)

    with_store(tmp_path, second)


def test_an_unreadable_segment_keeps_its_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be copied is not lost for that: a warning, and the file stays."""
    small_segments(monkeypatch, 100 * KB)

    async def work(store: SqliteStore) -> None:
        ids = [await put(store, 20 * KB) for _ in range(6)]
        broken = tmp_path / "content" / files(tmp_path)[0]
        octets = broken.read_bytes()
        os.truncate(broken, 90 * KB)
        with capture() as lines:
            await gone(store, *ids[:4])
        assert "keeps its room" in "".join(lines)
        broken.write_bytes(octets)
        assert await is_whole(store, ids[4])

    with_store(tmp_path, work)


def test_a_write_that_fails_refuses_only_what_needs_it(tmp_path: Path) -> None:
    """No room for a segment: that message is refused, small ones are not."""

    async def work(store: SqliteStore) -> None:
        (tmp_path / "content").chmod(0o500)
        os.rename(tmp_path / "content", tmp_path / "elsewhere")
        try:
            with pytest.raises(StoreError, match="content file"):
                await put(store, 50 * KB)
            assert await is_whole(store, await put(store, 1 * KB))
        finally:
            os.rename(tmp_path / "elsewhere", tmp_path / "content")
            (tmp_path / "content").chmod(0o700)
        assert await is_whole(store, await put(store, 50 * KB))

    with_store(tmp_path, work)


def test_places() -> None:
    """What a row may hold, and what it may not."""
    assert Place.parse("1f-2@77") == Place("1f-2", 77)
    assert str(Place("1f-2", 77)) == "1f-2@77"
    for text in ("", "1f-2-3", "1f-2@", "../x-1@0", "1f-2@7/8", "1f-2@7\n", "1f-2@-1"):
        assert Place.parse(text) is None


def test_segments_read_what_they_wrote(tmp_path: Path) -> None:
    """Over the end of a file, too."""
    shared = Segments(str(tmp_path), "a", limit=100)
    contents = [bytes([number]) * (number + 1) for number in range(40)]
    places = [place for each in contents for place in shared.append([each])]
    places += shared.append(contents)
    for place, octets in zip(places, contents * 2, strict=True):
        assert shared.read(place, len(octets)) == octets
    assert len(set(places)) == 80
    assert len(os.listdir(tmp_path)) > 5
    shared.close()


def small_segments(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(segments_module.Segments.__init__, "__defaults__", (limit,))
