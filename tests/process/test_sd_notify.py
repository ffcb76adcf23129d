"""What a service manager is told, by a real datagram socket as systemd has it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatewayd.process.systemd import say_ready, say_reloading, say_stopping


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield listening


def test_each_state_is_a_datagram_of_assignments(manager: socket.socket) -> None:
    say_ready("listening on 127.0.0.1:25")
    ours = f"MAINPID={os.getpid()}".encode()
    assert manager.recv(4096).split(b"\n") == [
        *(b"READY=1", ours, b"STATUS=listening on 127.0.0.1:25"),
    ]
    say_reloading()
    first, second = manager.recv(4096).split(b"\n")
    assert first == b"RELOADING=1"
    assert second.startswith(b"MONOTONIC_USEC=")
    assert int(second.partition(b"=")[2]) > 0
    say_stopping()
    assert manager.recv(4096) == b"STOPPING=1"


def test_a_status_is_one_line(manager: socket.socket) -> None:
    """Names of configuration stand in it: none can be another assignment."""
    say_ready("a\nMAINPID=1")
    assert manager.recv(4096).split(b"\n")[2:] == [b"STATUS=a MAINPID=1"]


def test_an_abstract_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("")
        listening.settimeout(5)
        name = listening.getsockname()[1:].decode()
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        say_stopping()
        assert listening.recv(4096) == b"STOPPING=1"


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all", "@nobody"])
def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    say_stopping()
    monkeypatch.delenv("NOTIFY_SOCKET")
    say_stopping()
