"""The queue as SQLite keeps it. PRAGMA user_version holds the schema's version.

``message.state``: 0 waiting, 1 on hold, 2 corrupt. ``lease``: 1 while a dispatcher has it, -1 if
it is a suspect (suspects.py), else 0. ``asked``: what an operator asked for while it was leased,
done when the lease ends (bits: 1 hold, 2 delete, 8 requeue). ``flags``: 1 warned, 2 expire, 4 has
8-bit octets. ``crashes``: how often in a row the process died while it was leased. ``file`` names
the file of a content that is not in ``content``.
"""

from __future__ import annotations

import sqlite3

from gatewayd.errors import StoreError

__all__ = ["ASKED", "FLAGS", "LEASES", "STATES", "VERSION", "prepare_schema"]

VERSION = 1


class STATES:
    """message.state."""

    WAITING = 0
    HOLD = 1
    CORRUPT = 2


class LEASES:
    """message.lease."""

    SUSPECT = -1
    NONE = 0
    TAKEN = 1


class ASKED:
    """Bits of message.asked."""

    HOLD = 1
    DELETE = 2
    REQUEUE = 8


class FLAGS:
    """Bits of message.flags."""

    WARNED = 1
    EXPIRE = 2
    HAS_8BIT = 4


_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('numbers', 1);

CREATE TABLE message (
    number INTEGER PRIMARY KEY,
    queue_id TEXT NOT NULL,
    arrival REAL NOT NULL,
    due REAL NOT NULL,
    state INTEGER NOT NULL,
    lease INTEGER NOT NULL,
    asked INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    flags INTEGER NOT NULL,
    size INTEGER NOT NULL,
    sender TEXT NOT NULL,
    file TEXT NOT NULL DEFAULT '',
    envelope TEXT NOT NULL
);
CREATE UNIQUE INDEX message_by_id ON message (queue_id);
CREATE INDEX message_by_due ON message (due) WHERE state = 0 AND lease = 0;
CREATE INDEX message_by_lease ON message (lease, size) WHERE lease <> 0;
CREATE INDEX message_by_sender ON message (sender);
CREATE INDEX message_by_hold ON message (number) WHERE state <> 0;
CREATE INDEX message_by_file ON message (file) WHERE file <> '';

CREATE TABLE recipient (
    message INTEGER NOT NULL,
    number INTEGER NOT NULL,
    local TEXT NOT NULL,
    domain TEXT NOT NULL,
    site TEXT NOT NULL,
    transport TEXT NOT NULL,
    nexthop TEXT NOT NULL,
    original TEXT NOT NULL,
    orcpt TEXT NOT NULL,
    notify INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    status TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    remote_mta TEXT NOT NULL DEFAULT '',
    last_attempt REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (message, number)
) WITHOUT ROWID;
CREATE INDEX recipient_by_site ON recipient (site, message);
CREATE INDEX recipient_by_transport ON recipient (transport, message);
CREATE INDEX recipient_by_nexthop ON recipient (nexthop, message);

CREATE TABLE content (number INTEGER PRIMARY KEY, octets BLOB NOT NULL);

CREATE TABLE attempt (
    message INTEGER NOT NULL,
    recipient INTEGER NOT NULL,
    at REAL NOT NULL,
    status TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (message, recipient, at)
) WITHOUT ROWID;

CREATE TABLE total (state INTEGER PRIMARY KEY, messages INTEGER NOT NULL, octets INTEGER NOT NULL);
INSERT INTO total VALUES (0, 0, 0), (1, 0, 0), (2, 0, 0);
CREATE TRIGGER message_came AFTER INSERT ON message BEGIN
    UPDATE total SET messages = messages + 1, octets = octets + NEW.size WHERE state = NEW.state;
END;
CREATE TRIGGER message_went AFTER DELETE ON message BEGIN
    UPDATE total SET messages = messages - 1, octets = octets - OLD.size WHERE state = OLD.state;
END;
CREATE TRIGGER message_moved AFTER UPDATE OF state ON message WHEN NEW.state <> OLD.state BEGIN
    UPDATE total SET messages = messages + 1, octets = octets + NEW.size WHERE state = NEW.state;
    UPDATE total SET messages = messages - 1, octets = octets - OLD.size WHERE state = OLD.state;
END;
"""


def prepare_schema(connection: sqlite3.Connection) -> None:
    """Make the tables in a new database; refuse one that a newer gatewayd wrote."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise StoreError(
            f"the queue has schema version {version}, this gatewayd knows up to {VERSION}: "
            "it was written by a newer one"
        )
    if version == 0:
        script = f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;"
        connection.executescript(script)
