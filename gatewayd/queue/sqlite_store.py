"""The durable queue on SQLite: IQueueStore's default.

``queue_directory/queue.db`` and its write-ahead log hold everything but large contents, which lie
in ``queue_directory/content/``. docs/queue-store.md tells why, with figures.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from gatewayd.errors import StoreError, StoreFull
from gatewayd.interfaces import IIncomingContent, IQueueStore
from gatewayd.message import (
    Content,
    MemoryContent,
    NewMessage,
    QueuedMessage,
    QueuedRecipient,
    Route,
)
from gatewayd.queue.contents import ContentFiles, FileContent, IncomingContent, StoredContent
from gatewayd.queue.group_commit import GroupCommit
from gatewayd.queue.ids import long_queue_id, short_queue_id
from gatewayd.queue.records import Listing, Selection, Settlement, Totals
from gatewayd.queue.sqlite_database import QueueDatabase

if TYPE_CHECKING:
    from gatewayd.config.settings import Settings

__all__ = ["SqliteStore", "StoreSettings"]

_NUMBERS_LOW = 10_000
_ROOM_CHECK = 1.0
"""Seconds that a look at the disk's free space holds."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where the queue lies and how much room it takes; sizes are octets."""

    folder: str
    reserve: int = 32 << 20
    memory_limit: int = 32 << 20
    cache_size: int = 8 << 20
    file_threshold: int = 256 << 10
    history_limit: int = 20
    long_ids: bool = False
    synchronous: str = "FULL"

    @classmethod
    def from_settings(cls, settings: Settings) -> StoreSettings:
        """As main.cf says. Raises ConfigError."""
        return cls(
            folder=settings.text("queue_directory"),
            reserve=settings.number("queue_minfree") or settings.number("queue_reserve"),
            memory_limit=settings.number("queue_memory_limit"),
            cache_size=settings.number("queue_cache_size"),
            file_threshold=settings.number("queue_file_threshold"),
            history_limit=settings.number("attempt_history_limit"),
            long_ids=settings.flag("enable_long_queue_ids"),
        )


@implementer(IQueueStore)
class SqliteStore:
    """See IQueueStore. All methods are called in the reactor's thread, after open()."""

    def __init__(self, settings: StoreSettings, reactor: Any) -> None:
        self._settings = settings
        self._reactor = reactor
        self._files = ContentFiles(os.path.join(settings.folder, "content"), reactor)
        self._database = QueueDatabase(
            os.path.join(settings.folder, "queue.db"),
            self._files,
            cache_size=settings.cache_size,
            history_limit=settings.history_limit,
            reserve=settings.reserve,
            content_of=self._stored,
            synchronous=settings.synchronous,
        )
        self._commits = GroupCommit(self._database, reactor)
        self._number = 0
        self._numbers_end = 0
        self._taking_numbers = False
        self._process = f"{os.getpid():x}"
        self._incoming = 0
        self._in_memory: dict[str, int] = {}
        self._memory = 0
        self._room_checked = -1e9
        self._room = True

    @classmethod
    def from_settings(cls, settings: StoreSettings, reactor: Any) -> SqliteStore:
        """A store, not open yet."""
        return cls(settings, reactor)

    async def open(self) -> None:
        """Open the queue. Raises StoreError with advice."""
        try:
            os.makedirs(self._files.folder, mode=0o700, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self._files.folder}: {error.strerror}") from None
        await self._commits.start()
        self._number = self._database.next_number
        self._numbers_end = self._number + self._database.numbers_left()

    # IQueueStore

    def new_queue_id(self, now: float) -> str:
        """A queue ID that was never given out before."""
        self._number += 1
        if self._numbers_end - self._number < _NUMBERS_LOW and not self._taking_numbers:
            self._taking_numbers = True
            self._commits.add("take_numbers").addCallbacks(self._more_numbers, self._no_numbers)
        make = long_queue_id if self._settings.long_ids else short_queue_id
        return make(now, self._number)

    def _more_numbers(self, end: int) -> None:
        self._taking_numbers = False
        self._numbers_end = end

    def _no_numbers(self, _: object) -> None:
        self._taking_numbers = False

    def incoming(self) -> IIncomingContent:
        """A place for a content. Raises StoreFull."""
        self._check_room()
        self._incoming += 1
        name = f"{self._process}-{self._number:x}-{self._incoming:x}"
        threshold = self._settings.file_threshold
        return IncomingContent(self._files, name, threshold, self._check_room)

    def put(self, message: NewMessage, lease: bool) -> Deferred[QueuedMessage]:
        """Make it durable."""
        self._check_room()
        self._number += 1
        argument = (message, self._number, lease)
        if isinstance(message.content, FileContent):
            flushed = message.content.flushed()
            stored = flushed.addCallback(lambda _: self._commits.add("put", argument))
        else:
            stored = self._commits.add("put", argument)
        return stored.addCallback(lambda _: self._queued(message, argument[1], lease))

    def _queued(self, message: NewMessage, number: int, lease: bool) -> QueuedMessage:
        content = message.content
        if isinstance(content, MemoryContent):
            fits = self._memory + content.size <= self._settings.memory_limit
            if lease and fits and not message.hold:
                self._in_memory[message.queue_id] = content.size
                self._memory += content.size
            else:
                content = self._stored(number, content.size, None)
        return QueuedMessage(
            queue_id=message.queue_id,
            arrival=message.arrival,
            envelope=message.envelope,
            recipients=tuple(
                QueuedRecipient(place, each) for place, each in enumerate(message.recipients)
            ),
            content=content,
            has_8bit=message.has_8bit,
        )

    def _stored(self, number: int, size: int, octets: bytes | None) -> Content:
        """A content that is in the database; also called in the store's thread."""
        if octets is not None and self._memory + size <= self._settings.memory_limit:
            return MemoryContent(octets)
        return StoredContent(size, lambda: self._commits.add("octets", number))

    def lease_due(self, now: float, limit: int) -> Deferred[Sequence[QueuedMessage]]:
        """Lease what is due."""
        return self._commits.add("lease_due", (now, limit)).addCallback(self._leased)

    def lease_selected(
        self, selection: Selection, after: int, limit: int
    ) -> Deferred[tuple[Sequence[QueuedMessage], int]]:
        """Lease a selection, a window at a time."""
        leased = self._commits.add("lease_selected", (selection, after, limit))
        return leased.addCallback(lambda found: (self._leased(found[0]), found[1]))

    def _leased(self, messages: Sequence[QueuedMessage]) -> Sequence[QueuedMessage]:
        """Count the contents that came along."""
        for message in messages:
            if isinstance(message.content, MemoryContent):
                self._in_memory[message.queue_id] = message.content.size
                self._memory += message.content.size
        return messages

    def next_due(self) -> Deferred[float | None]:
        """When the earliest message is due."""
        return self._commits.add("next_due")

    def settle(self, settlement: Settlement) -> Deferred[None]:
        """Record the end of a turn."""
        self._memory -= self._in_memory.pop(settlement.queue_id, 0)
        numbered = []
        for notice in settlement.notices:
            self._number += 1
            numbered.append((notice, self._number, False))
        urgent = bool(numbered)
        return self._commits.add("settle", (settlement, tuple(numbered)), urgent=urgent)

    def release(self, queue_ids: Iterable[str]) -> Deferred[None]:
        """Put leased messages back."""
        given = tuple(queue_ids)
        for queue_id in given:
            self._memory -= self._in_memory.pop(queue_id, 0)
        return self._commits.add("release", given)

    def listing(
        self, selection: Selection, after: int, limit: int
    ) -> Deferred[tuple[Sequence[Listing], int]]:
        """What waits, a window at a time."""
        return self._commits.add("listing", (selection, after, limit))

    def message(self, queue_id: str) -> Deferred[QueuedMessage | None]:
        """One message."""
        return self._commits.add("message", queue_id)

    def hold(self, selection: Selection) -> Deferred[int]:
        """Put on hold."""
        return self._commits.add("hold", selection)

    def unhold(self, selection: Selection) -> Deferred[int]:
        """Release from hold."""
        return self._commits.add("unhold", selection)

    def delete(self, selection: Selection) -> Deferred[int]:
        """Remove."""
        return self._commits.add("delete", selection)

    def expire(self, selection: Selection) -> Deferred[int]:
        """Mark to be returned."""
        return self._commits.add("expire", selection)

    def requeue(self, selection: Selection) -> Deferred[int]:
        """Make due now."""
        return self._commits.add("requeue", selection)

    def reroute(self, routes: Mapping[str, Mapping[int, Route]]) -> Deferred[None]:
        """Replace routes."""
        rows = [
            (queue_id, number, route.transport, route.nexthop)
            for queue_id, changed in routes.items()
            for number, route in changed.items()
        ]
        return self._commits.add("reroute", rows)

    def totals(self) -> Deferred[Totals]:
        """Counts and octets by state."""
        return self._commits.add("totals")

    def history(self, queue_id: str) -> Deferred[list[tuple[int, float, str, str]]]:
        """Attempts that failed: (recipient number, when, status, reason), oldest first."""
        return self._commits.add("history", queue_id)

    def close(self) -> Deferred[None]:
        """Commit what waits, end the thread."""
        return self._commits.stop()

    # Room

    def _check_room(self) -> None:
        """Raises StoreFull while the disk has less than the reserve."""
        now = self._reactor.seconds()
        if now - self._room_checked >= _ROOM_CHECK or now < self._room_checked:
            self._room_checked = now
            self._room = self._free() >= self._settings.reserve
        if not self._room:
            raise StoreFull(f"less than {self._settings.reserve} octets are free for the queue")

    def _free(self) -> int:
        try:
            status = os.statvfs(self._settings.folder)
        except OSError as error:
            raise StoreError(f"{self._settings.folder}: {error.strerror}") from None
        return status.f_bavail * status.f_frsize if status.f_favail or not status.f_files else 0
