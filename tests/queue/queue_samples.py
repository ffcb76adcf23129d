"""Queues as each version of the schema has left them, in tests/queue/old_queues/VERSION/.

    python -m tests.queue.queue_samples

writes that of the present version anew: queue.sql (a dump, so that it can be reviewed), content/,
and expected.json, what every later version must read from it. It's run once for each version,
when the version is new; what older ones left is never changed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from gatewayd.address import NULL, Address
from gatewayd.control.operator import Operator
from gatewayd.errors import StoreError
from gatewayd.message import (
    Content,
    Envelope,
    MemoryContent,
    NewMessage,
    Notify,
    Origin,
    Recipient,
    Route,
)
from gatewayd.queue.records import Deferral, Selection, Settlement
from gatewayd.queue.schema import VERSION
from gatewayd.queue.sqlite_store import SqliteStore
from tests.queue.stores import using

OLD_QUEUES = Path(__file__).with_name("old_queues")

_THEN = 1_700_000_000.25
_TEXT = b"Received: from x\r\nSubject: sample\r\n\r\nLine.\r\n"
_RECIPIENT = Recipient(Address("user", "example.com"), Route("smtp", "[mx.example.com]:25"))
_EVERYTHING = Envelope(
    Address("send er", "münchen.example"),
    body="8BITMIME",
    smtputf8=True,
    ret="HDRS",
    envid="QQ314159",
    origin=Origin(
        protocol="ESMTPA",
        helo="[192.0.2.1]",
        client_name="client.example",
        client_address="192.0.2.1",
        client_port=4025,
        sasl_method="PLAIN",
        sasl_username="login",
        sasl_sender="s@example.org",
    ),
)
_TO_ANYWHERE = (
    _RECIPIENT,
    Recipient(
        Address('q"uo\\ted', "[192.0.2.9]"),
        Route("ondemand", "far.example"),
        original="alias@example.org",
        notify=Notify.SUCCESS | Notify.DELAY,
        orcpt="rfc822;alias+40example.org",
    ),
    Recipient(Address("grün", "münchen.example"), Route("retry", "4.3.0 not today")),
)


def _message(queue_id: str, **more: Any) -> NewMessage:
    given = {
        "arrival": _THEN,
        "envelope": Envelope(Address("s", "example.org")),
        "recipients": (_RECIPIENT,),
        "content": MemoryContent(_TEXT),
    }
    return NewMessage(queue_id, **{**given, **more})


async def _fill(store: SqliteStore) -> None:
    """One of everything."""
    await store.put(_message("PLAIN1"), False)
    content = MemoryContent(_TEXT + "Grüße\r\n".encode())
    all_of_it = _message(
        "EVERY1",
        envelope=_EVERYTHING,
        recipients=_TO_ANYWHERE,
        content=content,
        has_8bit=True,
    )
    message = await store.put(all_of_it, True)
    done, second, third = (each.number for each in message.recipients)
    for turn in range(2):
        now = _THEN + 300 * turn
        why = (
            Deferral(second, "4.4.1", f"connect: timed out, turn {turn}", "mx.far.example"),
            Deferral(third, "4.3.0", "not today", attempted=False),
        )
        await store.settle(Settlement("EVERY1", now, (done,), why, now + 300, warned=True))
        if not turn:
            await store.lease_selected(Selection(queue_ids=("EVERY1",)), 0, 1)
    large = store.incoming()
    large.write(_TEXT + b"z" * 300 + b"\r\n")
    await store.put(_message("LARGE1", content=large.finish()), False)
    for number in range(2):
        shared = MemoryContent(_TEXT + f"In a segment, {number}.\r\n".encode() * 1000)
        await store.put(_message(f"SHARE{number}", content=shared), False)
    await store.put(_message("HELD01", hold=True), False)
    await store.put(_message("EXPIR1"), False)
    await store.expire(Selection(queue_ids=("EXPIR1",)))
    local = Envelope(Address("root"), origin=Origin(user_id=0))
    await store.put(_message("LOCAL1", envelope=local), False)
    await store.put(_message("BOUNC1"), True)
    report = _message("REPOR1", envelope=Envelope(NULL))
    await store.settle(Settlement("BOUNC1", _THEN, notices=(report,), remove=True))
    await store.put(_message("DAMAG1"), False)
    await store.put(_message("LEASE1"), True)
    await store.put(_message("ASKED1"), True)
    await store.hold(Selection(queue_ids=("ASKED1",)))
    await store.put(_message("ASKED2"), True)
    await store.delete(Selection(queue_ids=("ASKED2",)))


def load(sample: Path, folder: Path) -> None:
    """Make a queue of a sample."""
    shutil.copytree(sample / "content", folder / "content")
    with closing(sqlite3.connect(folder / "queue.db")) as connection:
        connection.executescript((sample / "queue.sql").read_text())


def read_all(folder: Path) -> dict[str, Any]:
    """All that can be read from a queue, ready for JSON, by queue ID."""

    async def read(store: SqliteStore) -> dict[str, Any]:
        operator = Operator(store, None)
        # Whatever is damaged is set aside when it's leased.
        await store.release([each.queue_id for each in await store.lease_due(2 * _THEN, 1000)])
        found: dict[str, Any] = {}
        async for page in operator.listing(Selection()):
            for entry in page:
                queue_id = entry["queue_id"]
                found[queue_id] = {"listing": entry, "history": await store.history(queue_id)}
                try:
                    shown = await operator.message(queue_id)
                except StoreError:
                    continue
                assert shown is not None
                found[queue_id] |= {"message": shown[0], "content": await _text(shown[1])}
        return found

    result: dict[str, Any] = json.loads(json.dumps(using(folder, read)))
    return result


async def _text(content: Content) -> str:
    """A content, or the digest of a long one."""
    octets = await content.read(0, content.size)
    return octets.decode() if len(octets) < 1000 else hashlib.sha256(octets).hexdigest()


def _dump(folder: Path) -> str:
    with closing(sqlite3.connect(folder / "queue.db")) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        return "\n".join([f"PRAGMA user_version = {version};", *connection.iterdump(), ""])


def _make(sample: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "queue"
        folder.mkdir()
        using(folder, _fill, file_threshold=200)
        with closing(sqlite3.connect(folder / "queue.db")) as connection, connection:
            connection.execute("UPDATE message SET envelope = '{' WHERE queue_id = 'DAMAG1'")
            # Its name holds a process ID.
            query = "SELECT file FROM message WHERE queue_id = 'LARGE1'"
            (name,) = connection.execute(query).fetchone()
            connection.execute("UPDATE message SET file = 'sample-1' WHERE file = ?", (name,))
        (folder / "content" / name).rename(folder / "content" / "sample-1")
        shutil.rmtree(sample, ignore_errors=True)
        shutil.copytree(folder / "content", sample / "content")
        (sample / "queue.sql").write_text(_dump(folder))
        expected = json.dumps(read_all(folder), indent=1, ensure_ascii=False)
        (sample / "expected.json").write_text(expected + "\n")


if __name__ == "__main__":
    _make(OLD_QUEUES / str(VERSION))
