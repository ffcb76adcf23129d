"""G18: loops end, also those of reports about loops."""

from __future__ import annotations

import re
from pathlib import Path

from tests.gateway_process import GatewayProcess
from tests.mail_sink import mail_sink
from tests.peers import eventually


def test_all_mail_to_ourselves_ends_with_nothing_left(tmp_path: Path) -> None:
    """By a port that isn't 25, so that only the hops tell: the message, the report about it and
    the postmaster's notice of the report's failure all go round until they are refused."""
    ours = GatewayProcess(
        tmp_path / "gateway", "", {"hopcount_limit": "10", "notify_classes": "2bounce"}
    )
    ours.write("transport", f"* smtp:[127.0.0.1]:{ours.port}\n")
    ours.start()
    try:
        ours.send("a@example.com", "Subject: round and round\n\nx")
        eventually(ours.is_empty, "an empty queue", 30, 0.2)
        ours.wait_log(r"to=<a@example.com>.*dsn=5\.4\.0, status=bounced \(.*too many hops")
        assert len(re.findall(r"to=<a@example.com>.*status=sent", ours.log())) == 8
        assert ours.is_empty()
    finally:
        ours.stop()


def test_two_gateways_that_send_to_each_other_end_it(tmp_path: Path) -> None:
    """The sender is told, once."""
    with mail_sink() as senders:
        limits = {"hopcount_limit": "20"}
        one = GatewayProcess(tmp_path / "one", "", limits)
        two = GatewayProcess(tmp_path / "two", "", {**limits, "myhostname": "two.test"})
        for ours, other in ((one, two), (two, one)):
            ours.write(
                "transport",
                f"example.com smtp:[127.0.0.1]:{other.port}\n* smtp:[127.0.0.1]:{senders.port}\n",
            )
            ours.start()
        try:
            one.send("a@example.com", "Subject: to and fro\n\nx")
            eventually(lambda: senders.messages, "the report")
            eventually(lambda: one.is_empty() and two.is_empty(), "both queues empty")
        finally:
            one.stop()
            two.stop()
    [report] = senders.messages
    assert b"too many hops" in report
    received = re.findall(rb"^Received: .*\n?.*by (\S+)", report, re.M)
    assert {b"gateway.test", b"two.test"} <= set(received)
