"""What a queue that stands costs: memory, and the time of a start."""

from __future__ import annotations

import signal
import smtplib
import subprocess
import time

from benchmarks.bench import Bench, StandingQueue
from benchmarks.gateway_system import GatewayFolder, GatewaySystem, installed, running_gateway
from benchmarks.mail import Load
from benchmarks.processes import memory, peak_memory
from benchmarks.row import BOUND, Measured, Row, at_most
from benchmarks.sink import CountingSink, counting_sink
from benchmarks.site_flush import MANY, etrn
from tests import peers

__all__ = ["memory_and_start"]

_STARTS = 3
_SPELL = 10.0
"""Seconds that a flush of everything is watched."""


def memory_and_start(bench: Bench) -> list[Row]:
    """Memory after a little work and at rest; with 500 000 queued; seconds of starts."""
    idle = Measured.of([_idle(bench)])
    standing = bench.standing(MANY)
    starts = Measured.of([_start_seconds(standing.gateway) for _ in range(_STARTS)])
    peak = Measured.of([_peak(standing)])
    return [
        Row("idle memory", "MB", idle, goal=at_most(70, "MB")),
        Row("memory, 500 000 queued, at its peak", "MB", peak, goal=at_most(150, "MB")),
        Row("start to accepting, 500 000 queued", "s", starts, goal=at_most(3, "s")),
    ]


def _idle(bench: Bench) -> float:
    """After a thousand messages over 20 sessions, at rest again."""
    with counting_sink() as sink:
        nexthop = f"smtp:[127.0.0.1]:{sink.port}"
        with running_gateway(bench.folder / "gateway", nexthop) as gateway:
            Load(1000, 20, 4096).carry(gateway, sink)
            peers.eventually(lambda: not gateway.queued(), "an empty queue", BOUND)
            return memory(gateway.process)


def _start_seconds(gateway: GatewayFolder) -> float:
    """From the command until a client is greeted."""
    start = time.monotonic()
    system = gateway.start()
    try:
        peers.eventually(lambda: _greets(gateway.port), "gatewayd accepting", step=0.01)
        return time.monotonic() - start
    finally:
        system.running.send_signal(signal.SIGTERM)
        system.running.wait(60)


def _greets(port: int) -> bool:
    try:
        with smtplib.SMTP("127.0.0.1", port, timeout=5) as client:
            return client.ehlo()[0] == 250
    except (OSError, smtplib.SMTPException):
        return False


def _peak(standing: StandingQueue) -> float:
    """The peak over a site's flush, a list that is read, one that is not, and a flush of all."""
    with (
        counting_sink(port=standing.sink_port) as sink,
        standing.gateway.running() as gateway,
    ):
        etrn(gateway, sink)
        standing.gateway.run("mailq")
        _lists_and_flushes(gateway, sink)
        return peak_memory(gateway.process)


def _lists_and_flushes(gateway: GatewaySystem, sink: CountingSink) -> None:
    """A flush of everything, watched for a while, beside a list that nobody reads on."""
    command = [str(installed("gatewayctl")), "mailq"]
    pager = subprocess.Popen(command, stdout=subprocess.PIPE, env=gateway.folder.environment)
    try:
        assert pager.stdout is not None
        pager.stdout.readline()
        before = sink.messages
        gateway.flush()
        time.sleep(_SPELL)
        assert sink.messages > before
    finally:
        pager.kill()
        pager.communicate()
