"""The queue's SQL. A statement does a whole group: its rows come as one JSON array.

Python's sqlite3 gives up the interpreter's lock at each step of a statement and must get it back
from a busy reactor, so the number of statements counts, not the number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gatewayd.queue.flush import fold
from gatewayd.queue.records import Selection, State
from gatewayd.queue.rows import MESSAGE_COLUMNS
from gatewayd.queue.schema import ASKED, FLAGS, STATES

__all__ = ["selected"]


def _fields(count: int) -> str:
    return ", ".join(f"value ->> {place}" for place in range(count))


INSERT_MESSAGES = (
    f"INSERT INTO message ({MESSAGE_COLUMNS}, sender) SELECT {_fields(11)} FROM json_each(?)"
)
INSERT_RECIPIENTS = (
    "INSERT INTO recipient (message, number, local, domain, site, transport, nexthop, original, "
    f"orcpt, notify) SELECT {_fields(10)} FROM json_each(?)"
)
INSERT_CONTENTS = (
    "INSERT INTO content (number, octets) "
    "SELECT value ->> 0, substr(?2, value ->> 1, value ->> 2) FROM json_each(?1)"
)

_NUMBERS = "SELECT number FROM message WHERE queue_id IN (SELECT value FROM json_each(?1))"
FILES_OF = (
    "SELECT file FROM message WHERE file <> '' AND queue_id IN (SELECT value FROM json_each(?1))"
)
REMOVE = (
    f"DELETE FROM content WHERE number IN ({_NUMBERS})",
    f"DELETE FROM attempt WHERE message IN ({_NUMBERS})",
    f"DELETE FROM recipient WHERE message IN ({_NUMBERS})",
    "DELETE FROM message WHERE queue_id IN (SELECT value FROM json_each(?1))",
)

DONE_RECIPIENTS = (
    "DELETE FROM recipient WHERE (message, number) IN (SELECT message.number, value ->> 1 "
    "FROM json_each(?) JOIN message ON queue_id = value ->> 0)"
)
DEFER_RECIPIENTS = """
UPDATE recipient SET
    attempts = attempts + given.attempted,
    status = given.status,
    reason = given.reason,
    remote_mta = given.remote_mta,
    last_attempt = CASE WHEN given.attempted THEN given.at ELSE last_attempt END
FROM (
    SELECT message.number AS message, value ->> 1 AS number, value ->> 2 AS status,
        value ->> 3 AS reason, value ->> 4 AS remote_mta, value ->> 5 AS attempted,
        value ->> 6 AS at
    FROM json_each(?) JOIN message ON queue_id = value ->> 0
) AS given
WHERE recipient.message = given.message AND recipient.number = given.number
"""
ADD_ATTEMPTS = (
    "INSERT OR REPLACE INTO attempt (message, recipient, at, status, reason) "
    "SELECT message.number, value ->> 1, value ->> 6, value ->> 2, value ->> 3 "
    "FROM json_each(?) JOIN message ON queue_id = value ->> 0 WHERE value ->> 5"
)
TRIM_ATTEMPTS = """
DELETE FROM attempt WHERE (message, recipient, at) IN (
    SELECT message, recipient, at FROM (
        SELECT message, recipient, at,
            row_number() OVER (PARTITION BY message, recipient ORDER BY at DESC) AS place
        FROM attempt WHERE message IN (
            SELECT number FROM message WHERE queue_id IN (SELECT value ->> 0 FROM json_each(?1))
        )
    ) WHERE place > ?2
)
"""
# A lease's end is also when what an operator asked for meanwhile is done.
END_LEASES = f"""
UPDATE message SET
    lease = 0,
    due = CASE WHEN asked & {ASKED.EXPIRE | ASKED.REQUEUE} THEN 0 ELSE given.due END,
    flags = flags | (given.warned * {FLAGS.WARNED})
        | (CASE WHEN asked & {ASKED.EXPIRE} THEN {FLAGS.EXPIRE} ELSE 0 END),
    state = CASE WHEN asked & {ASKED.HOLD} THEN {STATES.HOLD} ELSE state END,
    asked = asked & {ASKED.DELETE}
FROM (
    SELECT value ->> 0 AS queue_id, value ->> 1 AS due, value ->> 2 AS warned FROM json_each(?)
) AS given
WHERE message.queue_id = given.queue_id
"""
RELEASE = f"""
UPDATE message SET
    lease = 0,
    due = CASE WHEN asked & {ASKED.EXPIRE | ASKED.REQUEUE} THEN 0 ELSE due END,
    flags = flags | (CASE WHEN asked & {ASKED.EXPIRE} THEN {FLAGS.EXPIRE} ELSE 0 END),
    state = CASE WHEN asked & {ASKED.HOLD} THEN {STATES.HOLD} ELSE state END,
    asked = asked & {ASKED.DELETE}
WHERE queue_id IN (SELECT value FROM json_each(?))
"""
TO_DELETE = (
    f"SELECT queue_id FROM message WHERE asked & {ASKED.DELETE} AND lease = 0 "
    "AND queue_id IN (SELECT value FROM json_each(?))"
)

NUMBERS_DUE = (
    "SELECT number FROM message WHERE state = 0 AND lease = 0 AND due <= ? ORDER BY due LIMIT ?"
)
NEXT_DUE = "SELECT min(due) FROM message WHERE state = 0 AND lease = 0"
LEASE = "UPDATE message SET lease = ? WHERE number IN (SELECT value FROM json_each(?))"
FREE_LEASES = "UPDATE message SET lease = 0 WHERE lease <> 0"
EMPTY_MESSAGES = (
    "SELECT queue_id FROM message WHERE queue_id IN (SELECT value FROM json_each(?)) "
    "AND NOT EXISTS (SELECT 1 FROM recipient WHERE recipient.message = message.number)"
)
MESSAGES = (
    f"SELECT {MESSAGE_COLUMNS} FROM message WHERE number IN (SELECT value FROM json_each(?)) "
    "ORDER BY number"
)
SET_CORRUPT = (
    f"UPDATE message SET state = {STATES.CORRUPT}, lease = 0 "
    "WHERE number IN (SELECT value FROM json_each(?))"
)
REROUTE = """
UPDATE recipient SET transport = given.transport, nexthop = given.nexthop
FROM (
    SELECT message.number AS message, value ->> 1 AS number, value ->> 2 AS transport,
        value ->> 3 AS nexthop
    FROM json_each(?) JOIN message ON queue_id = value ->> 0
) AS given
WHERE recipient.message = given.message AND recipient.number = given.number
"""
HISTORY = (
    "SELECT recipient, at, attempt.status, attempt.reason FROM attempt "
    "JOIN message ON attempt.message = message.number WHERE queue_id = ? ORDER BY at"
)
TOTALS = "SELECT state, messages, octets FROM total"
LEASED_TOTAL = "SELECT count(*), total(size) FROM message WHERE lease <> 0"
OLDEST = "SELECT arrival FROM message ORDER BY number LIMIT 1"

VERBS = {
    "hold": (
        f"UPDATE message SET state = CASE WHEN lease THEN state ELSE {STATES.HOLD} END, "
        f"asked = CASE WHEN lease THEN asked | {ASKED.HOLD} ELSE asked END "
        f"WHERE state = {STATES.WAITING}"
    ),
    "unhold": (
        f"UPDATE message SET state = {STATES.WAITING}, asked = asked & ~{ASKED.HOLD} "
        f"WHERE (state = {STATES.HOLD} OR asked & {ASKED.HOLD})"
    ),
    "expire": (
        f"UPDATE message SET flags = CASE WHEN lease THEN flags ELSE flags | {FLAGS.EXPIRE} END, "
        "due = CASE WHEN lease THEN due ELSE 0 END, "
        f"asked = CASE WHEN lease THEN asked | {ASKED.EXPIRE} ELSE asked END "
        f"WHERE state <> {STATES.CORRUPT}"
    ),
    "requeue": (
        f"UPDATE message SET state = {STATES.WAITING}, "
        "due = CASE WHEN lease THEN due ELSE 0 END, "
        f"asked = CASE WHEN lease THEN asked | {ASKED.REQUEUE} ELSE asked END "
        "WHERE 1"
    ),
    "mark_deleted": f"UPDATE message SET asked = asked | {ASKED.DELETE} WHERE lease <> 0",
}
DELETABLE = "SELECT queue_id FROM message WHERE lease = 0"


def selected(selection: Selection, after: int | None = None) -> tuple[str, list[Any]]:
    """(condition, parameters): the messages of a selection, by its rarest index first.

    With ``after``, only those of a greater number.
    """
    conditions: list[str] = []
    values: list[Any] = []
    if selection.queue_ids is not None:
        conditions.append(f"queue_id IN ({', '.join('?' * len(selection.queue_ids))})")
        values += selection.queue_ids
    if selection.sender is not None:
        conditions.append("sender = ?")
        values.append(fold(selection.sender))
    for column, value in (
        ("site", fold(selection.site) if selection.site is not None else None),
        ("transport", selection.transport),
        ("nexthop", selection.nexthop),
    ):
        if value is not None:
            below = " AND message > ?" if after is not None else ""
            conditions.append(
                f"number IN (SELECT message FROM recipient WHERE {column} = ?{below})"
            )
            values += [value] if after is None else [value, after]
    if selection.states is not None:
        conditions.append(f"({_states(selection.states)})")
    if after is not None:
        conditions.append("number > ?")
        values.append(after)
    return " AND ".join(conditions) or "1", values


def _states(states: Sequence[State]) -> str:
    tests = {
        State.ACTIVE: "state = 0 AND lease <> 0",
        State.DEFERRED: "state = 0 AND lease = 0",
        State.HOLD: f"state = {STATES.HOLD}",
        State.CORRUPT: f"state = {STATES.CORRUPT}",
    }
    return " OR ".join(f"({tests[state]})" for state in states) or "0"
