"""A run of the benchmarks: where its queues lie, and what several works share."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.gateway_system import GatewayFolder
from tests import peers

__all__ = ["DEFERRED", "ON_DEMAND", "Bench", "StandingQueue", "nexthop_on_demand"]

DEFERRED = {"defer_transports": "ondemand", "relay_domains": "example.com, others.example"}
"""Settings by which mail waits for a flush."""
ON_DEMAND = "ondemand unix - - n - - smtp\n"


def nexthop_on_demand(port: int) -> str:
    """The transport map's value for example.com, and a line for others.example."""
    return f"ondemand:[127.0.0.1]:{port}\nothers.example ondemand:[127.0.0.1]:{port}"


@dataclass(frozen=True, slots=True)
class StandingQueue:
    """A gateway that isn't running, with mail for others.example; its far end's port."""

    gateway: GatewayFolder
    sink_port: int


@dataclass
class Bench:
    """``folder`` takes all queues. A standing queue is filled once, for all works."""

    folder: Path
    _standing: dict[int, StandingQueue] = field(default_factory=dict)

    def standing(self, count: int) -> StandingQueue:
        """A queue of so many messages of others, due in a month."""
        if count not in self._standing:
            self._standing[count] = self._fill(count)
        return self._standing[count]

    def _fill(self, count: int) -> StandingQueue:
        port = peers.free_port()
        gateway = GatewayFolder(self.folder / f"standing-{count}")
        gateway.write(nexthop_on_demand(port), DEFERRED, ON_DEMAND)
        route = f"ondemand:[127.0.0.1]:{port}"
        arguments = [str(gateway.etc), str(count), "others.example", route]
        subprocess.run(
            [sys.executable, "-m", "benchmarks.preload", *arguments], check=True, timeout=600
        )
        return StandingQueue(gateway, port)
