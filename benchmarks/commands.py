"""What the commands take that run for each mail, or that people wait for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from benchmarks.bench import DEFERRED, ON_DEMAND, Bench, nexthop_on_demand
from benchmarks.gateway_system import running_gateway
from benchmarks.mail import park
from benchmarks.postfix_system import running_postfix
from benchmarks.row import Goal, Measured, Row, at_most
from benchmarks.sink import counting_sink

__all__ = ["commands"]

_ROUNDS = 15
_TEXT = b"Subject: x\n\nHello\n"
_QUEUED = 100


def commands(bench: Bench) -> list[Row]:
    """sendmail for a small message; a list of 100; a flush, which is asked for only."""
    with counting_sink() as sink:
        nexthop = nexthop_on_demand(sink.port)
        with (
            running_gateway(bench.folder / "gateway", nexthop, DEFERRED, ON_DEMAND) as gateway,
            running_postfix(bench.folder / "postfix", nexthop, DEFERRED, ON_DEMAND) as reference,
        ):
            for system in (gateway, reference):
                park(system, _QUEUED, "user@example.com")

            def row(name: str, goal: Goal | None, *command: str) -> Row:
                ours, theirs = _in_turn(
                    lambda: gateway.folder.run(*command, text=_TEXT),
                    lambda: reference.run(*command, text=_TEXT),
                )
                return Row(name, "s", ours, theirs, goal, in_turn=True)

            return [
                row("postqueue -p, 100 queued", None, "postqueue", "-p"),
                row("sendmail", at_most(0.15, "s"), "sendmail", "user@others.example"),
                row("postqueue -f", None, "postqueue", "-f"),
            ]


def _in_turn(ours: Callable[[], object], theirs: Callable[[], object]) -> Iterator[Measured]:
    both: list[tuple[Callable[[], object], list[float]]] = [(ours, []), (theirs, [])]
    for _ in range(_ROUNDS):
        for run, seconds in both:
            start = time.monotonic()
            run()
            seconds.append(time.monotonic() - start)
    return (Measured.of(seconds) for _, seconds in both)
