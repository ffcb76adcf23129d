"""Senders that go on through crashes and restarts, and know what was acknowledged."""

from __future__ import annotations

import random
import re
import smtplib
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

__all__ = ["Load", "load", "marks"]


class Load:
    """``acknowledged``: the marks of the messages that got their 250. ``errors``: what failed."""

    def __init__(self, port: int, senders: int) -> None:
        self._port = port
        self.acknowledged: set[str] = set()
        self.errors: list[str] = []
        self.ended = threading.Event()
        self.threads = [
            threading.Thread(target=self._send, args=(number,)) for number in range(senders)
        ]

    def _send(self, number: int) -> None:
        count = 0
        while not self.ended.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", self._port, timeout=10) as client:
                    while not self.ended.is_set():
                        count += 1
                        name = f"mark-{number}-{count}-end"
                        text = f"Subject: {name}\n\n" + "x" * random.choice((10, 3000, 90000))
                        client.sendmail("s@example.org", ["r@example.com"], text)
                        self.acknowledged.add(name)
            except (OSError, smtplib.SMTPException) as error:
                self.errors.append(repr(error))
                self.ended.wait(0.05)


@contextmanager
def load(port: int, senders: int = 6) -> Iterator[Load]:
    """So many senders to 127.0.0.1, for r@example.com, until the end of the block."""
    running = Load(port, senders)
    for thread in running.threads:
        thread.start()
    try:
        yield running
    finally:
        running.ended.set()
        for thread in running.threads:
            thread.join(30)


def marks(messages: Iterable[bytes]) -> list[str]:
    """The marks of messages received, as they came."""
    found = (re.search(rb"Subject: (mark-\d+-\d+-end)\r\n", each) for each in list(messages))
    return [match[1].decode() for match in found if match]
