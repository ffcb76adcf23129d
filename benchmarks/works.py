"""The works measured: each gives seconds (less is better) or messages a second (more is)."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.queued import memory_and_start, sendmail, site_flush
from benchmarks.row import BOUND, Row
from benchmarks.sink import CountingSink, counting_sink
from benchmarks.systems import System, running_gateway, running_postfix
from tests import peers, postfix


@dataclass(frozen=True, slots=True)
class Load:
    """What smtp-source sends."""

    messages: int
    sessions: int
    octets: int
    recipients: int = 1

    def send(self, system: System, sink: CountingSink) -> float:
        """Messages a second from the first connection to the last message's arrival."""
        before = sink.messages
        command = [
            peers.require("smtp-source", "postfix"),
            *("-s", str(self.sessions), "-m", str(self.messages), "-l", str(self.octets)),
            *("-r", str(self.recipients), "-f", "sender@bench.test", "-t", "user@example.com"),
            f"127.0.0.1:{system.port}",
        ]
        start = time.monotonic()
        subprocess.run(command, check=True, timeout=BOUND)
        sink.wait(before + self.messages, BOUND)
        return self.messages / (time.monotonic() - start)


def _in_turn(folder: Path, load: Load, rounds: int) -> tuple[float, float]:
    """Medians of (gatewayd, Postfix), both running, loaded in turn: A B A B …"""
    warm = Load(max(20, load.messages // 10), load.sessions, load.octets, load.recipients)
    ours, theirs = [], []
    with counting_sink() as sink:
        nexthop = f"smtp:[127.0.0.1]:{sink.port}"
        with (
            running_gateway(folder / "gateway", nexthop) as gateway,
            running_postfix(folder / "postfix", nexthop) as reference,
        ):
            warm.send(gateway, sink)
            warm.send(reference, sink)
            for _ in range(rounds):
                ours.append(load.send(gateway, sink))
                theirs.append(load.send(reference, sink))
    return statistics.median(ours), statistics.median(theirs)


def _throughput(name: str, load: Load, goal: float, rounds: int = 5) -> Callable[[Path], list[Row]]:
    def measure(folder: Path) -> list[Row]:
        ours, theirs = _in_turn(folder, load, rounds)
        reached = ours / theirs >= goal
        return [Row(name, "messages/s", ours, theirs, f"{goal} × Postfix", reached)]

    return measure


@dataclass(frozen=True, slots=True)
class _Line:
    """The slow line of the issue."""

    rtt: float = 0.6
    bits: float = 2e6

    def rate_used(self, folder: Path, system: str, far: int, messages: int, octets: int) -> float:
        """Share of the line's rate used while ``messages`` go to port ``far``."""
        port = peers.free_port()
        line = subprocess.Popen(
            [
                *(sys.executable, "-m", "benchmarks.line", str(port), str(far)),
                *("--rtt", str(self.rtt), "--bits", str(self.bits)),
            ],
            stdout=subprocess.PIPE,
        )
        try:
            peers.eventually(lambda: peers.listens(port), "the line")
            starter = running_gateway if system == "gatewayd" else running_postfix
            settings = {"defer_transports": "smtp"}
            with starter(folder / system, f"smtp:[127.0.0.1]:{port}", settings) as running:
                _fill(running, messages, octets)
                _drained(running, folder / system, system)
        finally:
            line.send_signal(signal.SIGTERM)
            output, _ = line.communicate(timeout=10)
        carried = json.loads(output)
        share: float = carried["there"] / carried["seconds"] / carried["rate"]
        return share


def _fill(system: System, messages: int, octets: int, recipient: str = "user@example.com") -> None:
    subprocess.run(
        [
            peers.require("smtp-source", "postfix"),
            *("-s", "10", "-m", str(messages), "-l", str(octets)),
            *("-f", "sender@bench.test", "-t", recipient, f"127.0.0.1:{system.port}"),
        ],
        check=True,
        timeout=BOUND,
    )
    peers.eventually(lambda: system.queued() >= messages, "all queued", BOUND, 0.2)


def _release(root: Path, system: str) -> None:
    if system == "gatewayd":
        command = [sys.executable, "-m", "gatewayd.cli.gatewayctl", "postqueue", "-f"]
        environment = {**os.environ, "MAIL_CONFIG": str(root / "etc")}
    else:
        command = [peers.require("postqueue", "postfix"), "-c", str(root / "etc"), "-f"]
        environment = dict(os.environ)
    subprocess.run(command, check=True, env=environment)


def _drained(running: System, root: Path, system: str) -> None:
    """Flush until nothing is left: what comes in during a flush waits for the next."""
    end = time.monotonic() + BOUND
    while running.queued():
        if time.monotonic() > end:
            raise TimeoutError(f"{running.queued()} messages still queued after {BOUND} s")
        _release(root, system)
        quiet = time.monotonic() + 20
        while running.queued() and time.monotonic() < quiet:
            time.sleep(0.5)


def slow_line(folder: Path) -> list[Row]:
    """500 messages of 2 KB over 600 ms and 2 Mbit/s, to peers with and without CHUNKING."""
    rows = []
    for name, keywords, goal in (
        ("to a peer with PIPELINING", "chunking, silent-discard", 0.5),
        ("to a peer with CHUNKING", "silent-discard", 0.8),
    ):
        settings = {
            "smtpd_discard_ehlo_keywords": keywords,
            "transport_maps": "static:discard:",
            "relay_domains": "example.com",
        }
        shares = {}
        with postfix.running(_fresh(folder / "far"), settings) as far:
            for system in ("gatewayd", "Postfix"):
                shares[system] = _Line().rate_used(folder, system, far.port, 500, 2048)
        ours, theirs = shares["gatewayd"] * 100, shares["Postfix"] * 100
        rows.append(
            Row(
                f"500 × 2 KB, 600 ms, 2 Mbit/s, {name}",
                "% of line rate",
                ours,
                theirs,
                f"{goal:.0%} of line rate",
                ours >= goal * 100,
            )
        )
    return rows


def _fresh(folder: Path) -> Path:
    subprocess.run(["rm", "-rf", str(folder)], check=True)
    folder.mkdir(parents=True)
    return folder


WORKS: dict[str, Callable[[Path], list[Row]]] = {
    "many": _throughput("4 KB, 20 sessions", Load(3000, 20, 4096), 3),
    "one": _throughput("4 KB, one session", Load(500, 1, 4096), 1.2),
    "large": _throughput("100 KB, 20 sessions", Load(800, 20, 102400), 2),
    "recipients": _throughput("4 KB, 10 recipients, 20 sessions", Load(1000, 20, 4096, 10), 2),
    "line": slow_line,
    "etrn": site_flush,
    "memory": memory_and_start,
    "sendmail": sendmail,
}
