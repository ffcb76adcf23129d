"""smtp-sink as the far end, counting what arrives."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests import peers

_MESSAGES = re.compile(rb"mesg=(\d+)")


class CountingSink:
    """A running smtp-sink -c: its own count of complete messages, as it prints it."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.port = port
        self._process = process
        self._changed = threading.Condition()
        self._count = 0
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def messages(self) -> int:
        return self._count

    def wait(self, count: int, seconds: float) -> None:
        """Until so many messages have arrived. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._count >= count, seconds):
                raise TimeoutError(f"{self._count} of {count} messages arrived in {seconds} s")

    def _read(self) -> None:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        rest = b""
        while octets := os.read(descriptor, 65536):
            rest = (rest + octets)[-200:]
            found = _MESSAGES.findall(rest)
            if found:
                with self._changed:
                    self._count = int(found[-1])
                    self._changed.notify_all()


@contextmanager
def counting_sink(*options: str, port: int | None = None) -> Iterator[CountingSink]:
    """smtp-sink on this port, or a free one."""
    port = port or peers.free_port()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = subprocess.Popen(
        [peers.require("smtp-sink", "postfix"), "-c", *user, *options, f"127.0.0.1:{port}", "500"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        peers.eventually(lambda: peers.listens(port), "smtp-sink")
        yield CountingSink(port, process)
    finally:
        process.kill()
        process.wait()
