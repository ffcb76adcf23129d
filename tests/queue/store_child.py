"""A process that puts messages into a store and says on standard output which are acknowledged.

    python tests/queue/store_child.py FOLDER COUNT SYNCHRONOUS

Every third message is settled as delivered after it was put; ``-ID`` says that it may be gone.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, DeferredList

from gatewayd.address import Address
from gatewayd.message import Envelope, NewMessage, Recipient, Route
from gatewayd.queue.records import Settlement
from gatewayd.queue.sqlite_store import SqliteStore, StoreSettings

reactor: Any = _reactor
_SESSIONS = 4


def content_of(queue_id: str) -> bytes:
    """A content that tells whose it is, of a size of its own.

    Most lie in the database, some in a segment, a few in files of their own.
    """
    digits = int(queue_id[-2:], 16)
    size = 200 + digits * 40
    if digits % 8 == 3:
        size += 30_000
    elif digits % 16 == 5:
        size += 300_000
    return f"Subject: {queue_id}\r\n\r\n".encode() + b"z" * size + b"\r\n"


def _say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


async def _session(store: SqliteStore, count: int, number: int) -> None:
    for turn in range(number, count, _SESSIONS):
        now = time.time()
        queue_id = store.new_queue_id(now)
        recipient = Recipient(Address("r", "example.com"), Route("smtp", "[127.0.0.1]"))
        incoming = store.incoming()
        pause = incoming.write(content_of(queue_id))
        if pause is not None:
            await pause
        content = incoming.finish()
        message = NewMessage(queue_id, now, Envelope(Address("s", "x")), (recipient,), content)
        await store.put(message, True)
        _say(queue_id)
        if turn % 3 == 0:
            _say(f"-{queue_id}")
            store.settle(Settlement(queue_id, time.time(), remove=True))


async def _main(folder: str, count: int, synchronous: str) -> None:
    settings = StoreSettings(folder, reserve=0, synchronous=synchronous)
    store = SqliteStore(settings, reactor)
    await store.open()
    sessions = [Deferred.fromCoroutine(_session(store, count, n)) for n in range(_SESSIONS)]
    await DeferredList(sessions, fireOnOneErrback=True)
    await store.close()


if __name__ == "__main__":

    def _ended(result: Any) -> None:
        if result is not None:
            result.printTraceback()
        reactor.stop()

    reactor.callWhenRunning(
        lambda: Deferred.fromCoroutine(_main(sys.argv[1], int(sys.argv[2]), sys.argv[3])).addBoth(
            _ended
        )
    )
    reactor.run()
