"""One busy, slow destination and one huge message never starve others."""

from __future__ import annotations

import smtplib
import time
from pathlib import Path

from tests.gateway_process import GatewayProcess, gateway
from tests.mail_sink import MailSink, mail_sink
from tests.peers import eventually, sink

_NARROW = "narrow unix - - n - 2 smtp\n"


def _seconds_to_arrive(ours: GatewayProcess, recipient: str, to: MailSink) -> float:
    before = len(to.messages)
    began = time.monotonic()
    ours.send(recipient, "Subject: x\n\nx")
    eventually(lambda: len(to.messages) > before, f"mail for {recipient}")
    return time.monotonic() - began


def test_a_slow_destination_and_a_huge_message_leave_others_their_turns(tmp_path: Path) -> None:
    """Hundreds wait for a slow host, one of them for a thousand; 30 MB for one that's stuck."""
    with sink("-H", "60") as stuck, mail_sink() as slow, mail_sink() as quick:
        slow.pause = 0.2
        transport = (
            f"slow.example smtp:[127.0.0.1]:{slow.port}\n"
            f"stuck.example smtp:[127.0.0.1]:{stuck}\n"
            f"quick.example smtp:[127.0.0.1]:{quick.port}\n"
            f"slow2.example narrow:[127.0.0.1]:{slow.port}\n"
            f"quick2.example narrow:[127.0.0.1]:{quick.port}\n"
        )
        settings = {"message_size_limit": "50000000", "stop_time_limit": "1s"}
        with gateway(tmp_path, transport, settings, _NARROW) as ours:
            with smtplib.SMTP("127.0.0.1", ours.port, timeout=30) as client:
                huge = "Subject: huge\n\n" + ("x" * 70 + "\n") * 420_000
                client.sendmail("s@example.org", ["a@stuck.example"], huge)
                crowd = [f"r{number}@slow.example" for number in range(1000)]
                client.sendmail("s@example.org", crowd, "Subject: crowd\n\nx")
            ours.fill("a@slow.example", 300)
            assert max(_seconds_to_arrive(ours, "a@quick.example", quick) for _ in range(5)) < 2
            # Where the slow one's mail takes every lane that a transport has, it gives one up
            # after its turn of ten messages: two seconds here.
            ours.fill("a@slow2.example", 100)
            assert _seconds_to_arrive(ours, "a@quick2.example", quick) < 4
            assert len(slow.messages) < 300
