"""Messages out of the database. What is damaged is set aside and logged; the rest goes on."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from gatewayd.errors import StoreError
from gatewayd.maillog import MailLog
from gatewayd.message import Content, QueuedMessage
from gatewayd.queue import statements as sql
from gatewayd.queue.contents import ContentFiles, FileContent
from gatewayd.queue.records import Listing
from gatewayd.queue.rows import BadRow, check_message, listing_from, message_from
from gatewayd.queue.schema import LEASES
from gatewayd.queue.segments import Place, Segments

__all__ = ["Damaged", "DatabaseTrouble", "Loader", "is_damage", "is_full"]

log = MailLog("queue")

DatabaseTrouble = (sqlite3.Error, UnicodeDecodeError)
"""What comes of a database that can't be read. The latter when not even SQLite's own text can."""

_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_damage(error: Exception) -> bool:
    """Whether the file holds something else than was written, so that trying again is no use."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # not SQLite's own: a text that is no UTF-8
        return isinstance(error, sqlite3.OperationalError | UnicodeDecodeError)
    return code & 0xFF in _DAMAGE


def is_full(error: Exception) -> bool:
    """Whether the disk had no room for it."""
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


class Damaged(Exception):
    """These messages, or some of them, can't be read. SQLite won't commit what has met damage."""

    def __init__(self, numbers: Sequence[int], cause: Exception) -> None:
        super().__init__(f"{len(numbers)} message(s) cannot be read: {cause}")
        self.numbers = numbers
        self.cause = cause


class Loader:
    """``content_of(number, size, octets)`` makes the content of a message.

    ``lost``: the numbers of messages that can't even be marked as corrupt, because the page they
    lie on is damaged. They are left alone until the queue is opened again.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        files: ContentFiles,
        segments: Segments,
        content_of: Callable[[int, int, bytes | None], Content],
    ) -> None:
        self._db = db
        self._files = files
        self._segments = segments
        self._content_of = content_of
        self.lost: set[int] = set()

    def lease(self, numbers: Sequence[int], *, flush: bool) -> list[QueuedMessage]:
        """Lease these messages, and give them in this order."""
        return self.messages(numbers, flush=flush, lease=True) if numbers else []

    def messages(
        self, numbers: Sequence[int], *, flush: bool = False, lease: bool = False
    ) -> list[QueuedMessage]:
        """These messages, in this order, but for those that have to be set aside."""
        try:
            if lease:
                self._db.execute(sql.LEASE, (LEASES.TAKEN, json.dumps(numbers)))
            return self._messages(numbers, flush)
        except DatabaseTrouble as error:
            if is_damage(error):
                raise Damaged(numbers, error) from None
            raise

    def _messages(self, numbers: Sequence[int], flush: bool) -> list[QueuedMessage]:
        given = json.dumps(numbers)
        recipients = self._recipients(given)
        contents = self._contents(given)
        found: dict[int, QueuedMessage] = {}
        gone = set(numbers)
        for row in self._db.execute(sql.MESSAGES, (given,)).fetchall():
            number = row[0]
            gone.discard(number)
            try:
                check_message(row)
                content = self._content(number, row[7], row[8], contents.get(number))
                found[number] = message_from(row, recipients.get(number, []), content, flush=flush)
            except BadRow as error:
                self._set_aside(number, str(error))
        for number in gone:
            self._set_aside(number, "an index has it, its row is gone")
        return [found[each] for each in numbers if each in found]

    def listings(self, numbers: Sequence[int]) -> list[Listing]:
        """These messages as lists show them, the damaged ones with what is left of them."""
        given = json.dumps(numbers)
        self._db.text_factory = _readable
        try:
            recipients = self._recipients(given)
            rows = self._db.execute(sql.MESSAGES, (given,)).fetchall()
        finally:
            self._db.text_factory = str
        return [listing_from(row, recipients.get(row[0], [])) for row in rows]

    def octets(self, number: int) -> bytes:
        """A content in the database or in a segment, whole. Raises StoreError."""
        try:
            row = self._db.execute(sql.CONTENT_FILE, (number,)).fetchone()
            place = Place.parse(row[0]) if row is not None else None
            if place is not None:
                return self._segments.read(place, row[1])
            row = self._db.execute(sql.OCTETS, (number,)).fetchone()
        except DatabaseTrouble as error:
            if is_damage(error):
                raise Damaged([number], error) from None
            raise
        if row is None:
            self._set_aside(number, "its content is gone")
            raise StoreError(f"the content of message number {number} is gone")
        octets: bytes = row[0]
        return octets

    def set_aside(self, damaged: Damaged) -> bool:
        """Find out which of them it is, and let the others go on. False: it's none of them.

        Outside of a transaction.
        """
        found = False
        for number in damaged.numbers:
            alone = len(damaged.numbers) == 1
            cause = damaged.cause if alone else self._damage_of(number)
            if cause is not None:
                found = self._set_aside(number, f"it cannot be read: {cause}") or found
        return found

    def _damage_of(self, number: int) -> Exception | None:
        try:
            self._messages([number], False)
        except DatabaseTrouble as error:
            return error
        return None

    def _recipients(self, given: str) -> dict[int, list[tuple[Any, ...]]]:
        found: dict[int, list[tuple[Any, ...]]] = {}
        for row in self._db.execute(sql.RECIPIENTS, (given,)).fetchall():
            found.setdefault(row[0], []).append(row)
        return found

    def _contents(self, given: str) -> dict[int, tuple[int, bytes | None]]:
        """Lengths of contents in the database, and the octets of small ones."""
        rows = self._db.execute(sql.CONTENTS, (given,)).fetchall()
        return {number: (length, octets) for number, length, octets in rows}

    def _content(
        self, number: int, size: int, file: str, kept: tuple[int, bytes | None] | None
    ) -> Content:
        if not file:
            if kept is None or kept[0] != size:
                raise BadRow("its content is missing or has another length")
            return self._content_of(number, size, kept[1])
        place = Place.parse(file)
        if place is not None:
            return self._shared_content(number, size, place)
        try:
            length = os.stat(self._files.path(file)).st_size
        except OSError as error:
            raise BadRow(f"its content file {file!r}: {error.strerror}") from None
        if length != size:
            raise BadRow(f"its content file {file!r} has {length} octets instead of {size}")
        return FileContent(self._files, file, size)

    def _shared_content(self, number: int, size: int, place: Place) -> Content:
        try:
            length = self._segments.length(place.segment)
        except StoreError as error:
            raise BadRow(str(error)) from None
        if length < place.offset + size:
            raise BadRow(f"its content file {place.segment} ends before it")
        return self._content_of(number, size, None)

    def _set_aside(self, number: int, why: str) -> bool:
        """False if it was already."""
        row = None
        try:
            row = self._db.execute(sql.QUEUE_ID, (number,)).fetchone()
            if row is not None:
                is_new = self._db.execute(sql.SET_CORRUPT, (number,)).rowcount == 1
                if is_new:
                    log.error(f"{row[0]}: set aside as corrupt: {why}", queue_id=row[0])
                return is_new
        except DatabaseTrouble:
            pass
        if number in self.lost:
            return False
        self.lost.add(number)
        name = row[0] if row is not None else f"message number {number}"
        log.error(f"{name}: left alone until the queue is repaired: {why}")
        return True


def _readable(octets: bytes) -> str:
    return octets.decode("utf-8", "replace")
