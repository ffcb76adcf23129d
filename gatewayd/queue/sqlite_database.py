"""The queue's database, as the store's thread drives it."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

from gatewayd.errors import StoreError, StoreFull
from gatewayd.maillog import MailLog
from gatewayd.message import Content, MemoryContent, NewMessage, QueuedMessage
from gatewayd.queue import statements as sql
from gatewayd.queue.bulk import Arrivals, Bulk
from gatewayd.queue.contents import ContentFiles
from gatewayd.queue.group_commit import Work
from gatewayd.queue.loading import Damaged, DatabaseTrouble, Loader, is_damage, is_full
from gatewayd.queue.lock import QueueLock
from gatewayd.queue.records import Listing, Selection, Settlement, State, Totals
from gatewayd.queue.rows import FILE_COLUMN, message_row, recipient_rows, rows_json
from gatewayd.queue.schema import LEASES, prepare_schema
from gatewayd.queue.segment_use import SegmentUse
from gatewayd.queue.segments import Place, Segments, file_of
from gatewayd.queue.suspects import LIMIT, Suspects

__all__ = ["QueueDatabase", "Selected"]

_NUMBER_BLOCK = 100_000
"""Numbers taken at a time: those left over at a stop are skipped."""
_LARGEST_LOG = 16 << 20
"""Octets of the write-ahead log at which it's copied into the database."""
_SMALLEST_LOG = 1 << 18
_PAGE = 4096
_SEGMENT_THRESHOLD = 16 << 10
"""Octets up to which a content lies in the database itself."""
_TRIAL_LOOK = 0.25
"""Seconds after which to ask whether the next suspects can be tried."""

log = MailLog("queue")

Selected = tuple[Selection, int, int]
"""A selection, the position to go on from, and how many at most."""
Put = tuple[NewMessage, int, bool]
"""A new message, its number, and whether it's leased at once."""
Removed = list[tuple[str, int]]
"""What to delete of the disk after the commit: names or places, and sizes."""


class QueueDatabase:
    """What GroupCommit calls; see there for the thread it runs on.

    ``content_of(number, size, octets)`` makes the content of a message that is loaded: it's given
    the octets where they came along.
    """

    def __init__(
        self,
        path: str,
        files: ContentFiles,
        *,
        cache_size: int,
        history_limit: int,
        reserve: int,
        content_of: Callable[[int, int, bytes | None], Content],
        synchronous: str = "FULL",
    ) -> None:
        self._path = path
        self._files = files
        self._cache_size = cache_size
        self._history_limit = history_limit
        # What is in the log may need as much room again in the database, with some to spare.
        self._log_size = min(_LARGEST_LOG, max(_SMALLEST_LOG, reserve // 4))
        self._content_of = content_of
        self._synchronous = synchronous
        self._lock = QueueLock(files.folder)
        self._asked_at = 0.0
        self._has_files = True
        self._numbers_end = 0
        self.next_number = 0

    # Life

    def open(self) -> None:
        """Open, recover, free the leases of whoever had them. Raises StoreError."""
        with ExitStack() as undo:
            self._lock.acquire()
            undo.callback(self._lock.release)
            self._refuse_another_queues_contents()
            self._db = sqlite3.connect(self._path, isolation_level=None, timeout=5.0)
            undo.callback(self._db.close)
            try:
                self._prepare()
            except DatabaseTrouble as error:
                raise StoreError(self._advice(error)) from None
            undo.pop_all()

    def _prepare(self) -> None:
        execute = self._db.execute
        execute(f"PRAGMA cache_size = -{self._cache_size // 1024}")
        execute("PRAGMA journal_mode = WAL")
        execute(f"PRAGMA synchronous = {self._synchronous}")
        execute(f"PRAGMA wal_autocheckpoint = {self._log_size // _PAGE}")
        execute(f"PRAGMA journal_size_limit = {self._log_size}")
        execute("PRAGMA temp_store = MEMORY")
        prepare_schema(self._db)
        self._suspects = Suspects(self._db)
        self._bulk = Bulk(self._db)
        execute("BEGIN IMMEDIATE")
        self._free_leases()
        self._take_numbers()
        execute("COMMIT")
        self._segments = Segments(self._files.folder, f"{self.next_number:x}")
        self._segment_use = SegmentUse(self._db, self._segments)
        self._loader = Loader(self._db, self._files, self._segments, self._content_of)
        self._take_stock()

    def _refuse_another_queues_contents(self) -> None:
        """A new queue would take the contents of one that was moved away for rubbish."""
        is_new = not os.path.exists(self._path) or not os.path.getsize(self._path)
        if is_new and os.listdir(self._files.folder):
            raise StoreError(
                f"{self._path} is missing or empty, but {self._files.folder} holds contents: "
                "bring the queue back that they belong to, or move them away, too"
            )

    def _free_leases(self) -> None:
        """The process that had them is gone: what was asked meanwhile is done now."""
        left = dict(self._db.execute(sql.LEFT_BEHIND).fetchall())
        if not left:
            return
        self._db.execute(sql.FREE_LEASES)
        queue_ids = list(left.values())
        self._remove(self._queue_ids(sql.TO_DELETE, json.dumps(queue_ids)))
        for queue_id in self._suspects.accuse(list(left)):
            why = f"the gateway died {LIMIT} times in a row while it had this message"
            log.error(f"{queue_id}: set aside as corrupt: {why}", queue_id=queue_id)

    def _advice(self, error: Exception) -> str:
        return self._damaged(str(error)) if is_damage(error) else f"{self._path}: {error}"

    def _damaged(self, how: str) -> str:
        return (
            f"{self._path} is damaged ({how}): stop the gateway and run "
            '"gatewayctl postsuper -s", which salvages what can be read'
        )

    def _take_numbers(self) -> None:
        taken = self._db.execute(sql.TAKE_NUMBERS, (_NUMBER_BLOCK,)).fetchall()
        if not taken:
            raise StoreError(self._damaged("its numbers are gone"))
        end: int = taken[0][0]
        self._numbers_end = end
        self.next_number = end - _NUMBER_BLOCK

    def numbers_left(self) -> int:
        """How many numbers may be given out before more are taken."""
        return self._numbers_end - self.next_number

    def _take_stock(self) -> None:
        """See what lies in files, and remove what belongs to no message."""
        rows = self._db.execute(sql.FILES).fetchall()
        self._segment_use.begin(rows)
        self._has_files = bool(rows)
        known = {file_of(file) for file, _ in rows}
        for name in os.listdir(self._files.folder):
            if name not in known:
                self._files.remove_when_possible(name)

    def idle(self) -> None:
        """Copy the log into the database while nobody waits."""
        with suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self._has_files = bool(self._db.execute(sql.ANY_FILE).fetchone())
        self._segment_use.rest()

    def close(self) -> None:
        """Close; the log is copied into the database."""
        self._segments.close()
        with suppress(sqlite3.Error):
            self._db.close()
        self._lock.release()

    # Groups

    def perform(self, group: Sequence[Work]) -> list[Any]:
        """Do it all in one transaction; if that fails, one by one, so that only the bad fail."""
        try:
            return self._transaction(group)
        except Exception as error:
            if len(group) == 1:
                return [self._alone(group, error)]
        return [self.perform([work])[0] for work in group]

    def _alone(self, work: Sequence[Work], error: Exception) -> Any:
        """The result of a single piece of work that met an error, perhaps after a repair."""
        try:
            if isinstance(error, Damaged) and self._loader.set_aside(error):
                return self.perform(work)[0]
            if is_full(error):
                # The log may hold room that it needs no more.
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                return self._transaction(work)[0]
        except Exception as another:
            error = another
        return self._as_store_error(error)

    def _as_store_error(self, error: Exception) -> StoreError:
        if isinstance(error, StoreError):
            return error
        error = error.cause if isinstance(error, Damaged) else error
        if is_damage(error):
            return StoreError(self._advice(error))
        if not isinstance(error, sqlite3.Error):
            log.failure("queue database", error)
        kind = StoreFull if is_full(error) else StoreError
        return kind(f"queue database: {error}")

    def _transaction(self, group: Sequence[Work]) -> list[Any]:
        puts = [work.argument for work in group if work.kind == "put"]
        settles = [work.argument for work in group if work.kind == "settle"]
        if len(puts) + len(settles) == len(group) and all(map(_only_removes, settles)):
            self._come_and_go(puts, [settlement.queue_id for settlement, _ in settles])
            return [None] * len(group)
        results: dict[Work, Any] = {}
        removed: Removed = []
        self._db.execute("BEGIN IMMEDIATE")
        try:
            if puts:
                self._put_all(puts)
            if settles:
                removed += self._settle_all(settles)
            for work in group:
                if work.kind not in ("put", "settle"):
                    results[work] = self._one(work, removed)
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            self._segment_use.rolled_back()
            raise
        self._segment_use.committed()
        if removed:
            self._remove_contents(removed)
        return [results.get(work) for work in group]

    def _come_and_go(self, puts: Sequence[Put], gone: Sequence[str]) -> None:
        """A whole transaction in a statement: see bulk.py."""
        given = json.dumps(gone)
        removed: Removed = []
        try:
            if gone and self._has_files:
                removed = self._db.execute(sql.FILES_OF, (given,)).fetchall()
            self._bulk.commit(self._arrivals(puts) if puts else Arrivals(), given)
        except BaseException:
            self._segment_use.rolled_back()
            raise
        self._segment_use.committed()
        if removed:
            self._remove_contents(removed)

    def _remove_contents(self, removed: Removed) -> None:
        for name, size in removed:
            place = Place.parse(str(name))
            if place is None:
                self._files.remove_when_possible(name)
            else:
                self._segment_use.gone(place, size)
        self._segment_use.tidy()

    def _one(self, work: Work, removed: Removed) -> Any:
        try:
            if work.kind == "delete":
                return self._delete(work.argument, removed)
            if work.kind == "release":
                return self._release(work.argument, removed)
            if work.kind in ("hold", "unhold", "expire", "requeue"):
                return self._verb(work.kind, work.argument)
            return getattr(self, work.kind)(work.argument)
        except StoreError as error:
            return error

    # Putting and settling

    def _put_all(self, puts: Sequence[Put]) -> None:
        arrivals = self._arrivals(puts)
        self._db.execute(sql.INSERT_MESSAGES, (arrivals.messages,))
        self._db.execute(sql.INSERT_RECIPIENTS, (arrivals.recipients,))
        if arrivals.places != "[]":
            self._db.execute(sql.INSERT_CONTENTS, (arrivals.places, arrivals.octets))

    def _arrivals(self, puts: Sequence[Put]) -> Arrivals:
        """The rows of new messages; contents of middling size are written to their place."""
        messages: list[list[Any]] = []
        recipients: list[list[Any]] = []
        small: list[tuple[int, bytes]] = []
        large: list[tuple[list[Any], bytes]] = []
        for message, number, lease in puts:
            row = message_row(message, number, LEASES.TAKEN if lease else 0)
            messages.append(row)
            recipients += recipient_rows(message, number)
            content = message.content
            if not isinstance(content, MemoryContent):
                self._has_files = True
            elif content.size <= _SEGMENT_THRESHOLD:
                small.append((number, content.octets))
            else:
                large.append((row, content.octets))
        if large:
            self._has_files = True
            files = self._segment_use.place([octets for _, octets in large])
            for (row, _), file in zip(large, files, strict=True):
                row[FILE_COLUMN] = file
        places: list[tuple[int, int, int]] = []
        at = 1
        for number, octets in small:
            places.append((number, at, len(octets)))
            at += len(octets)
        whole = small[0][1] if len(small) == 1 else b"".join([octets for _, octets in small])
        return Arrivals(rows_json(messages), rows_json(recipients), json.dumps(places), whole)

    def _settle_all(self, settlements: Iterable[tuple[Settlement, tuple[Any, ...]]]) -> Removed:
        removed: list[str] = []
        done: list[tuple[str, int]] = []
        deferred: list[tuple[Any, ...]] = []
        ended: list[tuple[str, float, int]] = []
        notices: list[Put] = []
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
            given = rows_json(deferred)
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

    def _remove(self, queue_ids: Sequence[str]) -> Removed:
        """Remove messages with all that is theirs, but for their files."""
        given = (json.dumps(list(dict.fromkeys(queue_ids))),)
        files: Removed = self._db.execute(sql.FILES_OF, given).fetchall()
        for statement in sql.REMOVE:
            self._db.execute(statement, given)
        return files

    # Leasing

    def lease_due(self, argument: tuple[float, int]) -> list[QueuedMessage]:
        self._asked_at, limit = argument
        suspects = self._suspects.take(limit)
        lost = self._loader.lost
        wanted = (self._asked_at, limit - len(suspects) + len(lost))
        due = [row[0] for row in self._db.execute(sql.NUMBERS_DUE, wanted).fetchall()]
        due = [number for number in due if number not in lost] if lost else due
        return self._loader.lease(suspects + due, flush=False)

    def next_due(self, _: None) -> float | None:
        lost = self._loader.lost
        rows = self._db.execute(sql.NEXT_DUE, (1 + len(lost),)).fetchall()
        due: list[float] = [at for number, at in rows if number not in lost]
        if self._suspects.waiting:
            due.append(self._asked_at + _TRIAL_LOOK)
        return min(due, default=None)

    def lease_selected(self, argument: Selected) -> tuple[list[QueuedMessage], int]:
        selection, after, limit = argument
        states = selection.states
        waits = states is None or State.DEFERRED in states
        waiting = replace(selection, states=(State.DEFERRED,) if waits else ())
        numbers, after = self._page(waiting, after, limit)
        return self._loader.lease(numbers, flush=True), after

    def _page(self, selection: Selection, after: int, limit: int) -> tuple[list[int], int]:
        rows = self._db.execute(*sql.page(selection, after, limit)).fetchall()
        numbers = [row[0] for row in rows]
        return numbers, numbers[-1] if len(numbers) == limit else 0

    def octets(self, number: int) -> bytes:
        return self._loader.octets(number)

    def _release(self, queue_ids: Sequence[str], removed: Removed) -> None:
        given = json.dumps(list(queue_ids))
        self._db.execute(sql.RELEASE, (given,))
        if asked := self._queue_ids(sql.TO_DELETE, given):
            removed += self._remove(asked)

    # Looking and operating

    def listing(self, argument: Selected) -> tuple[list[Listing], int]:
        numbers, after = self._page(*argument)
        return self._loader.listings(numbers), after

    def message(self, queue_id: str) -> QueuedMessage | None:
        row = self._db.execute(sql.NUMBER, (queue_id,)).fetchone()
        if row is None:
            return None
        found = self._loader.messages([row[0]])
        if not found:
            raise StoreError("the message is damaged")
        return found[0]

    def _verb(self, kind: str, selection: Selection) -> int:
        condition, values = sql.selected(selection)
        return self._db.execute(f"{sql.VERBS[kind]} AND {condition}", values).rowcount

    def _delete(self, selection: Selection, removed: Removed) -> int:
        condition, values = sql.selected(selection)
        count = self._db.execute(f"{sql.VERBS['mark_deleted']} AND {condition}", values).rowcount
        while True:
            ids = self._queue_ids(f"{sql.DELETABLE} AND {condition} LIMIT 1000", *values)
            if not ids:
                return count
            count += len(ids)
            removed += self._remove(ids)

    def reroute(self, rows: Sequence[tuple[str, int, str, str]]) -> None:
        self._db.execute(sql.REROUTE, (rows_json(list(rows)),))

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
            self._db.execute(sql.LATEST).fetchone()[0],
        )


def _only_removes(settle: tuple[Settlement, tuple[Any, ...]]) -> bool:
    settlement, numbered_notices = settle
    return settlement.remove and not numbered_notices
