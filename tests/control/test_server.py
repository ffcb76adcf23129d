"""The control socket by real clients: what may be asked, by whom, how much, how slowly."""

from __future__ import annotations

import json
import os
import pwd
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from gatewayd.control.client import ControlRefused, DaemonDown
from gatewayd.control.connections import USER_LIMIT
from gatewayd.control.exchange import BODY_LIMIT
from gatewayd.control.operator import Operator
from gatewayd.control.peer import Permissions, Right, peer_user_id
from gatewayd.control.server import control_site
from gatewayd.errors import ConfigError, ConfigProblem, StoreError, TableError
from gatewayd.maillog import capture
from gatewayd.message import QueuedMessage
from gatewayd.queue.records import State
from gatewayd.tables.match_list import MatchList
from tests.access.asking import settings_of
from tests.control.control_socket import (
    ControlSocket,
    message,
    open_folder,
    permitted,
    received,
)
from tests.peers import eventually, require_root

_LISTS = (Right.LIST, Right.FLUSH, Right.SUBMIT)


def _permissions(*own: int, **lists: str) -> Permissions:
    """``own`` may do all, the named lists hold these users."""
    words = {name: lists.get(name, "").split() for name in _LISTS}
    return Permissions(
        frozenset(own), {name: MatchList.open(users, name) for name, users in words.items()}
    )


@pytest.fixture
def server(tmp_path: Path) -> ControlSocket:
    return ControlSocket(tmp_path / "control", _permissions(os.geteuid()))


# What may be asked.


def test_status_and_metrics(server: ControlSocket) -> None:
    message(server.store)
    assert server.ask(lambda: server.client.get("status"))["listening"] == ["127.0.0.1:25"]
    page = server.ask(lambda: b"".join(server.client.content("metrics"))).decode()
    assert 'gatewayd_queue_messages{queue="deferred"} 1' in page


def test_the_queue_by_selection(server: ControlSocket) -> None:
    first, second = message(server.store, "ann"), message(server.store, "joe")
    ask = server.client.lines
    all_ = server.ask(lambda: list(ask("queue")))
    assert [entry["queue_id"] for entry in all_] == [first, second]
    assert server.ask(lambda: list(ask("queue", sender="joe@example.org"))) == [all_[1]]
    assert server.ask(lambda: list(ask("queue", ids=[first], states=["deferred"]))) == [all_[0]]
    assert server.ask(lambda: list(ask("queue", site="nowhere"))) == []


def test_a_message_and_its_content(server: ControlSocket) -> None:
    content = b"Subject: x\r\n\r\n" + b"line\r\n" * 50_000
    queue_id = message(server.store, content=content)
    found = server.ask(lambda: server.client.get("message", queue_id))
    assert (found["queue_id"], found["message_size"]) == (queue_id, len(content))
    assert server.ask(lambda: b"".join(server.client.content("message", queue_id, "content"))) == (
        content
    )
    with pytest.raises(ControlRefused, match="no message nosuch") as refused:
        server.ask(lambda: server.client.get("message", "nosuch"))
    assert refused.value.code == 404


def test_verbs_change_the_queue(server: ControlSocket) -> None:
    first, second = message(server.store), message(server.store)
    post = server.client.post
    answer = server.ask(lambda: post("hold", {"ids": [first, "nosuch"]}))
    assert answer == {"count": 1, "ids": [first]}
    assert server.store.entries[first].state is State.HOLD
    assert server.ask(lambda: post("unhold", {"states": ["hold"]})) == {"count": 1}
    assert server.ask(lambda: post("expire", {"ids": [second]}))["count"] == 1
    assert server.ask(lambda: post("requeue", {"ids": [second]}))["count"] == 1
    assert server.gateway.asked == ["queue changed"] * 3
    assert server.ask(lambda: post("delete")) == {"count": 2}
    assert server.store.entries == {}


def test_verbs_reach_the_gateway(server: ControlSocket) -> None:
    assert server.ask(lambda: server.client.post("flush", {"site": "example.com"})) == {}
    assert server.ask(lambda: server.client.post("pickup")) == {}
    assert server.ask(lambda: server.client.post("stop")) == {}
    assert server.ask(lambda: server.client.post("reload")) == {
        "warnings": ["main.cf:1: a warning"]
    }
    selection, *rest = server.gateway.asked
    assert getattr(selection, "site", None) == "example.com"
    assert rest == ["pick up", "stop"]


def test_a_configuration_that_is_refused(server: ControlSocket) -> None:
    problems = [ConfigProblem("main.cf", n, "bad") for n in (3, 7)]
    server.gateway.failure = ConfigError(problems)
    with pytest.raises(ControlRefused) as refused:
        server.ask(lambda: server.client.post("reload"))
    assert refused.value.code == 409
    assert refused.value.problems == ("main.cf:3: bad", "main.cf:7: bad")


def test_nobody_listens(tmp_path: Path, server: ControlSocket) -> None:
    for path in (tmp_path / "none", tmp_path / "none" / "none"):
        with pytest.raises(DaemonDown):
            ControlSocket(path, server.permissions).client.get("status")


# What is refused.


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        ("GET /nosuch", 404, "no such request: GET /nosuch"),
        ("GET /flush", 404, "no such request"),
        ("PUT /status", 404, "no such request: PUT"),
        ("GET /", 404, "no such request"),
        ("GET /message/x/y", 404, "no such request"),
        ("GET /queue?nosuch=1", 400, "unknown selection: nosuch"),
        ("GET /queue?states=nowhere", 400, "no such queue"),
        ("POST /hold {", 400, "not JSON"),
        ("POST /hold []", 400, "not a JSON object"),
        ("POST /hold " + "[" * 100_000, 400, "not JSON"),
        ('POST /hold {"ids": "x"}', 400, "ids must be a list of texts"),
        ('POST /hold {"ids": [1]}', 400, "ids must be a list of texts"),
        ('POST /hold {"site": 1}', 400, "site must be text"),
        ('POST /hold {"sender": "\\ud800"}', 400, "sender must be text"),
        ('POST /hold {"nosuch": 1}', 400, "unknown selection: nosuch"),
    ],
)
def test_bad_requests(server: ControlSocket, request_: str, code: int, text: str) -> None:
    method, path, body = f"{request_} ".split(" ", 2)
    said = server.say(
        f"{method} {path} HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    head, _, answer = said.partition(b"\r\n\r\n")
    assert int(head.split()[1]) == code
    assert text in json.loads(answer)["error"]


@pytest.mark.parametrize(
    "octets",
    [
        b"nonsense\r\n\r\n",
        b"GET /status HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET /status HTTP/1.1\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /hold HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /hold HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http_ends_the_connection(server: ControlSocket, octets: bytes) -> None:
    said = server.say(octets)
    assert said == b"" or said.startswith(b"HTTP/1.1 400 ")
    assert server.ask(lambda: server.client.get("status"))


def test_a_store_in_trouble(server: ControlSocket) -> None:
    server.store.message = _raising(StoreError("the disk is gone"))  # type: ignore[method-assign]
    with pytest.raises(ControlRefused, match="the disk is gone") as refused:
        server.ask(lambda: server.client.get("message", "x"))
    assert refused.value.code == 503


def test_what_nobody_expected_is_logged_and_answered(server: ControlSocket) -> None:
    server.store.message = _raising(RuntimeError("secret"))  # type: ignore[method-assign]
    with capture() as log, pytest.raises(ControlRefused) as refused:
        server.ask(lambda: server.client.get("message", "x"))
    assert refused.value.code == 500
    assert "secret" not in str(refused.value)
    assert log.containing("secret")


def _raising(error: Exception) -> Any:
    def call(*_: object) -> Any:
        raise error

    return call


# How much, and how slowly.


def test_a_body_over_the_limit(server: ControlSocket) -> None:
    """It's refused, and never kept, in memory or in a file."""
    head = b"POST /hold HTTP/1.1\r\nConnection: close\r\n"
    body = b"x" * (BODY_LIMIT + 1)
    said = server.say(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert said.startswith(b"HTTP/1.1 413 ")
    chunks = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    said = server.say(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks * 20 + b"0\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 413 ")
    ids = json.dumps({"ids": ["x" * 40] * 20_000}).encode()
    assert BODY_LIMIT * 0.8 < len(ids) < BODY_LIMIT
    assert b'"count": 0' in server.say(head + b"Content-Length: %d\r\n\r\n" % len(ids) + ids)


def test_a_form_is_no_form_here(server: ControlSocket) -> None:
    queue_id = message(server.store)
    body = b'{"ids": ["%s"]}' % queue_id.encode()
    kinds = (b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x")
    for verb, kind in zip((b"hold", b"unhold"), kinds, strict=True):
        said = server.say(
            b"POST /%s HTTP/1.1\r\nConnection: close\r\nContent-Type: %s\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (verb, kind, len(body), body)
        )
        assert b'"count": 1' in said


def test_a_client_that_reads_slowly_is_waited_for(server: ControlSocket) -> None:
    """The queue is read no faster than it's sent, so a long one never gathers in memory."""
    count = 20_000
    for _ in range(count):
        message(server.store)
    pages: list[int] = []
    real = server.store.listing

    def listing(selection: Any, after: int, limit: int) -> Any:
        pages.append(after)
        return real(selection, after, limit)

    server.store.listing = listing  # type: ignore[method-assign]

    def slow() -> tuple[int, bytes]:
        with server.connected() as connection:
            connection.sendall(b"GET /queue HTTP/1.0\r\n\r\n")
            seen = -1

            def stands_still() -> bool:
                nonlocal seen
                before, seen = seen, len(pages)
                return before == seen > 0

            eventually(stands_still, "the server waits", step=0.3)
            return len(pages), received(connection)

    asked, answer = server.ask(slow)
    assert asked < count / 200 / 2, "most of the queue was read for a client that doesn't read"
    assert answer.count(b'"queue_id"') == count


def test_a_client_that_hangs_up_is_not_waited_for(server: ControlSocket) -> None:
    """What it asked for is cancelled."""
    cancelled = threading.Event()

    def never(queue_id: str) -> Deferred[QueuedMessage | None]:
        return Deferred(lambda _: cancelled.set())

    server.store.message = never  # type: ignore[method-assign]

    def hang_up() -> bool:
        with server.connected() as connection:
            connection.sendall(b"GET /message/x HTTP/1.1\r\n\r\n")
        return cancelled.wait(20)

    with capture() as log:
        assert server.ask(hang_up)
    assert log == []


def test_a_client_that_hangs_up_in_the_middle_of_a_list(server: ControlSocket) -> None:
    """What was waited for is over, and nothing is wrong."""
    for _ in range(20_000):
        message(server.store)
    ended = threading.Event()
    real = server.store.listing
    last: list[int] = []

    def listing(selection: Any, after: int, limit: int) -> Any:
        last.append(after)
        return real(selection, after, limit)

    server.store.listing = listing  # type: ignore[method-assign]

    def hang_up() -> None:
        with server.connected() as connection:
            connection.sendall(b"GET /queue HTTP/1.0\r\n\r\n")
            assert connection.recv(1000)
        ended.set()

    with capture() as log:
        server.ask(hang_up)
        assert ended.is_set()
        server.ask(lambda: server.client.get("status"))
    assert log == []
    assert last[-1] < 19_000


def test_a_client_that_never_ends_its_request() -> None:
    """After a minute of silence it's gone."""
    from twisted.internet.testing import StringTransport

    class Transport(StringTransport):
        def getHandle(self) -> Any:
            ours, _ = socket.socketpair(socket.AF_UNIX)
            return ours

    clock: Any = Clock()
    permissions = _permissions(os.geteuid())
    operator: Any = Operator(None, None)  # type: ignore[arg-type]
    connection: Any = control_site(operator, None, lambda: permissions, clock).buildProtocol(None)  # type: ignore[arg-type]
    transport = Transport()
    connection.makeConnection(transport)
    connection.dataReceived(b"POST /hold HTTP/1.1\r\nContent-Length: 10\r\n\r\n{")
    clock.advance(59)
    assert not transport.disconnecting
    clock.advance(2)
    assert transport.disconnecting


def test_our_own_user_has_no_limit_of_connections(server: ControlSocket) -> None:
    def many() -> list[bytes]:
        sockets = [_connected(server.path) for _ in range(3 * USER_LIMIT)]
        answers = []
        for connection in sockets:
            connection.sendall(b"GET /status HTTP/1.0\r\n\r\n")
            answers.append(received(connection)[:12])
            connection.close()
        return answers

    assert set(server.ask(many)) == {b"HTTP/1.0 200"}


# By whom.


def _as_nobody(server: ControlSocket, request: str, count: int = 1) -> list[tuple[str, str]]:
    """(code, body) of each of nobody's connections, all open at the same time."""

    def many() -> list[bytes]:
        sockets = [_connected_as("nobody", server.path) for _ in range(count)]
        for connection in sockets:
            with suppress(BrokenPipeError):
                connection.sendall(f"{request} HTTP/1.0\r\n\r\n".encode())
        answers = [received(connection) for connection in sockets]
        for connection in sockets:
            connection.close()
        return answers

    answers = [answer.partition(b"\r\n\r\n") for answer in server.ask(many)]
    return [(head.split()[1].decode(), body.decode().strip()) for head, _, body in answers]


def _connected_as(user: str, path: Path) -> socket.socket:
    """A connection whose peer the kernel takes for that user: who connects is what counts."""
    os.seteuid(pwd.getpwnam(user).pw_uid)
    try:
        return _connected(path)
    finally:
        os.seteuid(0)


def _connected(path: Path) -> socket.socket:
    """A connection; it's waited for while the server has many to accept."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    connection.settimeout(20)
    return connection


@pytest.fixture
def nobodys() -> Iterator[ControlSocket]:
    require_root("a client of another user")
    with open_folder() as folder:
        yield ControlSocket(folder / "control", _permissions(os.geteuid()))


def test_strangers_may_do_nothing_unless_listed(nobodys: ControlSocket) -> None:
    user_id = pwd.getpwnam("nobody").pw_uid
    for request, right in (
        ("GET /status", "authorized_mailq_users"),
        ("GET /metrics", "authorized_mailq_users"),
        ("GET /queue", "authorized_mailq_users"),
        ("POST /flush", "authorized_flush_users"),
        ("POST /pickup", "authorized_submit_users"),
    ):
        ((code, body),) = _as_nobody(nobodys, request)
        assert code == "403"
        assert json.loads(body)["error"] == (
            f"user {user_id} is not allowed to do this (see {right})"
        )
    assert nobodys.gateway.asked == []
    nobodys.permissions = _permissions(
        0,
        authorized_mailq_users="!root nobody",
        authorized_flush_users="static:anyone",
        authorized_submit_users="root, nobody",
    )
    for request in ("GET /status", "GET /queue", "POST /flush", "POST /pickup"):
        assert _as_nobody(nobodys, request)[0][0] == "200"


@pytest.mark.parametrize(
    "request_",
    [
        *("GET /message/00001", "GET /message/00001/content", "POST /hold", "POST /unhold"),
        *("POST /delete", "POST /expire", "POST /requeue", "POST /reload", "POST /stop"),
    ],
)
def test_operating_is_for_no_stranger_whoever_is_listed(
    nobodys: ControlSocket, request_: str
) -> None:
    queue_id = message(nobodys.store)
    everybody = dict.fromkeys(_LISTS, "static:anyone")
    nobodys.permissions = _permissions(0, **everybody)
    ((code, body),) = _as_nobody(nobodys, request_)
    assert code == "403"
    assert "is not allowed to do this" in body
    assert nobodys.gateway.asked == []
    assert nobodys.store.entries[queue_id].state is State.DEFERRED


def test_a_strangers_connections_are_counted(nobodys: ControlSocket) -> None:
    """So that nobody takes all of the gateway's descriptors; they come back when they end."""
    nobodys.permissions = _permissions(0, authorized_mailq_users="nobody")
    for _ in range(2):
        answers = _as_nobody(nobodys, "GET /status", USER_LIMIT + 5)
        assert [code for code, _ in answers] == ["200"] * USER_LIMIT + ["503"] * 5
        assert "too many connections" in answers[-1][1]


def test_the_kernel_says_who_it_is() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert peer_user_id(ours) == os.geteuid()


def test_rights_from_the_configuration() -> None:
    permissions = Permissions.from_settings(
        settings_of({"authorized_flush_users": "nobody", "mail_owner": "daemon"})
    )
    nobody, daemon = pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("daemon").pw_uid
    assert permissions.own == {0, os.geteuid(), daemon}
    allows = permissions.allows
    assert permitted(allows(nobody, Right.FLUSH))
    assert permitted(allows(nobody, Right.LIST)), "anyone, by default"
    assert not permitted(allows(12345678, Right.FLUSH)), "a user without a name"
    assert not permitted(allows(nobody, Right.OPERATE))
    assert permitted(allows(daemon, Right.OPERATE))


def test_a_table_that_cannot_tell_permits_nothing() -> None:
    permissions = _permissions(0, authorized_mailq_users="fail:now")
    with pytest.raises(TableError):
        permitted(permissions.allows(12345, Right.LIST))
