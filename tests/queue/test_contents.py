"""Contents on their way in and at rest: where they lie, and that none is left behind.

Up to 16 KB they lie in the database, then with others in a segment, above a threshold in files of
their own.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, gatherResults

from gatewayd.errors import StoreError, StoreFull
from gatewayd.interfaces import IIncomingContent
from gatewayd.message import Content, QueuedMessage
from gatewayd.queue.records import Selection, Settlement
from gatewayd.queue.sqlite_store import SqliteStore
from tests.fakes.mail import mail
from tests.peers import eventually
from tests.queue.stores import using
from tests.reactor_run import reactor, run

_THRESHOLD = 1000
_WITHIN, _SHARED = 16 << 10, 60_000
"""Octets up to which a content lies in the database, and in a segment if that's the threshold."""
_LARGE = bytes(range(256)) * 2000


async def _arrive(store: SqliteStore, octets: bytes, piece: int = 65536) -> IIncomingContent:
    """A content that has come in, a piece at a time, as fast as the disk lets it."""
    incoming = store.incoming()
    for start in range(0, len(octets), piece):
        pause = incoming.write(octets[start : start + piece])
        if pause is not None:
            await pause
    return incoming


async def _put(store: SqliteStore, queue_id: str, octets: bytes) -> QueuedMessage:
    content = (await _arrive(store, octets)).finish()
    return await store.put(replace(mail(queue_id, "u@a.example"), content=content), True)


async def _read(content: Content, piece: int) -> bytes:
    found = b""
    while octets := await content.read(len(found), piece):
        found += octets
    return found


def _files(folder: Path) -> list[str]:
    return os.listdir(folder / "content")


def _gone(folder: Path) -> None:
    """No file is left; threads may need a moment for that."""

    async def wait() -> None:
        for _ in range(500):
            if not _files(folder):
                return
            later: Deferred[None] = Deferred()
            reactor.callLater(0.01, later.callback, None)
            await later
        pytest.fail(f"left: {_files(folder)}")

    run(wait)


_SIZES = [0, 1, _WITHIN, _WITHIN + 1, _SHARED, _SHARED + 1, len(_LARGE)]


@pytest.mark.parametrize("size", _SIZES)
def test_octet_by_octet(tmp_path: Path, size: int) -> None:
    """Fresh, in the next life, in any pieces; in a file only if it's large."""
    octets = _LARGE[:size]

    async def arrive(store: SqliteStore) -> None:
        message = await _put(store, "A", octets)
        assert message.size == size
        assert await _read(message.content, 70_000) == octets
        assert len(_files(tmp_path)) == (size > _WITHIN)

    async def look(store: SqliteStore) -> None:
        [message] = await store.lease_due(1.0, 9)
        assert message.size == size
        assert await _read(message.content, 70_000) == octets
        assert await message.content.read(size // 2, 10) == octets[size // 2 :][:10]
        await store.settle(Settlement("A", 1.0, remove=True))
        assert _files(tmp_path) == []

    using(tmp_path, arrive, file_threshold=_SHARED)
    using(tmp_path, look, file_threshold=_SHARED)


def test_many_at_once(tmp_path: Path) -> None:
    """Each gets its own octets, whether they are committed together or not."""

    async def work(store: SqliteStore) -> None:
        contents = {f"A{n}": f"{n}:".encode() * (n * 137 % 20_000) for n in range(200)}
        sizes = [len(octets) for octets in contents.values()]
        assert min(sizes) < _WITHIN < sorted(sizes)[len(sizes) // 2] < _SHARED < max(sizes)
        puts = [
            Deferred.fromCoroutine(_put(store, name, octets)) for name, octets in contents.items()
        ]
        await gatherResults(puts)
        for name, octets in contents.items():
            message = await store.message(name)
            assert message is not None
            assert await _read(message.content, 99_999) == octets

    using(tmp_path, work, file_threshold=_SHARED)


def test_client_waits_for_the_disk(tmp_path: Path) -> None:
    """Beyond a quarter of a megabyte that isn't written yet, and no longer than that."""

    async def work(store: SqliteStore) -> None:
        incoming = store.incoming()
        pauses = [incoming.write(bytes(65536)) for _ in range(8)]
        assert pauses[:4] == [None] * 4
        last = pauses[-1]
        assert last is not None
        await last
        assert incoming.write(b"x") is None
        incoming.discard()

    using(tmp_path, work)
    _gone(tmp_path)


@pytest.mark.parametrize("written", ["a little", "more", "all", "all, and flushed"])
def test_discarded(tmp_path: Path, written: str) -> None:
    """At any time until it's in the queue, also while it's being written."""

    async def work(store: SqliteStore) -> None:
        if written.startswith("all"):
            incoming = await _arrive(store, _LARGE)
            content = incoming.finish()
            if "flushed" in written:
                await content.flushed()  # type: ignore[attr-defined]
                assert len(_files(tmp_path)) == 1
        else:
            incoming = store.incoming()
            incoming.write(_LARGE[: 10 if written == "a little" else 100_000])
        incoming.discard()
        incoming.discard()

    using(tmp_path, work, file_threshold=_THRESHOLD)
    _gone(tmp_path)


def test_a_message_that_is_refused_leaves_nothing(tmp_path: Path) -> None:
    """The commit fails after the file is on disk, as on a disk that has just become full."""

    async def work(store: SqliteStore) -> None:
        await store.put(mail("A", "u@a.example"), False)
        incoming = await _arrive(store, _LARGE)
        again = replace(mail("A", "u@a.example"), content=incoming.finish())
        with pytest.raises(StoreError):
            await store.put(again, True)
        assert len(_files(tmp_path)) == 1
        incoming.discard()

    using(tmp_path, work, file_threshold=_THRESHOLD)
    _gone(tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """The error comes out of the write or the commit, whichever is next; the store lives on."""

    async def work(store: SqliteStore) -> None:
        (tmp_path / "content").rename(tmp_path / "elsewhere")
        with pytest.raises(StoreError, match="No such file"):
            await _put(store, "A", _LARGE)
        (tmp_path / "elsewhere").rename(tmp_path / "content")
        await _put(store, "A", _LARGE)

    using(tmp_path, work, file_threshold=_THRESHOLD)


def test_no_room_for_a_file(tmp_path: Path) -> None:
    """A content that outgrows memory is refused at that moment if the disk has filled up."""

    async def work(store: SqliteStore) -> None:
        incoming = store.incoming()
        incoming.write(b"x" * _THRESHOLD)
        store._settings = replace(store._settings, reserve=1 << 60)
        store._room_checked = -1e9
        with pytest.raises(StoreFull):
            incoming.write(b"x")
        incoming.discard()
        assert _files(tmp_path) == []

    using(tmp_path, work, file_threshold=_THRESHOLD)


def test_what_a_crash_left_is_cleared_at_the_start(tmp_path: Path) -> None:
    """Files of messages that don't exist go, those of messages that do stay."""

    async def put(store: SqliteStore) -> None:
        await _put(store, "A", _LARGE)

    using(tmp_path, put, file_threshold=_THRESHOLD)
    (tmp_path / "content" / "half").write_bytes(b"x")
    using(tmp_path, lambda store: store.totals())
    assert len(_files(tmp_path)) == 1


def test_contents_of_another_queue_are_no_rubbish(tmp_path: Path) -> None:
    """A queue that was moved away, or emptied, leaves contents that it will need again."""

    async def put(store: SqliteStore) -> None:
        await _put(store, "A", _LARGE)

    using(tmp_path, put, file_threshold=_THRESHOLD)
    queue, away = tmp_path / "queue.db", tmp_path / "away.db"
    queue.rename(away)
    for damage in (lambda: None, queue.touch):
        damage()
        with pytest.raises(StoreError, match="bring the queue back that they belong to"):
            using(tmp_path, lambda store: store.totals())
        assert len(_files(tmp_path)) == 1
    away.rename(queue)

    async def look(store: SqliteStore) -> int:
        return await store.delete(Selection())

    assert using(tmp_path, look) == 1
    eventually(lambda: not _files(tmp_path), "the file is removed")
