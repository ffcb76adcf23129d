"""A line of 600 ms round trip and 2 Mbit/s: how much of its rate mail makes use of."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.gateway_system import running_gateway
from benchmarks.mail import park
from benchmarks.postfix_system import running_postfix
from benchmarks.row import BOUND, Measured, Row, at_least
from benchmarks.systems import System
from tests import peers, postfix

__all__ = ["slow_line"]

_MESSAGES = 500
_ROUND_TRIP, _BITS = 0.6, 2e6
_FLUSH_AGAIN = 20.0
"""Seconds of a flush before the next: what came in during one waits for it."""
_PEERS = (
    ("PIPELINING", "chunking, silent-discard", 50),
    ("CHUNKING", "silent-discard", 80),
)
"""A peer's keyword, what it doesn't offer, and the percentage to reach."""

_Starter = Callable[[Path, str, dict[str, str]], AbstractContextManager[System]]


@dataclass
class _Line:
    """A running line to a port; ``percentage`` of its rate that was used is known at its end."""

    port: int
    percentage: float = 0.0


@contextmanager
def _line(target: int) -> Iterator[_Line]:
    line = _Line(peers.free_port())
    running = subprocess.Popen(
        [
            *(sys.executable, "-m", "benchmarks.line", str(line.port), str(target)),
            *("--rtt", str(_ROUND_TRIP), "--bits", str(_BITS)),
        ],
        stdout=subprocess.PIPE,
    )
    try:
        peers.eventually(lambda: peers.listens(line.port), "the line")
        yield line
        running.send_signal(signal.SIGTERM)
        carried = json.loads(running.communicate(timeout=10)[0])
        line.percentage = 100 * carried["there"] / carried["seconds"] / carried["rate"]
    finally:
        running.kill()
        running.wait()


def slow_line(bench: Bench) -> list[Row]:
    """500 messages of 2 KB, all waiting, to peers with and without CHUNKING."""
    return [_to_peer(bench.folder, *each) for each in _PEERS]


def _to_peer(folder: Path, keyword: str, lacks: str, goal: int) -> Row:
    settings = {
        "smtpd_discard_ehlo_keywords": lacks,
        "transport_maps": "static:discard:",
        "relay_domains": "example.com",
    }
    shutil.rmtree(folder / "far", ignore_errors=True)
    (folder / "far").mkdir(parents=True)
    with postfix.running(folder / "far", settings) as far:
        ours, theirs = (
            Measured.of([_percentage(folder / system, starter, far.port)])
            for system, starter in (("gateway", running_gateway), ("postfix", running_postfix))
        )
    work = f"{_MESSAGES} × 2 KB, 600 ms, 2 Mbit/s, to a peer with {keyword}"
    return Row(work, "% of line rate", ours, theirs, at_least(goal, "%"))


def _percentage(root: Path, starter: _Starter, far: int) -> float:
    with _line(far) as line:
        settings = {"defer_transports": "smtp"}
        with starter(root, f"smtp:[127.0.0.1]:{line.port}", settings) as system:
            park(system, _MESSAGES, "user@example.com")
            _drain(system)
    return line.percentage


def _drain(system: System) -> None:
    """Flush until nothing is left."""
    end = time.monotonic() + BOUND
    while system.queued():
        if time.monotonic() > end:
            raise TimeoutError(f"{system.queued()} messages still queued after {BOUND} s")
        system.flush()
        again = time.monotonic() + _FLUSH_AGAIN
        while system.queued() and time.monotonic() < again:
            time.sleep(0.5)
