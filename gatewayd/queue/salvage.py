"""A damaged queue made sound again: what can be read is copied into a new one (postsuper -s).

Messages are read one by one, so that a damaged page costs those that lay on it, and no others.
What is found of a message without all of its rows is kept, too: it shows as corrupt. The damaged
database stays in a folder beside the queue, with the contents of what couldn't be read.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass

from gatewayd.errors import StoreError
from gatewayd.queue.loading import DatabaseTrouble
from gatewayd.queue.lock import QueueLock
from gatewayd.queue.schema import VERSION, prepare_schema
from gatewayd.queue.segments import file_of

__all__ = ["Salvaged", "salvage"]

_SPARE_NUMBERS = 1_000_000
"""Numbers to leave out if nobody knows which have been given."""

# The same numbers in every order there is: each goes as far as the first damaged page.
_WALKS = (
    "SELECT number FROM message NOT INDEXED ORDER BY number",
    "SELECT number FROM message NOT INDEXED ORDER BY number DESC",
    "SELECT number FROM message INDEXED BY message_by_id ORDER BY queue_id",
    "SELECT number FROM message INDEXED BY message_by_id ORDER BY queue_id DESC",
    "SELECT message FROM recipient ORDER BY message, number",
    "SELECT message FROM recipient ORDER BY message DESC, number DESC",
)
_NUMBERS_GIVEN = "SELECT value FROM meta WHERE name = 'numbers'"
_PARTS = (("recipient", "message"), ("content", "number"), ("attempt", "message"))


@dataclass(frozen=True, slots=True)
class Salvaged:
    """How many messages are in the new queue, how many aren't, and where the old one lies."""

    saved: int
    lost: int
    kept: str


def salvage(folder: str) -> Salvaged | None:
    """Mend the queue in a folder; None if it has no damage. Raises StoreError. Blocks."""
    lock = QueueLock(os.path.join(folder, "content"))
    lock.acquire()
    try:
        return _Salvage(folder).run()
    except OSError as error:
        raise StoreError(f"{error.filename or folder}: {error.strerror}") from None
    finally:
        lock.release()


class _Salvage:
    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._path = os.path.join(folder, "queue.db")
        self._new_path = os.path.join(folder, "queue.db.new")
        self._contents = os.path.join(folder, "content")

    def run(self) -> Salvaged | None:
        if not os.path.exists(self._path):
            raise StoreError(f"{self._path}: there is no such queue")
        with closing(sqlite3.connect(self._path, isolation_level=None)) as old:
            if self._is_sound(old):
                return None
            with suppress(FileNotFoundError):
                os.unlink(self._new_path)
            with closing(sqlite3.connect(self._new_path, isolation_level=None)) as new:
                prepare_schema(new)
                numbers = _numbers(old)
                if numbers is None:
                    raise self._hopeless("its tables are gone")
                new.execute("BEGIN")
                saved, lost = _copy(old, new, numbers)
                new.execute("COMMIT")
                files = {file_of(row[0]) for row in new.execute("SELECT file FROM message")}
        return Salvaged(saved, lost, self._replace(files))

    def _is_sound(self, old: sqlite3.Connection) -> bool:
        try:
            (version,) = old.execute("PRAGMA user_version").fetchone()
        except DatabaseTrouble as error:
            raise self._hopeless(str(error)) from None
        if version != VERSION:
            raise StoreError(f"{self._path} has schema version {version}, not {VERSION}")
        try:
            (verdict,) = old.execute("PRAGMA integrity_check(1)").fetchone()
            return verdict == "ok" and old.execute(_NUMBERS_GIVEN).fetchone() is not None
        except DatabaseTrouble:
            return False

    def _hopeless(self, why: str) -> StoreError:
        return StoreError(
            f"{self._path}: nothing of it can be read ({why}): move it away together with "
            f"{self._contents} to start with an empty queue"
        )

    def _replace(self, files: set[str]) -> str:
        """The new queue in place of the old one, which moves into a folder of its own.

        There is a queue at any moment, lest a start in between begins an empty one.
        """
        kept = self._new_folder()
        status = os.stat(self._path)
        os.chmod(self._new_path, status.st_mode & 0o7777)
        if os.geteuid() == 0:
            os.chown(self._new_path, status.st_uid, status.st_gid)
        os.link(self._path, os.path.join(kept, "queue.db"))
        for suffix in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.rename(self._path + suffix, os.path.join(kept, "queue.db" + suffix))
        os.rename(self._new_path, self._path)
        for name in os.listdir(self._contents):
            if name not in files:
                os.rename(os.path.join(self._contents, name), os.path.join(kept, name))
        os.sync()
        return kept

    def _new_folder(self) -> str:
        for number in range(1, 1000):
            path = os.path.join(self._folder, f"damaged-{number}")
            with suppress(FileExistsError):
                os.mkdir(path, 0o700)
                return path
        raise StoreError(f"{self._folder}: too many damaged queues are kept there")


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, numbers: list[int]) -> tuple[int, int]:
    """(saved, lost)"""
    saved = lost = 0
    for number in numbers:
        rows = _rows(old, "message", "number", number)
        if rows and _insert(new, "message", rows):
            saved += 1
            for table, key in _PARTS:
                _insert(new, table, _rows(old, table, key, number))
        else:
            lost += 1
    new.execute(
        "UPDATE meta SET value = ? WHERE name = 'numbers'",
        (_next_number(old, max(numbers, default=0)),),
    )
    return saved, lost


def _numbers(old: sqlite3.Connection) -> list[int] | None:
    """Of all messages that any table knows; None if none can be read at all."""
    found: set[int] = set()
    failed = 0
    for walk in _WALKS:
        try:
            found.update(number for (number,) in old.execute(walk) if isinstance(number, int))
        except DatabaseTrouble:
            failed += 1
    return sorted(found) if found or failed < len(_WALKS) else None


def _rows(old: sqlite3.Connection, table: str, key: str, number: int) -> list[tuple[object, ...]]:
    """As many as can be read."""
    return list(_readable(old, f"SELECT * FROM {table} WHERE {key} = ?", number))


def _readable(old: sqlite3.Connection, query: str, number: int) -> Iterator[tuple[object, ...]]:
    with suppress(*DatabaseTrouble):
        yield from old.execute(query, (number,))


def _insert(new: sqlite3.Connection, table: str, rows: list[tuple[object, ...]]) -> bool:
    try:
        for row in rows:
            places = ", ".join("?" * len(row))
            new.execute(f"INSERT INTO {table} VALUES ({places})", row)
    except sqlite3.IntegrityError:  # what a damaged page gave instead of a row
        return False
    return True


def _next_number(old: sqlite3.Connection, greatest: int) -> int:
    with suppress(*DatabaseTrouble):
        row = old.execute(_NUMBERS_GIVEN).fetchone()
        if row is not None and isinstance(row[0], int):
            return max(row[0], greatest + 1)
    return greatest + _SPARE_NUMBERS
