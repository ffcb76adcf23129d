"""Works that flow through: smtp-source to smtp-sink, both systems loaded in turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.gateway_system import running_gateway
from benchmarks.mail import Load
from benchmarks.postfix_system import running_postfix
from benchmarks.processes import cpu_seconds
from benchmarks.row import Measured, Row, times
from benchmarks.sink import CountingSink, counting_sink
from benchmarks.systems import System

__all__ = ["throughput"]

_ROUNDS = 5


@dataclass
class _Contender:
    """A running system and its figures."""

    system: System
    rates: list[float]
    cpu_before: float = 0.0

    def begin(self, warm: Load, sink: CountingSink) -> None:
        warm.carry(self.system, sink)
        self.cpu_before = cpu_seconds(self.system.process)

    def measured(self, load: Load) -> Measured:
        cpu = cpu_seconds(self.system.process) - self.cpu_before
        return Measured.of(self.rates, cpu / (load.messages * len(self.rates)))


def throughput(name: str, load: Load, goal: float) -> Callable[[Bench], list[Row]]:
    """A work: ``goal`` is what gatewayd's rate is to be of Postfix's."""

    def measure(bench: Bench) -> list[Row]:
        ours, theirs = _in_turn(bench, load)
        return [Row(name, "messages/s", ours, theirs, times(goal), in_turn=True)]

    return measure


def _in_turn(bench: Bench, load: Load) -> tuple[Measured, Measured]:
    """gatewayd and Postfix, both running, loaded A B A B …"""
    warm = Load(max(20, load.messages // 10), load.sessions, load.octets, load.recipients)
    with counting_sink() as sink:
        nexthop = f"smtp:[127.0.0.1]:{sink.port}"
        with (
            running_gateway(bench.folder / "gateway", nexthop) as gateway,
            running_postfix(bench.folder / "postfix", nexthop) as reference,
        ):
            both = _Contender(gateway, []), _Contender(reference, [])
            for one in both:
                one.begin(warm, sink)
            for _ in range(_ROUNDS):
                for one in both:
                    one.rates.append(load.carry(one.system, sink))
            ours, theirs = (one.measured(load) for one in both)
            return ours, theirs
