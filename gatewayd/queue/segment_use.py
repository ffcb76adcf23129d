"""Contents of middling size share files, so that a group of commits costs one write and one sync.

In the database a content is written twice, to the log and to its pages; in a file of its own it
costs two syncs. A segment goes when nothing in it is wanted any more. One of which only a small
part is wanted is emptied into the current one, lest a message that waits for days keep the room
of eighty that have gone.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress

from gatewayd.errors import StoreError
from gatewayd.maillog import MailLog
from gatewayd.queue import statements as sql
from gatewayd.queue.segments import Place, Segments

__all__ = ["SegmentUse"]

_SPARSE = 4
"""A segment is emptied once less than this part of it is wanted."""

log = MailLog("queue")


class SegmentUse:
    """How much of each segment is wanted: the rows of ``db`` say so, and this follows them.

    What place() wrote counts with committed(), not if rolled_back() comes first.
    """

    def __init__(self, db: sqlite3.Connection, segments: Segments) -> None:
        self._db = db
        self._segments = segments
        self._wanted: dict[str, int] = {}
        self._lengths: dict[str, int] = {}
        self._pending: list[tuple[str, int]] = []
        self._thinned: set[str] = set()

    def begin(self, rows: Iterable[tuple[str, int]]) -> None:
        """Learn what there is, from all rows' (file, size), be they damaged or not."""
        for file, size in rows:
            place = Place.parse(str(file))
            if place is not None and isinstance(size, int):
                self._add(place.segment, size)
                self._thinned.add(place.segment)

    def place(self, contents: Sequence[bytes]) -> list[str]:
        """Write contents to stable storage; gives what goes into their rows. Raises StoreError."""
        try:
            places = self._segments.append(contents)
        except StoreError:
            if self._wanted.get(self._segments.current, 0) <= 0:
                self._forget(self._segments.current)
            raise
        for place, octets in zip(places, contents, strict=True):
            self._pending.append((place.segment, len(octets)))
        return [str(place) for place in places]

    def committed(self) -> None:
        """The rows of what was placed are on stable storage."""
        for segment, size in self._pending:
            self._add(segment, size)
        self._pending.clear()

    def rolled_back(self) -> None:
        """There are no rows of what was placed: it's rubbish."""
        self._pending.clear()

    def gone(self, place: Place, size: int) -> None:
        """The row of this content is no more."""
        segment = place.segment
        self._wanted[segment] = self._wanted.get(segment, 0) - size
        self._thinned.add(segment)

    def tidy(self) -> None:
        """Remove the segments that nobody wants; empty one of which little is wanted."""
        if not self._thinned:
            return
        for segment in list(self._thinned):
            if segment == self._segments.current:
                continue
            self._thinned.discard(segment)
            if self._wanted.get(segment, 0) <= 0:
                self._forget(segment)
            elif self._wanted[segment] * _SPARSE < self._length(segment):
                self._empty(segment)
                return

    def rest(self) -> None:
        """Nobody writes now: the current segment may go, too."""
        self.tidy()
        if self._wanted.get(self._segments.current, 0) <= 0:
            self._segments.close()
            self._forget(self._segments.current)

    def _add(self, segment: str, size: int) -> None:
        self._wanted[segment] = self._wanted.get(segment, 0) + size

    def _length(self, segment: str) -> int:
        if segment not in self._lengths:
            self._lengths[segment] = 0
            with suppress(StoreError):  # gone or unreadable: its messages will tell
                self._lengths[segment] = self._segments.length(segment)
        return self._lengths[segment]

    def _forget(self, segment: str) -> None:
        self._wanted.pop(segment, None)
        self._lengths.pop(segment, None)
        self._segments.remove(segment)

    def _empty(self, segment: str) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._move(segment)
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise
        except (sqlite3.Error, StoreError) as error:
            # Damaged, or no room now: whatever goes from it next brings it here again.
            self.rolled_back()
            log.warning(f"content file {segment} keeps its room: {error}")
            return
        self.committed()
        self._forget(segment)

    def _move(self, segment: str) -> None:
        """Copy what is wanted to the current segment, and change its rows."""
        rows = self._db.execute(sql.IN_SEGMENT, sql.segment_range(segment)).fetchall()
        places = [Place(segment, int(file.rpartition("@")[2])) for _, file, _ in rows]
        sizes = [size for _, _, size in rows]
        contents = [
            self._segments.read(place, size) for place, size in zip(places, sizes, strict=True)
        ]
        files = self.place(contents) if contents else []
        moved = [[number, file] for (number, _, _), file in zip(rows, files, strict=True)]
        self._db.execute(sql.MOVE_CONTENTS, (json.dumps(moved),))
