"""The queue's SQL. A statement does a whole group: its rows come as one JSON array.

Python's sqlite3 gives up the interpreter's lock at each step of a statement and must get it back
from a busy reactor, so the number of statements counts, not the number of rows.
"""

from __future__ import annotations

from typing import Any

from gatewayd.queue.flush import fold
from gatewayd.queue.records import Selection, State
from gatewayd.queue.rows import MESSAGE_COLUMNS, RECIPIENT_COLUMNS
from gatewayd.queue.schema import ASKED, FLAGS, LEASES, STATES

__all__ = ["page", "selected"]

_WITHIN_PAGE = 4000
"""Octets of a content that lies in one page with its row."""


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
    "SELECT value ->> 0, ifnull(substr(?2, value ->> 1, value ->> 2), x'') FROM json_each(?1)"
)

_NUMBERS = "SELECT number FROM message WHERE queue_id IN (SELECT value FROM json_each(?1))"
FILES_OF = (
    "SELECT file, size FROM message "
    "WHERE file <> '' AND queue_id IN (SELECT value FROM json_each(?1))"
)
ANY_FILE = "SELECT 1 FROM message WHERE file <> '' LIMIT 1"
IN_SEGMENT = (
    "SELECT number, file, size FROM message WHERE file <> '' AND file >= ? AND file < ? "
    "ORDER BY number"
)
MOVE_CONTENTS = (
    "UPDATE message SET file = given.file "
    "FROM (SELECT value ->> 0 AS number, value ->> 1 AS file FROM json_each(?)) AS given "
    "WHERE message.number = given.number"
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
_IN_HANDS = f"lease <> 0 AND lease = {LEASES.TAKEN}"
"""As the index on leases wants it said."""

# A lease's end is also when what an operator asked for meanwhile is done.
_DUE = f"due = CASE WHEN asked & {ASKED.REQUEUE} THEN 0 ELSE {{0}} END"
_AS_ASKED = (
    f"state = CASE WHEN asked & {ASKED.HOLD} THEN {STATES.HOLD} ELSE state END, "
    f"asked = asked & {ASKED.DELETE}"
)
END_LEASES = f"""
UPDATE message SET
    lease = 0, crashes = 0, {_DUE.format("given.due")}, {_AS_ASKED},
    flags = flags | (given.warned * {FLAGS.WARNED})
FROM (
    SELECT value ->> 0 AS queue_id, value ->> 1 AS due, value ->> 2 AS warned FROM json_each(?)
) AS given
WHERE message.queue_id = given.queue_id
"""
RELEASE = f"""
UPDATE message SET lease = 0, crashes = 0, {_DUE.format("due")}, {_AS_ASKED}
WHERE queue_id IN (SELECT value FROM json_each(?))
"""
FREE_LEASES = f"""
UPDATE message SET lease = 0, crashes = crashes + 1, {_DUE.format("due")}, {_AS_ASKED}
WHERE {_IN_HANDS}
"""
# The greatest number that is there counts, too, in case the row is damaged.
TAKE_NUMBERS = """
UPDATE meta SET value = max(value, ifnull((SELECT max(number) FROM message), 0)) + ?
WHERE name = 'numbers' RETURNING value
"""
LEFT_BEHIND = f"SELECT number, queue_id FROM message WHERE {_IN_HANDS}"
TO_DELETE = (
    f"SELECT queue_id FROM message WHERE asked & {ASKED.DELETE} AND lease = 0 "
    "AND queue_id IN (SELECT value FROM json_each(?))"
)

FILES = "SELECT file, size FROM message WHERE file <> ''"
NUMBERS_DUE = (
    "SELECT number FROM message WHERE state = 0 AND lease = 0 AND due <= ? "
    "ORDER BY due, number LIMIT ?"
)
NEXT_DUE = (
    "SELECT number, due FROM message WHERE state = 0 AND lease = 0 ORDER BY due, number LIMIT ?"
)
LEASE = "UPDATE message SET lease = ? WHERE number IN (SELECT value FROM json_each(?))"
EMPTY_MESSAGES = (
    "SELECT queue_id FROM message WHERE queue_id IN (SELECT value FROM json_each(?)) "
    "AND NOT EXISTS (SELECT 1 FROM recipient WHERE recipient.message = message.number)"
)
MESSAGES = (
    f"SELECT {MESSAGE_COLUMNS} FROM message WHERE number IN (SELECT value FROM json_each(?)) "
    "ORDER BY number"
)
RECIPIENTS = (
    f"SELECT {RECIPIENT_COLUMNS} FROM recipient "
    "WHERE message IN (SELECT value FROM json_each(?)) ORDER BY message, number"
)
# What fits into a page comes along: SQLite has read it anyway to know its length.
CONTENTS = (
    f"SELECT number, length(octets), CASE WHEN length(octets) <= {_WITHIN_PAGE} THEN octets END "
    "FROM content WHERE number IN (SELECT value FROM json_each(?))"
)
OCTETS = "SELECT octets FROM content WHERE number = ?"
CONTENT_FILE = "SELECT file, size FROM message WHERE number = ?"
QUEUE_ID = "SELECT queue_id FROM message WHERE number = ?"
NUMBER = "SELECT number FROM message WHERE queue_id = ?"
SET_CORRUPT = (
    f"UPDATE message SET state = {STATES.CORRUPT}, lease = 0 "
    f"WHERE number = ? AND state <> {STATES.CORRUPT}"
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
OLDEST = "SELECT arrival FROM message WHERE number = (SELECT min(number) FROM message)"

LATEST = "SELECT max(due) FROM message WHERE state = 0 AND lease = 0"

VERBS = {
    "hold": (
        f"UPDATE message SET state = CASE WHEN lease > 0 THEN state ELSE {STATES.HOLD} END, "
        "lease = max(lease, 0), "
        f"asked = CASE WHEN lease > 0 THEN asked | {ASKED.HOLD} ELSE asked END "
        f"WHERE state = {STATES.WAITING}"
    ),
    "unhold": (
        f"UPDATE message SET state = {STATES.WAITING}, asked = asked & ~{ASKED.HOLD} "
        f"WHERE (state = {STATES.HOLD} OR asked & {ASKED.HOLD})"
    ),
    "expire": (
        f"UPDATE message SET flags = flags | {FLAGS.EXPIRE}, "
        "due = CASE WHEN lease > 0 THEN due ELSE 0 END, "
        f"asked = CASE WHEN lease > 0 THEN asked | {ASKED.REQUEUE} ELSE asked END "
        f"WHERE state <> {STATES.CORRUPT}"
    ),
    "requeue": (
        f"UPDATE message SET state = {STATES.WAITING}, crashes = 0, lease = max(lease, 0), "
        "due = CASE WHEN lease > 0 THEN due ELSE 0 END, asked = CASE WHEN lease > 0 "
        f"THEN asked & ~{ASKED.HOLD} | {ASKED.REQUEUE} ELSE asked END "
        "WHERE 1"
    ),
    "mark_deleted": f"UPDATE message SET asked = asked | {ASKED.DELETE} WHERE {_IN_HANDS}",
}
DELETABLE = "SELECT queue_id FROM message WHERE lease <= 0"


def segment_range(segment: str) -> tuple[str, str]:
    """The parameters of IN_SEGMENT: all places in a file, ``segment@offset``."""
    return f"{segment}@", f"{segment}A"


def selected(selection: Selection) -> tuple[str, list[Any]]:
    """(condition, parameters): the messages of a selection, by its rarest index first."""
    conditions, values = _of_message(selection)
    is_few = bool(conditions)
    for column, value in _of_recipients(selection):
        conditions.append(_HAS_RECIPIENT[is_few].format(column))
        values.append(value)
    conditions += _of_states(selection)
    return " AND ".join(conditions) or "1", values


def page(selection: Selection, after: int, limit: int) -> tuple[str, list[Any]]:
    """(query, parameters): the first numbers of a selection beyond ``after``, in order.

    Whatever is selected, an index has it in this order: nothing much is gathered and sorted
    first, so that a page costs the same of a short queue and of a long one.
    """
    conditions, values = _of_message(selection)
    recipients = _of_recipients(selection)
    if recipients and not conditions:
        # Not the planner's choice: it doesn't know how few a page is.
        (column, value), *recipients = recipients
        query = (
            "SELECT DISTINCT site.message FROM recipient AS site "
            "CROSS JOIN message ON message.number = site.message "
            f"WHERE site.{column} = ? AND site.message > ?"
        )
        values = [value, after]
        order = "site.message"
    else:
        # Few are active: the plus makes the planner find them by their lease, then sort them.
        order = "+number" if selection.states == (State.ACTIVE,) and not conditions else "number"
        query = f"SELECT number FROM message WHERE {order} > ?"
        values.insert(0, after)
    for column, value in recipients:
        conditions.append(_HAS_RECIPIENT[True].format(column))
        values.append(value)
    conditions += _of_states(selection)
    both = "".join(f" AND {each}" for each in conditions)
    return f"{query}{both} ORDER BY {order} LIMIT ?", [*values, limit]


def _of_message(selection: Selection) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    if selection.queue_ids is not None:
        conditions.append(f"queue_id IN ({', '.join('?' * len(selection.queue_ids))})")
        values += selection.queue_ids
    if selection.sender is not None:
        conditions.append("sender = ?")
        values.append(fold(selection.sender))
    return conditions, values


def _of_recipients(selection: Selection) -> list[tuple[str, str]]:
    """Columns of a recipient with their values, the rarest first."""
    site = None if selection.site is None else fold(selection.site)
    columns = (("site", site), ("nexthop", selection.nexthop), ("transport", selection.transport))
    return [(column, value) for column, value in columns if value is not None]


_HAS_RECIPIENT = {
    False: "number IN (SELECT message FROM recipient WHERE {} = ?)",
    True: (
        "EXISTS (SELECT 1 FROM recipient AS one WHERE one.message = message.number AND one.{} = ?)"
    ),
}
"""By whether the messages are few already, and their recipients are looked at one by one."""

_STATE_TESTS = {
    State.ACTIVE: "state = 0 AND lease <> 0",
    State.DEFERRED: "state = 0 AND lease = 0",
    State.HOLD: f"state = {STATES.HOLD}",
    State.CORRUPT: f"state = {STATES.CORRUPT}",
}
_RARE = {State.HOLD, State.CORRUPT}


def _of_states(selection: Selection) -> list[str]:
    states = selection.states
    if states is None:
        return []
    if len(states) == 1:
        index = ["state <> 0"] if states[0] in _RARE else []
        return [*index, _STATE_TESTS[states[0]]]
    either = " OR ".join(f"({_STATE_TESTS[state]})" for state in states)
    index = ["state <> 0"] if states and _RARE.issuperset(states) else []
    return [*index, f"({either or '0'})"]
