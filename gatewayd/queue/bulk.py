"""What nearly every group of commits is, messages that come and messages that go, in one statement.

Python's sqlite3 gives up the interpreter's lock while a statement runs, and has to get it back
from a busy reactor, which then waits in turn. So a whole group is one row inserted into a view:
the view's trigger does what the row says, and its end is the commit.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from gatewayd.queue import statements as sql

__all__ = ["Arrivals", "Bulk"]

_TRIGGER = ";\n".join(
    [
        sql.INSERT_MESSAGES.replace("?", "NEW.messages"),
        sql.INSERT_RECIPIENTS.replace("?", "NEW.recipients"),
        sql.INSERT_CONTENTS.replace("?1", "NEW.places").replace("?2", "NEW.octets"),
        *(statement.replace("?1", "NEW.removed") for statement in sql.REMOVE),
    ]
)
_SCHEMA = f"""
CREATE TEMP VIEW bulk (messages, recipients, places, octets, removed)
    AS SELECT NULL, NULL, NULL, NULL, NULL;
CREATE TEMP TRIGGER bulk_comes INSTEAD OF INSERT ON bulk BEGIN
{_TRIGGER};
END;
"""
_INSERT = "INSERT INTO bulk VALUES (?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Arrivals:
    """New rows of ``message`` and ``recipient``, and where in ``octets`` contents lie: JSON."""

    messages: str = "[]"
    recipients: str = "[]"
    places: str = "[]"
    octets: bytes = b""


class Bulk:
    """The view and its trigger, in one connection."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        db.executescript(_SCHEMA)

    def commit(self, arrivals: Arrivals, removed: str) -> None:
        """Add these, remove those (queue IDs, JSON), in a transaction. Raises sqlite3.Error."""
        self._db.execute(
            _INSERT,
            (arrivals.messages, arrivals.recipients, arrivals.places, arrivals.octets, removed),
        )
