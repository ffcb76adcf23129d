"""Fill a queue without a daemon: ``python -m benchmarks.preload CONFIG COUNT DOMAIN TRANSPORT``.

Messages of 2 KB to DOMAIN, through the store itself, unsynced; by the route TRANSPORT:NEXTHOP,
which has to be the one by the configuration, so that no start looks it up again. They are due in
a month, so that they lie still while a benchmark runs; with --due, now.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, DeferredList

from gatewayd.address import Address
from gatewayd.config.load import load
from gatewayd.message import Envelope, MemoryContent, NewMessage, Recipient, Route
from gatewayd.queue.route_basis import RouteBasis
from gatewayd.queue.sqlite_store import SqliteStore, StoreSettings

_BATCH = 500
_MONTH = 30 * 86400.0
_CONTENT = MemoryContent(b"Subject: waiting\r\n\r\n" + (b"x" * 70 + b"\r\n") * 28)
_SENDER = Envelope(Address("sender", "bench.test"))
reactor: Any = _reactor


async def fill(folder: str, count: int, domain: str, route: Route, due: float) -> None:
    """Put ``count`` messages; while a batch is written, the next is made."""
    configuration = load(folder)
    settings = replace(StoreSettings.from_settings(configuration.settings), synchronous="OFF")
    store = SqliteStore(settings, reactor)
    await store.open()
    written: Deferred[Any] = DeferredList([])
    for first in range(0, count, _BATCH):
        before, written = (
            written,
            DeferredList(
                [
                    store.put(_message(store, Address(f"user{number}", domain), route, due), False)
                    for number in range(first, min(count, first + _BATCH))
                ],
                fireOnOneErrback=True,
            ),
        )
        await before
    await written
    await store.close()
    RouteBasis(configuration).record()


def _message(store: SqliteStore, recipient: Address, route: Route, due: float) -> NewMessage:
    queue_id = store.new_queue_id(time.time())
    return NewMessage(queue_id, due, _SENDER, (Recipient(recipient, route),), _CONTENT)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Fill a queue without a daemon.")
    parser.add_argument("config", help="folder of main.cf and master.cf")
    parser.add_argument("count", type=int)
    parser.add_argument("domain")
    parser.add_argument("transport", help="TRANSPORT:NEXTHOP")
    parser.add_argument("--due", action="store_true", help="due now, not in a month")
    options = parser.parse_args()
    transport, _, nexthop = options.transport.partition(":")
    due = time.time() + (0 if options.due else _MONTH)
    status = 1

    def ended(result: object) -> None:
        nonlocal status
        status = 0 if result is None else 1
        if result is not None:
            print(result, file=sys.stderr)
        reactor.stop()

    def start() -> None:
        route = Route(transport, nexthop)
        filling = fill(options.config, options.count, options.domain, route, due)
        Deferred.fromCoroutine(filling).addBoth(ended)

    reactor.callWhenRunning(start)
    reactor.run()
    return status


if __name__ == "__main__":
    sys.exit(main())
