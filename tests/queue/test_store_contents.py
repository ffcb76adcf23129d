"""Contents of leased messages: small ones come along while memory is there; all can be read."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import gatherResults

from gatewayd.message import MemoryContent, QueuedMessage
from gatewayd.queue.records import Selection, Settlement
from gatewayd.queue.sqlite_store import SqliteStore
from tests.fakes.mail import mail
from tests.queue.stores import using

_SMALL, _LARGE = b"s" * 3000, b"L" * 5000
_COUNT = 8
_ROOM = 3 * len(_SMALL)


async def _fill(store: SqliteStore, content: bytes) -> None:
    puts = [
        store.put(mail(f"M{number}", f"u{number}@example.com", content=content), False)
        for number in range(_COUNT)
    ]
    await gatherResults(puts)


def _along(messages: Sequence[QueuedMessage]) -> int:
    """How many have their content with them."""
    return sum(isinstance(each.content, MemoryContent) for each in messages)


async def _octets(messages: Sequence[QueuedMessage]) -> set[bytes]:
    return {await each.content.read(0, each.content.size) for each in messages}


def test_small_contents_come_along(tmp_path: Path) -> None:
    async def work(store: SqliteStore) -> None:
        await _fill(store, _SMALL)
        messages, _ = await store.lease_selected(Selection(site="example.com"), 0, 100)
        assert (len(messages), _along(messages)) == (_COUNT, _COUNT)
        assert await _octets(messages) == {_SMALL}

    using(tmp_path, work)


def test_large_contents_are_read_when_they_are_sent(tmp_path: Path) -> None:
    async def work(store: SqliteStore) -> None:
        await _fill(store, _LARGE)
        messages = await store.lease_due(1.0, 100)
        assert (len(messages), _along(messages)) == (_COUNT, 0)
        assert await _octets(messages) == {_LARGE}

    using(tmp_path, work)


@pytest.mark.parametrize("put_back", [True, False])
def test_no_more_than_memory_allows(tmp_path: Path, put_back: bool) -> None:
    """queue_memory_limit holds for windows after the first; what has left makes room again."""

    async def work(store: SqliteStore) -> None:
        await _fill(store, _SMALL)
        first = await store.lease_due(1.0, 3)
        second = await store.lease_due(1.0, 3)
        assert (_along(first), _along(second)) == (3, 0)
        assert await _octets(second) == {_SMALL}
        if put_back:
            await store.release([each.queue_id for each in first])
        else:
            for each in first:
                await store.settle(Settlement(each.queue_id, 1.0, remove=True))
        third = await store.lease_due(1.0, 2)
        assert _along(third) == 2

    using(tmp_path, work, memory_limit=_ROOM)


def test_a_window_takes_no_statement_for_each_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each statement may have to wait for a busy reactor, however little it does."""
    heard: list[str] = []
    connect = sqlite3.connect

    def overheard(*arguments: Any, **more: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **more)
        connection.set_trace_callback(heard.append)
        return connection

    async def work(store: SqliteStore) -> None:
        await _fill(store, _SMALL)
        heard.clear()
        assert len(await store.lease_due(1.0, 100)) == _COUNT

    monkeypatch.setattr(sqlite3, "connect", overheard)
    using(tmp_path, work)
    assert 0 < len(heard) < _COUNT
