"""SIGKILL under load: whatever got its 250 arrives, sooner or later."""

from __future__ import annotations

import random
import re
import smtplib
import threading
import time
from pathlib import Path

from tests.gateway_process import GatewayProcess
from tests.mail_sink import MailSink, mail_sink
from tests.peers import eventually

_CYCLES = 12
_SENDERS = 6


class _Load:
    """Senders that go on through crashes, and note what was acknowledged."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.acknowledged: set[str] = set()
        self.ended = threading.Event()
        self.threads = [
            threading.Thread(target=self._send, args=(number,)) for number in range(_SENDERS)
        ]

    def _send(self, number: int) -> None:
        count = 0
        while not self.ended.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", self.port, timeout=10) as client:
                    while not self.ended.is_set():
                        count += 1
                        name = f"mark-{number}-{count}-end"
                        text = f"Subject: {name}\n\n" + "x" * random.choice((10, 3000, 90000))
                        client.sendmail("s@example.org", ["r@example.com"], text)
                        self.acknowledged.add(name)
            except (OSError, smtplib.SMTPException):
                self.ended.wait(0.05)


def _marks(sink: MailSink) -> list[str]:
    found = (re.search(rb"Subject: (mark-\d+-\d+-end)\r\n", each) for each in list(sink.messages))
    return [match[1].decode() for match in found if match]


def test_no_acknowledged_message_is_lost(tmp_path: Path) -> None:
    chance = random.Random(7)
    with mail_sink() as sink:
        ours = GatewayProcess(tmp_path / "gateway", f"example.com smtp:[127.0.0.1]:{sink.port}\n")
        ours.start()
        load = _Load(ours.port)
        for thread in load.threads:
            thread.start()
        for _ in range(_CYCLES):
            time.sleep(chance.uniform(0.1, 0.8))  # the moment of the kill is the test's input
            ours.kill()
            ours.start()
        load.ended.set()
        for thread in load.threads:
            thread.join(30)
        eventually(ours.is_empty, "the queue drained", 60, 0.2)
        ours.stop()
    arrived = _marks(sink)
    lost = load.acknowledged - set(arrived)
    print(f"{len(load.acknowledged)} acknowledged, {len(arrived) - len(set(arrived))} doubled")
    assert len(load.acknowledged) > 100
    assert not lost, sorted(lost)[:10]
