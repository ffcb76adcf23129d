"""Fill a queue without a daemon: ``python -m benchmarks.preload CONFIG COUNT DOMAIN TRANSPORT``.

Messages of 2 KB to DOMAIN, by the route TRANSPORT:NEXTHOP, through the store itself. Their time
of arrival lies a month ahead, so that nothing is due while a benchmark runs.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, DeferredList

from gatewayd.address import Address
from gatewayd.config.load import load
from gatewayd.message import Envelope, MemoryContent, NewMessage, Recipient, Route
from gatewayd.queue.sqlite_store import SqliteStore, StoreSettings

_BATCH = 500
_MONTH = 30 * 86400.0
_CONTENT = b"Subject: waiting\r\n\r\n" + (b"x" * 70 + b"\r\n") * 28
reactor: Any = _reactor


async def fill(folder: str, count: int, domain: str, route: Route) -> None:
    """Put ``count`` messages, a batch at a time."""
    settings = StoreSettings.from_settings(load(folder).settings)
    store = SqliteStore(settings, reactor)
    await store.open()
    arrival = time.time() + _MONTH
    for first in range(0, count, _BATCH):
        puts = []
        for number in range(first, min(count, first + _BATCH)):
            recipient = Recipient(Address(f"user{number}", domain), route)
            message = NewMessage(
                store.new_queue_id(time.time()),
                arrival,
                Envelope(Address("sender", "bench.test")),
                (recipient,),
                MemoryContent(_CONTENT),
            )
            puts.append(store.put(message, False))
        await DeferredList(puts, fireOnOneErrback=True)
    await store.close()


def main(arguments: list[str]) -> int:
    """The command."""
    folder, count, domain, route = arguments
    transport, _, nexthop = route.partition(":")
    status = 1

    def ended(result: object) -> None:
        nonlocal status
        status = 0 if result is None else 1
        if result is not None:
            print(result, file=sys.stderr)
        reactor.stop()

    def start() -> None:
        filling = fill(folder, int(count), domain, Route(transport, nexthop))
        Deferred.fromCoroutine(filling).addBoth(ended)

    reactor.callWhenRunning(start)
    reactor.run()
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
