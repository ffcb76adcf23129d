"""The real queue store for tests: opened, used and closed in the real reactor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from gatewayd.interfaces import IQueueStore
from gatewayd.queue.records import Listing, Selection
from gatewayd.queue.sqlite_store import SqliteStore, StoreSettings
from tests.reactor_run import reactor, run

T = TypeVar("T")


def new_store(folder: Path, **settings: Any) -> SqliteStore:
    """A store in a folder, not open yet. It does not wait for the disk: that's proven elsewhere."""
    return SqliteStore(
        StoreSettings(str(folder), **{"reserve": 0, "synchronous": "OFF", **settings}), reactor
    )


def using(folder: Path, work: Callable[[SqliteStore], Awaitable[T]], **settings: Any) -> T:
    """What ``work`` gives with the store of a folder, which is open meanwhile.

    Leases that are left are left as by a crash.
    """

    async def use() -> T:
        store = new_store(folder, **settings)
        await store.open()
        try:
            return await work(store)
        finally:
            await store.close()

    return run(use)


async def listed(store: IQueueStore, selection: Selection, page: int = 100) -> list[Listing]:
    """All of a listing, page by page."""
    found: list[Listing] = []
    after = 0
    while True:
        entries, after = await store.listing(selection, after, page)
        assert len(entries) <= page
        found += entries
        if not after:
            return found
