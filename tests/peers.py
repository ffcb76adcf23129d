"""Real programs that tests talk to: found, or a visible skip; in CI their absence is a failure."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_SYSTEM_FOLDERS = ("/usr/sbin", "/usr/lib/postfix/sbin", "/sbin")


def find(program: str) -> str | None:
    """The program's path, also from folders that a user's PATH may lack."""
    found = shutil.which(program)
    if found:
        return found
    for folder in _SYSTEM_FOLDERS:
        path = Path(folder) / program
        if os.access(path, os.X_OK):
            return str(path)
    return None


def require(program: str, package: str) -> str:
    """The program's path; without it, skip naming Debian's package, or fail when CI is set."""
    path = find(program)
    if path is None:
        reason = f"{program} is missing: install Debian's package {package}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def require_root(why: str) -> None:
    """Skip visibly unless run as root (as CI is)."""
    if os.geteuid() != 0:
        pytest.skip(f"needs root: {why}")


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that other users reach, too; removed at the end.

    Not one of pytest's: whenever another run of pytest begins it closes those to others.
    """
    with tempfile.TemporaryDirectory(prefix="gatewayd-test-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def free_port() -> int:
    """A TCP port on 127.0.0.1 that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def eventually(
    condition: Callable[[], object], what: str, seconds: float = 30.0, step: float = 0.02
) -> object:
    """The first true value of ``condition()``; fails naming ``what`` after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            pytest.fail(f"not within {seconds} s: {what}")
        time.sleep(step)


def listens(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


@contextmanager
def sink(*options: str, port: int | None = None) -> Iterator[int]:
    """A running smtp-sink with these options; gives its port."""
    port = port or free_port()
    with _smtp_sink(*options, f"127.0.0.1:{port}"):
        eventually(lambda: listens(port), f"smtp-sink on port {port}")
        yield port


@contextmanager
def unix_sink(*options: str) -> Iterator[Path]:
    """A running smtp-sink that listens on a Unix socket; gives the socket's path."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)  # smtp-sink makes the socket as another user
        path = folder / "socket"
        with _smtp_sink(*options, f"unix:{path}"):
            eventually(path.exists, "smtp-sink's socket")
            yield path


@contextmanager
def _smtp_sink(*arguments: str) -> Iterator[None]:
    program = require("smtp-sink", "postfix")
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = subprocess.Popen(
        [program, *user, *arguments, "200"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()
