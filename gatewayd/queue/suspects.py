"""Messages that may have killed the gateway: tried with care, and in the end set aside.

A process that dies leaves its leases behind, and nobody knows which of those messages did it, if
any. A message that was leased at _TRUSTED deaths in a row, without an attempt that ended in
between, is a suspect. Suspects are tried apart from each other, in groups that get smaller with
each death (100, 10, 1), those first that have seen the fewest deaths. So the innocent get through,
and a message at whose trial the process has died once more, with no other suspect about, is set
aside as corrupt. Whatever else ends an attempt ends the suspicion.
"""

from __future__ import annotations

import json
import sqlite3

from gatewayd.queue.schema import LEASES, STATES

__all__ = ["LIMIT", "Suspects"]

_TRUSTED = 3
"""Deaths without consequences: a power cut is no message's fault."""
LIMIT = 6
"""Deaths, in a row, at which a message is set aside."""
_LARGEST_GROUP = 100

_ACCUSE = f"""
UPDATE message SET
    lease = CASE WHEN crashes < {LIMIT} THEN {LEASES.SUSPECT} ELSE {LEASES.NONE} END,
    state = CASE WHEN crashes < {LIMIT} THEN state ELSE {STATES.CORRUPT} END
WHERE number IN (SELECT value FROM json_each(?)) AND crashes >= {_TRUSTED}
    AND state = {STATES.WAITING}
"""
_CONDEMNED = (
    f"SELECT queue_id FROM message WHERE state = {STATES.CORRUPT} "
    "AND number IN (SELECT value FROM json_each(?))"
)
_WAITING = f"""
SELECT number, crashes FROM message
WHERE lease <> 0 AND lease = {LEASES.SUSPECT} AND state = {STATES.WAITING}
ORDER BY crashes, number LIMIT ?
"""
_UNDER_WAY = (
    f"SELECT 1 FROM message WHERE lease = {LEASES.TAKEN} "
    "AND number IN (SELECT value FROM json_each(?)) LIMIT 1"
)


class Suspects:
    """The suspects of one database. ``waiting``: whether there may be any."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._on_trial: list[int] = []
        self.waiting = bool(self._next(1))

    def accuse(self, numbers: list[int]) -> list[str]:
        """After a death: these were leased. Gives the queue IDs of those that are set aside."""
        given = (json.dumps(numbers),)
        self._db.execute(_ACCUSE, given)
        self.waiting = bool(self._next(1))
        return [row[0] for row in self._db.execute(_CONDEMNED, given)]

    def take(self, limit: int) -> list[int]:
        """The next group to be leased, once the one before has come to its end."""
        if not self.waiting or self._is_trying():
            return []
        found = self._next(min(limit, _LARGEST_GROUP))
        self.waiting = bool(found)
        if not found:
            return []
        deaths = found[0][1]
        size = _LARGEST_GROUP // 10 ** (deaths - _TRUSTED)
        self._on_trial = [number for number, crashes in found[:size] if crashes == deaths]
        return self._on_trial

    def _is_trying(self) -> bool:
        given = (json.dumps(self._on_trial),)
        return self._db.execute(_UNDER_WAY, given).fetchone() is not None

    def _next(self, limit: int) -> list[tuple[int, int]]:
        return self._db.execute(_WAITING, (limit,)).fetchall()
