"""The pid file's lock: one gateway a queue."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gatewayd.process.lock import AlreadyRunning, PidFile, running_pid


def test_second_is_refused_and_told_who_runs(tmp_path: Path) -> None:
    path = str(tmp_path / "pid")
    first = PidFile(path)
    first.acquire()
    with pytest.raises(AlreadyRunning, match=str(os.getpid())):
        PidFile(path).acquire()
    assert running_pid(path) == os.getpid()
    first.release()
    assert running_pid(path) is None


def test_file_left_by_a_crash_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    code = (
        "import os, sys; from gatewayd.process.lock import PidFile;"
        "PidFile(sys.argv[1]).acquire(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert path.read_text().strip().isdigit()
    assert running_pid(str(path)) is None
    lock = PidFile(str(path))
    lock.acquire()
    assert path.read_text() == f"{os.getpid()}\n"
    lock.release()


def test_no_file_means_nothing_runs(tmp_path: Path) -> None:
    assert running_pid(str(tmp_path / "none")) is None
