"""The launcher runs commands as the users configured, and as nobody else."""

from __future__ import annotations

import json
import os
import pwd
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from gatewayd.process.launcher import start_launcher
from tests.peers import require_root


class _Gateway:
    """The gateway's end of the conversation."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        channel.settimeout(20)

    def run(self, number: int, argv: list[str], uid: int, gid: int, **more: Any) -> bytes:
        """Ask for a command, give it ``stdin``; the launcher's answer. Output: self.output()."""
        source, feed = os.pipe()
        self._reading, output = os.pipe()
        os.write(feed, more.pop("stdin", b""))
        request = {"run": number, "argv": argv, "uid": uid, "gid": gid, "cwd": "/", **more}
        request.setdefault("env", {"PATH": "/usr/bin:/bin"})
        socket.send_fds(self.channel, [json.dumps(request).encode()], [source, output])
        for descriptor in (source, feed, output):
            os.close(descriptor)
        return self.channel.recv(10000)

    def answer(self) -> dict[str, Any]:
        heard: dict[str, Any] = json.loads(self.channel.recv(10000))
        return heard

    def output(self) -> str:
        with os.fdopen(self._reading, "rb") as reading:
            return reading.read().decode()


@pytest.fixture
def nobody() -> tuple[int, int]:
    require_root("the launcher changes users")
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


@pytest.fixture
def gateway(nobody: tuple[int, int]) -> Iterator[_Gateway]:
    with start_launcher([nobody]) as channel:
        yield _Gateway(channel)


def test_runs_as_the_user_with_input_output_and_status(
    gateway: _Gateway, nobody: tuple[int, int]
) -> None:
    assert b'"pid"' in gateway.run(
        7, ["sh", "-c", "id -u; id -G; cat; exit 3"], *nobody, stdin=b"x"
    )
    assert gateway.answer() == {"run": 7, "ended": 3}
    assert gateway.output() == f"{nobody[0]}\n{nobody[1]}\nx"


def test_environment_is_what_was_asked_and_nothing_else(
    gateway: _Gateway, nobody: tuple[int, int]
) -> None:
    gateway.run(1, ["/usr/bin/env"], *nobody, env={"ONLY": "this"})
    gateway.answer()
    assert gateway.output() == "ONLY=this\n"


@pytest.mark.parametrize("user", [(0, 0), (0, 65534), (1, 1)])
def test_other_users_are_refused(gateway: _Gateway, user: tuple[int, int]) -> None:
    assert b"not configured" in gateway.run(1, ["id"], *user)


def test_missing_command_is_an_error_not_an_end(gateway: _Gateway, nobody: tuple[int, int]) -> None:
    assert b"No such file" in gateway.run(1, ["/no/such/command"], *nobody)
    assert b'"pid"' in gateway.run(2, ["true"], *nobody)


def test_kill_reaches_the_whole_group(gateway: _Gateway, nobody: tuple[int, int]) -> None:
    gateway.run(5, ["sh", "-c", "sleep 600 & wait"], *nobody)
    gateway.channel.send(b'{"kill": 5}')
    assert gateway.answer() == {"run": 5, "ended": -9}
    assert gateway.output() == ""  # the sleep held the output open: it has gone, too


def test_children_die_with_the_gateway(nobody: tuple[int, int]) -> None:
    with start_launcher([nobody]) as channel:
        gateway = _Gateway(channel)
        gateway.run(1, ["sleep", "600"], *nobody)
    assert gateway.output() == ""
