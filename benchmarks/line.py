"""A line with a round-trip time and a rate: a TCP forwarder in user space.

    python -m benchmarks.line LISTEN_PORT TARGET_PORT [--rtt 0.6] [--bits 2000000]

Octets leave in order at the line's rate, shared by all connections of one direction, and arrive
half a round trip later. A connection is made to the target one round trip after it was accepted,
as the TCP handshake would take over such a line. At the end (SIGTERM) it prints the octets
carried each way and the seconds between the first and the last of them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import time

_IN_FLIGHT = 512 * 1024
"""Octets a sender may have on the way in one connection: a TCP window wide enough for the line."""


class Direction:
    """One way of the line: a rate that its connections share."""

    def __init__(self, octets_per_second: float, delay: float) -> None:
        self.rate = octets_per_second
        self.delay = delay
        self.free_at = 0.0
        self.octets = 0
        self.first = 0.0
        self._carried: list[tuple[float, int]] = []

    def arrival(self, size: int) -> float:
        """When octets handed over now have all arrived at the far end."""
        now = time.monotonic()
        self.first = self.first or now
        self.free_at = max(now, self.free_at) + size / self.rate
        self.octets += size
        self._carried.append((self.free_at, self.octets))
        return self.free_at + self.delay

    def seconds(self) -> float:
        """From the first octet until all but a hundredth was carried: QUIT comes when it likes."""
        enough = self.octets * 0.99
        end = next((at for at, octets in self._carried if octets >= enough), self.first)
        return end - self.first

    async def carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """Move a connection's octets until its source ends."""
        underway: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_IN_FLIGHT // 1460)
        arriving = asyncio.create_task(self._arrive(underway, target))
        try:
            while octets := await source.read(1460):
                await underway.put((self.arrival(len(octets)), octets))
            await underway.put((time.monotonic() + self.delay, b""))
            await arriving
        except ConnectionError:
            arriving.cancel()
        finally:
            target.close()

    @staticmethod
    async def _arrive(
        underway: asyncio.Queue[tuple[float, bytes]], target: asyncio.StreamWriter
    ) -> None:
        while True:
            at, octets = await underway.get()
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            if not octets:
                return
            target.write(octets)
            await target.drain()


class Line:
    """A listening end, a target, and the two directions between them."""

    def __init__(self, target: int, rtt: float, bits: float) -> None:
        self.target = target
        self.rtt = rtt
        self.there = Direction(bits / 8, rtt / 2)
        self.back = Direction(bits / 8, rtt / 2)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self.rtt)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(
            self.there.carry(reader, far_writer),
            self.back.carry(far_reader, writer),
            return_exceptions=True,
        )

    def report(self) -> str:
        """What was carried, as JSON."""
        return json.dumps(
            {
                "there": self.there.octets,
                "back": self.back.octets,
                "seconds": self.there.seconds(),
                "rate": self.there.rate,
            }
        )


async def _serve(line: Line, port: int) -> None:
    server = await asyncio.start_server(line.connected, "127.0.0.1", port)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with server:
        await stopped.wait()
        print(line.report(), flush=True)
        # Connections that are open still are of no interest any more.
        os._exit(0)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="A slow line between two local ports.")
    parser.add_argument("port", type=int)
    parser.add_argument("target", type=int)
    parser.add_argument("--rtt", type=float, default=0.6, help="seconds, there and back")
    parser.add_argument("--bits", type=float, default=2e6, help="per second, each way")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(Line(options.target, options.rtt, options.bits), options.port))


if __name__ == "__main__":
    main()
