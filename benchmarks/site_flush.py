"""ETRN for one site's mail among much of others."""

from __future__ import annotations

import smtplib
import time

from benchmarks.bench import DEFERRED, ON_DEMAND, Bench, nexthop_on_demand
from benchmarks.gateway_system import running_gateway
from benchmarks.mail import park
from benchmarks.postfix_system import running_postfix
from benchmarks.row import BOUND, Measured, Row, like_postfix
from benchmarks.sink import CountingSink, counting_sink
from benchmarks.systems import System
from tests import peers

__all__ = ["MANY", "SITE", "etrn", "site_flush"]

SITE = 100
"""Messages of the site."""
_FEW, MANY = 20_000, 500_000
"""Messages of others."""
_ROUNDS = 5


def etrn(system: System, sink: CountingSink) -> float:
    """Seconds from ETRN until the site's mail has arrived, all of it deferred before."""
    park(system, SITE, "user@example.com")
    before = sink.messages
    with smtplib.SMTP("127.0.0.1", system.port, timeout=30) as client:
        client.ehlo()
        start = time.monotonic()
        code, text = client.docmd("ETRN", "example.com")
        assert code == 250, text
        sink.wait(before + SITE, BOUND)
        return time.monotonic() - start


def _settled(system: System, others: int) -> None:
    """What was delivered has left the queue."""
    peers.eventually(lambda: system.queued() == others, f"{others} queued", BOUND, 0.1)


def site_flush(bench: Bench) -> list[Row]:
    """Both among 20 000, which came by SMTP; gatewayd also among 500 000."""
    few, theirs = _among_few(bench)
    many = _among_many(bench)
    work = f"ETRN, a site of {SITE} messages among"
    return [
        Row(f"{work} 20 000", "s", few, theirs, like_postfix(), in_turn=True),
        Row(f"{work} 500 000", "s", many, theirs, like_postfix(" at 20 000")),
    ]


def _among_few(bench: Bench) -> tuple[Measured, Measured]:
    with counting_sink() as sink:
        nexthop = nexthop_on_demand(sink.port)
        with (
            running_gateway(bench.folder / "gateway", nexthop, DEFERRED, ON_DEMAND) as gateway,
            running_postfix(bench.folder / "postfix", nexthop, DEFERRED, ON_DEMAND) as reference,
        ):
            both: list[tuple[System, list[float]]] = [(gateway, []), (reference, [])]
            for system, _ in both:
                park(system, _FEW, "user@others.example")
            for _ in range(_ROUNDS):
                for system, seconds in both:
                    _settled(system, _FEW)
                    seconds.append(etrn(system, sink))
            return Measured.of(both[0][1]), Measured.of(both[1][1])


def _among_many(bench: Bench) -> Measured:
    standing = bench.standing(MANY)
    with (
        counting_sink(port=standing.sink_port) as sink,
        standing.gateway.running() as gateway,
    ):
        seconds = []
        for _ in range(_ROUNDS):
            _settled(gateway, MANY)
            seconds.append(etrn(gateway, sink))
        return Measured.of(seconds)
