"""The queue's database, as the store's thread drives it."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from gatewayd.errors import StoreError, StoreFull
from gatewayd.maillog import MailLog
from gatewayd.message import Content, MemoryContent, NewMessage, QueuedMessage
from gatewayd.queue import statements as sql
from gatewayd.queue.contents import ContentFiles, FileContent
from gatewayd.queue.group_commit import Work
from gatewayd.queue.records import Listing, Selection, Settlement, State, Totals
from gatewayd.queue.rows import (
    MESSAGE_COLUMNS,
    RECIPIENT_COLUMNS,
    BadRow,
    listing_from,
    message_from,
    message_row,
    recipient_rows,
)
from gatewayd.queue.schema import prepare_schema

__all__ = ["QueueDatabase", "Selected"]

_NUMBER_BLOCK = 100_000
"""Numbers taken at a time: those left over at a stop are skipped."""
_CHECKPOINT_PAGES = 4000
_FULL_ERRORS = (sqlite3.SQLITE_FULL,)

log = MailLog("queue")

Selected = tuple[Selection, int, int]
"""A selection, the position to go on from, and how many at most."""


class QueueDatabase:
    """What GroupCommit calls; see there for the thread it runs on.

    ``content_of(number, size)`` makes the content of a message that is loaded: it's given the
    octets where they came along.
    """

    def __init__(
        self,
        path: str,
        files: ContentFiles,
        *,
        cache_size: int,
        history_limit: int,
        content_of: Callable[[int, int, bytes | None], Content],
        synchronous: str = "FULL",
    ) -> None:
        self._path = path
        self._files = files
        self._cache_size = cache_size
        self._history_limit = history_limit
        self._content_of = content_of
        self._synchronous = synchronous
        self._lease = 1
        self._numbers_end = 0
        self.next_number = 0

    # Life

    def open(self) -> None:
        """Open, recover, free the leases of whoever had them. Raises StoreError."""
        try:
            self._db = sqlite3.connect(self._path, isolation_level=None, timeout=5.0)
            execute = self._db.execute
            execute(f"PRAGMA cache_size = -{self._cache_size // 1024}")
            execute("PRAGMA journal_mode = WAL")
            execute(f"PRAGMA synchronous = {self._synchronous}")
            execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            execute(f"PRAGMA journal_size_limit = {_CHECKPOINT_PAGES * 4096}")
            execute("PRAGMA temp_store = MEMORY")
            prepare_schema(self._db)
            execute(sql.FREE_LEASES)
            self._take_numbers()
        except sqlite3.DatabaseError as error:
            raise StoreError(self._advice(error)) from None
        self._remove_orphans()

    def _advice(self, error: sqlite3.DatabaseError) -> str:
        if error.sqlite_errorcode in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return (
                f"{self._path} is damaged ({error}): keep a copy, then recover what it holds with "
                f'"sqlite3 {self._path} .recover", or move it away to start with an empty queue'
            )
        return f"{self._path}: {error}"

    def _take_numbers(self) -> None:
        statement = "UPDATE meta SET value = value + ? WHERE name = 'numbers' RETURNING value"
        (end,) = self._db.execute(statement, (_NUMBER_BLOCK,)).fetchall()[0]
        self._numbers_end = end
        self.next_number = end - _NUMBER_BLOCK

    def numbers_left(self) -> int:
        """How many numbers may be given out before more are taken."""
        return self._numbers_end - self.next_number

    def _remove_orphans(self) -> None:
        known = {row[0] for row in self._db.execute("SELECT file FROM message WHERE file <> ''")}
        for name in os.listdir(self._files.folder):
            if name not in known:
                self._files.remove(name)

    def idle(self) -> None:
        """Copy the log into the database while nobody waits."""
        with suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Close; the log is copied into the database."""
        with suppress(sqlite3.Error):
            self._db.close()

    # Groups

    def perform(self, group: Sequence[Work]) -> list[Any]:
        """Do it all in one transaction; if that fails, one by one, so that only the bad fail."""
        try:
            return self._transaction(group)
        except sqlite3.Error as error:
            if len(group) == 1:
                return [self._as_store_error(error)]
        results: list[Any] = []
        for work in group:
            try:
                results += self._transaction([work])
            except sqlite3.Error as error:
                results.append(self._as_store_error(error))
        return results

    def _as_store_error(self, error: sqlite3.Error) -> StoreError:
        code = getattr(error, "sqlite_errorcode", 0)
        kind = StoreFull if code in _FULL_ERRORS else StoreError
        return kind(f"queue database: {error}")

    def _transaction(self, group: Sequence[Work]) -> list[Any]:
        results: dict[Work, Any] = {}
        removed_files: list[str] = []
        self._db.execute("BEGIN IMMEDIATE")
        try:
            puts = [work for work in group if work.kind == "put"]
            settles = [work for work in group if work.kind == "settle"]
            if puts:
                self._put_all([work.argument for work in puts])
            if settles:
                removed_files += self._settle_all([work.argument for work in settles])
            for work in group:
                if work.kind not in ("put", "settle"):
                    results[work] = self._one(work, removed_files)
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise
        for name in removed_files:
            self._files.remove(name)
        return [results.get(work) for work in group]

    def _one(self, work: Work, removed_files: list[str]) -> Any:
        try:
            if work.kind == "delete":
                return self._delete(work.argument, removed_files)
            if work.kind in ("hold", "unhold", "expire", "requeue"):
                return self._verb(work.kind, work.argument)
            return getattr(self, work.kind)(work.argument)
        except StoreError as error:
            return error

    # Putting and settling

    def _put_all(self, puts: Iterable[tuple[NewMessage, int, bool]]) -> None:
        messages: list[list[Any]] = []
        recipients: list[list[Any]] = []
        places: list[tuple[int, int, int]] = []
        octets: list[bytes] = []
        at = 1
        for message, number, lease in puts:
            messages.append(message_row(message, number, self._lease if lease else 0))
            recipients += recipient_rows(message, number)
            content = message.content
            if isinstance(content, MemoryContent):
                places.append((number, at, content.size))
                octets.append(content.octets)
                at += content.size
        self._db.execute(sql.INSERT_MESSAGES, (json.dumps(messages),))
        self._db.execute(sql.INSERT_RECIPIENTS, (json.dumps(recipients),))
        if places:
            whole = octets[0] if len(octets) == 1 else b"".join(octets)
            self._db.execute(sql.INSERT_CONTENTS, (json.dumps(places), whole))

    def _settle_all(self, settlements: Iterable[tuple[Settlement, tuple[Any, ...]]]) -> list[str]:
        removed: list[str] = []
        done: list[tuple[str, int]] = []
        deferred: list[tuple[Any, ...]] = []
        ended: list[tuple[str, float, int]] = []
        notices: list[tuple[NewMessage, int, bool]] = []
        for settlement, numbered in settlements:
            notices += numbered
            queue_id = settlement.queue_id
            if settlement.remove:
                removed.append(queue_id)
                continue
            done += [(queue_id, number) for number in settlement.done]
            deferred += [
                (
                    *(queue_id, each.number, each.status, each.reason, each.remote_mta),
                    *(int(each.attempted), settlement.now),
                )
                for each in settlement.deferrals
            ]
            ended.append((queue_id, settlement.next_attempt, int(settlement.warned)))
        if notices:
            self._put_all(notices)
        if done:
            self._db.execute(sql.DONE_RECIPIENTS, (json.dumps(done),))
        if deferred:
            given = json.dumps(deferred)
            self._db.execute(sql.DEFER_RECIPIENTS, (given,))
            self._db.execute(sql.ADD_ATTEMPTS, (given,))
            self._db.execute(sql.TRIM_ATTEMPTS, (given, self._history_limit))
        if ended:
            self._db.execute(sql.END_LEASES, (json.dumps(ended),))
            ids = json.dumps([queue_id for queue_id, _, _ in ended])
            removed += self._queue_ids(sql.TO_DELETE, ids)
            removed += self._queue_ids(sql.EMPTY_MESSAGES, ids)
        return self._remove(removed) if removed else []

    def _queue_ids(self, statement: str, *values: Any) -> list[str]:
        return [row[0] for row in self._db.execute(statement, values).fetchall()]

    def _remove(self, queue_ids: Sequence[str]) -> list[str]:
        """Remove messages with all that is theirs; gives the files to delete afterwards."""
        given = (json.dumps(list(dict.fromkeys(queue_ids))),)
        files = [row[0] for row in self._db.execute(sql.FILES_OF, given).fetchall()]
        for statement in sql.REMOVE:
            self._db.execute(statement, given)
        return files

    # Leasing

    def lease_due(self, argument: tuple[float, int]) -> list[QueuedMessage]:
        rows = self._db.execute(sql.NUMBERS_DUE, argument).fetchall()
        return self._lease_numbers([row[0] for row in rows], flush=False)

    def next_due(self, _: None) -> float | None:
        due: float | None = self._db.execute(sql.NEXT_DUE).fetchone()[0]
        return due

    def lease_selected(self, argument: Selected) -> tuple[list[QueuedMessage], int]:
        selection, after, limit = argument
        waiting = Selection(
            queue_ids=selection.queue_ids,
            site=selection.site,
            transport=selection.transport,
            nexthop=selection.nexthop,
            sender=selection.sender,
            states=(State.DEFERRED,),
        )
        numbers, after = self._page(waiting, after, limit)
        return self._lease_numbers(numbers, flush=True), after

    def _page(self, selection: Selection, after: int, limit: int) -> tuple[list[int], int]:
        condition, values = sql.selected(selection, after)
        statement = f"SELECT number FROM message WHERE {condition} ORDER BY number LIMIT ?"
        numbers = [row[0] for row in self._db.execute(statement, [*values, limit]).fetchall()]
        return numbers, numbers[-1] if len(numbers) == limit else 0

    def _lease_numbers(self, numbers: Sequence[int], *, flush: bool) -> list[QueuedMessage]:
        if not numbers:
            return []
        given = json.dumps(list(numbers))
        self._db.execute(sql.LEASE, (self._lease, given))
        return self._load(given, flush=flush)

    def _load(self, given: str, *, flush: bool, report: bool = True) -> list[QueuedMessage]:
        recipients = self._recipients(given)
        messages: list[QueuedMessage] = []
        damaged: list[int] = []
        for row in self._db.execute(sql.MESSAGES, (given,)).fetchall():
            number, queue_id = row[0], row[1]
            try:
                content = self._content(number, row[7], row[8])
                own = recipients.get(number, [])
                messages.append(message_from(row, own, content, flush=flush))
            except BadRow as error:
                damaged.append(number)
                if report:
                    log.error(f"{queue_id}: set aside as corrupt: {error}", queue_id=queue_id)
        if damaged:
            self._db.execute(sql.SET_CORRUPT, (json.dumps(damaged),))
        return messages

    def _recipients(self, given: str) -> dict[int, list[tuple[Any, ...]]]:
        statement = (
            f"SELECT {RECIPIENT_COLUMNS} FROM recipient "
            "WHERE message IN (SELECT value FROM json_each(?)) ORDER BY message, number"
        )
        found: dict[int, list[tuple[Any, ...]]] = {}
        for row in self._db.execute(statement, (given,)).fetchall():
            found.setdefault(row[0], []).append(row)
        return found

    def _content(self, number: int, size: int, file: str) -> Content:
        if not file:
            row = self._db.execute(
                "SELECT length(octets) FROM content WHERE number = ?", (number,)
            ).fetchone()
            if row is None or row[0] != size:
                raise BadRow("its content is missing or has another length")
            return self._content_of(number, size, None)
        try:
            length = os.stat(self._files.path(file)).st_size
        except OSError as error:
            raise BadRow(f"its content file {file}: {error.strerror}") from None
        if length != size:
            raise BadRow(f"its content file {file} has {length} octets instead of {size}")
        return FileContent(self._files, file, size)

    def octets(self, number: int) -> bytes:
        row = self._db.execute("SELECT octets FROM content WHERE number = ?", (number,)).fetchone()
        if row is None:
            raise StoreError(f"the content of message number {number} is gone")
        octets: bytes = row[0]
        return octets

    def release(self, queue_ids: Sequence[str]) -> None:
        given = json.dumps(list(queue_ids))
        self._db.execute(sql.RELEASE, (given,))
        if asked := self._queue_ids(sql.TO_DELETE, given):
            for name in self._remove(asked):
                self._files.remove(name)

    # Looking and operating

    def listing(self, argument: Selected) -> tuple[list[Listing], int]:
        numbers, after = self._page(*argument)
        given = json.dumps(numbers)
        recipients = self._recipients(given)
        rows = self._db.execute(sql.MESSAGES, (given,)).fetchall()
        return [listing_from(row, recipients.get(row[0], [])) for row in rows], after

    def message(self, queue_id: str) -> QueuedMessage | None:
        statement = f"SELECT {MESSAGE_COLUMNS} FROM message WHERE queue_id = ?"
        row = self._db.execute(statement, (queue_id,)).fetchone()
        if row is None:
            return None
        found = self._load(json.dumps([row[0]]), flush=False)
        if not found:
            raise StoreError(f"message {queue_id} is damaged")
        return found[0]

    def _verb(self, kind: str, selection: Selection) -> int:
        condition, values = sql.selected(selection)
        return self._db.execute(f"{sql.VERBS[kind]} AND {condition}", values).rowcount

    def _delete(self, selection: Selection, removed_files: list[str]) -> int:
        condition, values = sql.selected(selection)
        count = self._db.execute(f"{sql.VERBS['mark_deleted']} AND {condition}", values).rowcount
        while True:
            ids = self._queue_ids(f"{sql.DELETABLE} AND {condition} LIMIT 1000", *values)
            if not ids:
                return count
            count += len(ids)
            removed_files += self._remove(ids)

    def reroute(self, rows: Sequence[tuple[str, int, str, str]]) -> None:
        self._db.execute(sql.REROUTE, (json.dumps(list(rows)),))

    def take_numbers(self, _: None) -> int:
        self._take_numbers()
        return self._numbers_end

    def history(self, queue_id: str) -> list[tuple[int, float, str, str]]:
        return self._db.execute(sql.HISTORY, (queue_id,)).fetchall()

    def totals(self, _: None) -> Totals:
        kept = {state: (count, size) for state, count, size in self._db.execute(sql.TOTALS)}
        leased, leased_size = self._db.execute(sql.LEASED_TOTAL).fetchone()
        oldest = self._db.execute(sql.OLDEST).fetchone()
        waiting, waiting_size = kept[0]
        counted = {
            State.ACTIVE: (leased, int(leased_size)),
            State.DEFERRED: (waiting - leased, waiting_size - int(leased_size)),
            State.HOLD: kept[1],
            State.CORRUPT: kept[2],
        }
        return Totals(
            {state: count for state, (count, _) in counted.items()},
            {state: size for state, (_, size) in counted.items()},
            oldest[0] if oldest else None,
        )
