"""Works with many messages queued: a site's flush, memory, start; and the sendmail command."""

from __future__ import annotations

import os
import re
import signal
import smtplib
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.row import BOUND, Row
from benchmarks.sink import CountingSink, counting_sink
from benchmarks.systems import (
    GatewaySystem,
    System,
    running_gateway,
    running_postfix,
    start_gateway,
    write_gateway,
)
from tests import peers

_SITE = 100
_FEW, _MANY = 20_000, 500_000
_SETTINGS = {"defer_transports": "ondemand", "relay_domains": "example.com, others.example"}
_SERVICE = "ondemand unix - - n - - smtp\n"


def _nexthop(port: int) -> str:
    return f"ondemand:[127.0.0.1]:{port}\nothers.example ondemand:[127.0.0.1]:{port}"


def _send(system: System, count: int, recipient: str) -> None:
    command = [
        *(peers.require("smtp-source", "postfix"), "-s", "20", "-m", str(count), "-l", "2048"),
        *("-f", "sender@bench.test", "-t", recipient, f"127.0.0.1:{system.port}"),
    ]
    before = system.queued()
    subprocess.run(command, check=True, timeout=BOUND)
    peers.eventually(lambda: system.queued() >= before + count, "all queued", BOUND, 0.5)


def _etrn(system: System, sink: CountingSink) -> float:
    """Seconds from ETRN's 250 until the site's mail has arrived."""
    before = sink.messages
    with smtplib.SMTP("127.0.0.1", system.port, timeout=30) as client:
        client.ehlo()
        code, text = client.docmd("ETRN", "example.com")
        start = time.monotonic()
        assert code == 250, text
        sink.wait(before + _SITE, BOUND)
        return time.monotonic() - start


def _preload(gateway_root: Path, port: int, count: int) -> None:
    route = f"ondemand:[127.0.0.1]:{port}"
    arguments = [str(gateway_root / "etc"), str(count), "others.example", route]
    subprocess.run([sys.executable, "-m", "benchmarks.preload", *arguments], check=True)


def _prepared(root: Path, port: int, count: int) -> None:
    """A gateway's folder with so many messages of others queued."""
    subprocess.run(["rm", "-rf", str(root)], check=True)
    root.mkdir(parents=True)
    write_gateway(root, peers.free_port(), _nexthop(port), _SETTINGS, _SERVICE)
    (root / "queue").mkdir()
    _preload(root, port, count)


def _our_etrn(root: Path, sink: CountingSink, count: int) -> list[float]:
    _prepared(root, sink.port, count)
    with running_gateway(root, _nexthop(sink.port), _SETTINGS, _SERVICE, keep=True) as gateway:
        seconds = []
        for _ in range(3):
            _send(gateway, _SITE, "user@example.com")
            seconds.append(_etrn(gateway, sink))
        return seconds


def site_flush(folder: Path) -> list[Row]:
    """ETRN for a site of 100 messages among 20 000 and 500 000 of others."""
    with counting_sink() as sink:
        nexthop = _nexthop(sink.port)
        with running_postfix(folder / "postfix", nexthop, _SETTINGS, _SERVICE) as reference:
            _send(reference, _FEW, "user@others.example")
            theirs = []
            for _ in range(3):
                _send(reference, _SITE, "user@example.com")
                theirs.append(_etrn(reference, sink))
        few = statistics.median(_our_etrn(folder / "gateway", sink, _FEW))
        many = statistics.median(_our_etrn(folder / "gateway", sink, _MANY))
    postfix = statistics.median(theirs)
    work = "ETRN, a site of 100 among"
    return [
        Row(f"{work} 20 000", "s", few, postfix, "≤ Postfix", few <= postfix),
        Row(f"{work} 500 000", "s", many, postfix, "≤ Postfix at 20 000", many <= postfix),
    ]


def _resident(process: int) -> float:
    """Megabytes of memory."""
    text = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", text)
    assert found is not None
    return int(found[1]) / 1024


def memory_and_start(folder: Path) -> list[Row]:
    """Memory when idle and with 500 000 messages queued; seconds until mail is accepted."""
    with counting_sink() as sink:
        nexthop = _nexthop(sink.port)
        with running_gateway(folder / "idle", nexthop, _SETTINGS, _SERVICE) as gateway:
            idle = _resident(gateway.process.pid)
        _prepared(folder / "gateway", sink.port, _MANY)
        start, loaded = _start(folder / "gateway", sink)
    return [
        Row("idle memory", "MB", idle, None, "≤ 70 MB", idle <= 70),
        Row("memory, 500 000 queued", "MB", loaded, None, "≤ 150 MB", loaded <= 150),
        Row("start, 500 000 queued, to accepting", "s", start, None, "≤ 3 s", start <= 3),
    ]


def _start(root: Path, sink: CountingSink) -> tuple[float, float]:
    port = peers.free_port()
    write_gateway(root, port, _nexthop(sink.port), _SETTINGS, _SERVICE)
    begun = time.monotonic()
    process = start_gateway(root)
    try:
        peers.eventually(lambda: _greets(port), "gatewayd accepting", step=0.01)
        seconds = time.monotonic() - begun
        system = GatewaySystem(root, port, process)
        _send(system, _SITE, "user@example.com")
        _etrn(system, sink)
        system.ctl("postqueue", "-p")
        return seconds, _resident(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _greets(port: int) -> bool:
    try:
        with smtplib.SMTP("127.0.0.1", port, timeout=5) as client:
            return client.ehlo()[0] == 250
    except (OSError, smtplib.SMTPException):
        return False


def sendmail(folder: Path) -> list[Row]:
    """Seconds that the sendmail command takes for a small message."""
    with (
        counting_sink() as sink,
        running_gateway(folder / "gateway", f"smtp:[127.0.0.1]:{sink.port}") as gateway,
    ):
        ours = statistics.median(_sendmail_seconds(gateway) for _ in range(9))
    return [Row("sendmail command", "s", ours, None, "≤ 0.15 s", ours <= 0.15)]


def _sendmail_seconds(gateway: GatewaySystem) -> float:
    environment = {**os.environ, "MAIL_CONFIG": str(gateway.root / "etc")}
    command = [sys.executable, "-m", "gatewayd.cli.gatewayctl", "sendmail", "user@example.com"]
    start = time.monotonic()
    subprocess.run(command, input=b"Subject: x\n\nHello\n", check=True, env=environment, timeout=30)
    return time.monotonic() - start
