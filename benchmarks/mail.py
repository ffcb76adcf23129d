"""Mail that smtp-source sends."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass

from benchmarks.row import BOUND
from benchmarks.sink import CountingSink
from benchmarks.systems import System
from tests import peers

__all__ = ["Load", "park"]


@dataclass(frozen=True, slots=True)
class Load:
    """So many messages of so many octets, over several sessions at a time."""

    messages: int
    sessions: int
    octets: int
    recipients: int = 1

    def send(self, system: System, recipient: str = "user@example.com") -> None:
        """Until the last is acknowledged."""
        command = [
            peers.require("smtp-source", "postfix"),
            *("-s", str(self.sessions), "-m", str(self.messages), "-l", str(self.octets)),
            *("-r", str(self.recipients), "-f", "sender@bench.test", "-t", recipient),
            f"127.0.0.1:{system.port}",
        ]
        subprocess.run(command, check=True, timeout=BOUND)

    def carry(self, system: System, sink: CountingSink) -> float:
        """Messages a second from the first connection to the last message's arrival."""
        before = sink.messages
        start = time.monotonic()
        self.send(system)
        sink.wait(before + self.messages, BOUND)
        return self.messages / (time.monotonic() - start)


def park(system: System, messages: int, recipient: str) -> None:
    """Send messages of 2 KB that are deferred, and wait until they are."""
    before = system.deferred()
    Load(messages, 20, 2048).send(system, recipient)
    peers.eventually(
        lambda: system.deferred() == before + messages, f"{messages} deferred", BOUND, 0.2
    )
