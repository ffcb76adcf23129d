"""SIGKILL under load: whatever got its 250 arrives, sooner or later."""

from __future__ import annotations

import random
import time
from pathlib import Path

from tests.gateway_process import GatewayProcess
from tests.load import load, marks
from tests.mail_sink import mail_sink
from tests.peers import eventually

_CYCLES = 12


def test_no_acknowledged_message_is_lost(tmp_path: Path) -> None:
    chance = random.Random(7)
    with mail_sink() as sink:
        ours = GatewayProcess(tmp_path / "gateway", f"example.com smtp:[127.0.0.1]:{sink.port}\n")
        ours.start()
        with load(ours.port) as senders:
            for _ in range(_CYCLES):
                time.sleep(chance.uniform(0.1, 0.8))  # the moment of the kill is the test's input
                ours.kill()
                ours.start()
        eventually(ours.is_empty, "the queue drained", 60, 0.2)
        ours.stop()
    arrived = marks(sink.messages)
    lost = senders.acknowledged - set(arrived)
    print(f"{len(senders.acknowledged)} acknowledged, {len(arrived) - len(set(arrived))} doubled")
    assert len(senders.acknowledged) > 100
    assert not lost, sorted(lost)[:10]
