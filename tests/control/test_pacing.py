"""Long answers of the control socket wait for their reader."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater

from gatewayd.address import Address
from gatewayd.control.operator import Operator
from gatewayd.control.peer import Permissions
from gatewayd.control.server import control_site
from gatewayd.queue.records import ListedRecipient, Listing, Selection, State
from tests.reactor_run import reactor, run

_PAGES = 300
_ENTRIES = 50
_TURNS = 200
_PERMISSIONS = Permissions(frozenset({os.geteuid()}), {})


class _LongQueue:
    """A store whose listing has many pages, each at hand at once; it counts those taken."""

    def __init__(self) -> None:
        self.taken = 0

    def listing(
        self, selection: Selection, after: int, limit: int
    ) -> Deferred[tuple[list[Listing], int]]:
        self.taken += 1
        recipient = ListedRecipient(
            address=Address("user", "example.com"),
            original="",
            transport="smtp",
            nexthop="example.com",
            attempts=0,
            status="",
            reason="",
        )
        entry = Listing(
            queue_id="4A1B2C3D4E",
            state=State.DEFERRED,
            arrival=0.0,
            size=1,
            sender=Address("a", "example.org"),
            expire=False,
            next_attempt=0.0,
            recipients=(recipient,),
        )
        return succeed(([entry] * _ENTRIES, self.taken if self.taken < _PAGES else 0))


class _Reader(Protocol):
    """Asks for the queue, and reads nothing until told to."""

    def __init__(self) -> None:
        self.octets = bytearray()
        self.done: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.pauseProducing()
        self.transport.write(b"GET /queue HTTP/1.0\r\n\r\n")

    def dataReceived(self, data: bytes) -> None:
        self.octets += data

    def connectionLost(self, reason: Any = None) -> None:
        self.done.callback(None)


async def _asked(path: str) -> Any:
    return await connectProtocol(UNIXClientEndpoint(reactor, path), _Reader())


async def _turns() -> None:
    for _ in range(_TURNS):
        await deferLater(reactor, 0)


def _listening(queue: Any, path: str) -> Any:
    gateway: Any = None
    return reactor.listenUNIX(
        path, control_site(Operator(queue, gateway), gateway, lambda: _PERMISSIONS)
    )


def test_a_reader_that_lags_is_waited_for(tmp_path: Path) -> None:
    """``mailq | less``: what isn't read stays in the store; what is read is complete."""
    queue = _LongQueue()

    async def work() -> bytes:
        port = _listening(queue, str(tmp_path / "s"))
        reader = await _asked(str(tmp_path / "s"))
        await _turns()
        assert 0 < queue.taken < _PAGES // 5
        reader.transport.resumeProducing()
        await reader.done
        await port.stopListening()
        return bytes(reader.octets)

    _, _, body = run(work).partition(b"\r\n\r\n")
    entries = [json.loads(line) for line in body.splitlines()]
    assert len(entries) == _PAGES * _ENTRIES
    assert queue.taken == _PAGES


def test_a_reader_that_goes_ends_it(tmp_path: Path) -> None:
    queue = _LongQueue()

    async def work() -> None:
        port = _listening(queue, str(tmp_path / "s"))
        reader = await _asked(str(tmp_path / "s"))
        await _turns()
        reader.transport.abortConnection()
        await reader.done
        await _turns()
        await port.stopListening()

    run(work)
    assert queue.taken < _PAGES // 5
