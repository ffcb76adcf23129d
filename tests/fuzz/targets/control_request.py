"""HTTP on the control socket: whatever is sent, answers that are HTTP, and nothing unexpected."""

from __future__ import annotations

import json
import re
import struct
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from gatewayd.address import Address
from gatewayd.control.operator import Operator
from gatewayd.control.peer import Permissions
from gatewayd.control.server import control_site
from gatewayd.maillog import capture
from gatewayd.message import Envelope, MemoryContent, NewMessage, Recipient, Route
from gatewayd.queue.records import Selection
from tests.fakes.queue_store import MemoryStore
from tests.fuzz.inputs import pieces, split


def _post(path: bytes, body: bytes) -> bytes:
    return b"POST %s HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s" % (path, len(body), body)


SEEDS = (
    b"GET /status HTTP/1.0\r\n\r\n",
    b"GET /queue?site=example.com&states=deferred&ids=00001 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /message/00001/content HTTP/1.1\r\n\r\nGET /message/00001 HTTP/1.1\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n",
    _post(b"/hold", b'{"ids": ["00001"], "states": ["active"]}'),
    _post(b"/delete", b'{"sender": "a@b", "transport": "smtp", "nexthop": "x"}'),
    _post(b"/flush", b"{}"),
    _post(b"/flush", b"[" * 3000),
    b"POST /requeue HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"POST /stop HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 5"
    b"\r\n\r\n--x\r\n",
)
WORDS = (
    *(b"GET ", b"POST ", b"/queue", b"/message/", b"/status", b"/flush", b"/hold", b"?", b"&"),
    *(b" HTTP/1.0\r\n", b" HTTP/1.1\r\n", b"\r\n", b"\r\n\r\n", b"Content-Length: ", b"%00", b"%"),
    *(b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"{", b"}", b'"', b"[", b"]"),
    *(b'"ids"', b'"states"', b'"\\ud800"', b":", b",", b"null", b"1e999", b"Connection: close\r\n"),
    *(b"states=hold", b"ids=", b"..", b"//", b"0\r\n\r\n", b"ffffffff\r\n", b"Host: x\r\n"),
)
FOUND = (
    b"POST p HTTP/1.1\r\nContent-Type:\x85x\r\nContent-Length:5\r\n\r\n--x\r\n+\x8a\x031Pn\xc9\xdf",
)
_HEAD = re.compile(rb"HTTP/1\.[01] [1-5][0-9][0-9] ")


class _Handle:
    """A socket whose peer has this user ID."""

    def __init__(self, user_id: int) -> None:
        self._user_id = user_id

    def getsockopt(self, level: int, name: int, size: int) -> bytes:
        return struct.pack("3i", 1, self._user_id, 1)


class _Transport(StringTransport):
    def __init__(self, user_id: int) -> None:
        super().__init__()
        self._handle = _Handle(user_id)

    def getHandle(self) -> _Handle:
        return self._handle


class _Nobody:
    """A match list with nobody in it."""

    async def matches(self, name: str) -> bool:
        return False


class _Gateway:
    async def flush(self, selection: Selection) -> None: ...

    async def reload(self) -> tuple[str, ...]:
        return ("a warning",)

    def stop(self) -> None: ...

    def pick_up(self) -> None: ...

    def queue_changed(self) -> None: ...

    def status(self) -> dict[str, Any]:
        return {"listeners": [], "counters": {}, "gauges": {}}


def target(data: bytes) -> bool:
    """Taken: a request was answered with 200."""
    payload, decisions = split(data)
    store = MemoryStore()
    recipient = Recipient(Address("c", "example.com"), Route("smtp", "x"))
    content = MemoryContent(b"x: y\r\n\r\nbody\r\n")
    store.add(NewMessage("00001", 1.0, Envelope(Address("a", "b")), (recipient,), content))
    nobody: Any = _Nobody()
    permissions = Permissions(frozenset((0,)), {"authorized_mailq_users": nobody})
    clock: Any = Clock()
    site = control_site(Operator(store, _Gateway()), _Gateway(), lambda: permissions, clock)
    user_id = decisions.choice((0, 0, 0, 1000))
    transport = _Transport(user_id)
    connection: Any = site.buildProtocol(None)  # type: ignore[arg-type]
    with capture() as log:
        connection.makeConnection(transport)
        for piece in pieces(payload, decisions):
            if transport.disconnecting:
                break
            connection.dataReceived(piece)
        said = transport.value()
        connection.connectionLost(Failure(ConnectionError()))
    assert log == [], list(log)
    assert not clock.getDelayedCalls()
    assert said == b"" or _HEAD.match(said)
    is_good = said.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200"))
    assert user_id == 0 or not is_good
    if said.endswith(b"}\n") and b"\r\n\r\n{" in said and b"chunked" not in said:
        for line in said.rpartition(b"\r\n\r\n")[2].splitlines():
            json.loads(line)
    return is_good
