"""G26: stop and reload under load lose nothing, repeat nothing, and end in time."""

from __future__ import annotations

import os
import re
import signal
import smtplib
import time
from pathlib import Path

from tests.gateway_process import GatewayProcess, gateway
from tests.load import load, marks
from tests.mail_sink import mail_sink
from tests.peers import eventually, free_port


def test_sigterm_under_load(tmp_path: Path) -> None:
    """Nothing that was acknowledged is lost; running deliveries end, so nothing comes twice."""
    with mail_sink() as sink:
        sink.pause = 0.01
        ours = GatewayProcess(tmp_path / "gateway", f"example.com smtp:[127.0.0.1]:{sink.port}\n")
        ours.start()
        with load(ours.port) as senders:
            for cycle in range(4):
                enough = 50 * (cycle + 1)
                eventually(lambda: len(senders.acknowledged) > enough, "some load")  # noqa: B023
                began = time.monotonic()
                assert ours.stop() == 0
                assert time.monotonic() - began < 10
                ours.start()
        eventually(ours.is_empty, "the queue drained", 60, 0.2)
        ours.stop()
    arrived = marks(sink.messages)
    assert senders.acknowledged <= set(arrived)
    assert len(arrived) == len(set(arrived))


def test_reload_under_load(tmp_path: Path) -> None:
    """By command and by SIGHUP, good ones and bad ones: no client and no delivery notices.

    What comes in afterwards takes the new route, though its session is older.
    """
    with mail_sink() as sink, mail_sink() as other:
        sink.pause = other.pause = 0.01
        table = f"example.com smtp:[127.0.0.1]:{sink.port}\n"
        with gateway(tmp_path, table) as ours:
            assert ours.process is not None
            with load(ours.port) as senders:
                for cycle in range(6):
                    enough = 40 * (cycle + 1)
                    eventually(lambda: len(senders.acknowledged) > enough, "some load")  # noqa: B023
                    target = (sink, other)[cycle % 2]
                    ours.write("transport", f"example.com smtp:[127.0.0.1]:{target.port}\n")
                    if cycle == 2:
                        ours.configure({"smtpd_timeout": "soon"})
                        assert ours.daemon("reload").returncode == 78
                        ours.configure({})
                    elif cycle % 2:
                        assert ours.daemon("reload").returncode == 0
                    else:
                        ours.process.send_signal(signal.SIGHUP)
                        count = cycle - (cycle > 2) + 1
                        ours.wait_log(rf"(?:reload -- configuration[\s\S]*){{{count}}}")
            assert senders.errors == []
            eventually(ours.is_empty, "the queue drained", 60, 0.2)
        arrived = marks(sink.messages) + marks(other.messages)
        assert set(arrived) == senders.acknowledged
        assert len(arrived) == len(set(arrived))
        assert marks(sink.messages)
        assert marks(other.messages)


def test_a_delivery_that_does_not_end_is_put_back(tmp_path: Path) -> None:
    """The stop has its bound, also by ``gatewayd stop``; the next start tries at once."""
    with mail_sink() as stuck, mail_sink() as quick:
        stuck.pause = 600
        table = f"example.com smtp:[127.0.0.1]:{stuck.port}\n"
        with gateway(tmp_path, table, {"stop_time_limit": "1s"}) as ours:
            queue_id = ours.send("a@example.com", "Subject: stuck\n\nx")
            eventually(lambda: stuck.messages, "the delivery under way")
            began = time.monotonic()
            assert ours.daemon("stop").returncode == 0
            assert 1 <= time.monotonic() - began < 8
            assert not re.search(rf"{queue_id}: .*status=", ours.log())
            assert re.search(rf"^{queue_id} ", ours.queue(), re.M)
            # Another table by then: the start looks the routes up again.
            ours.write("transport", f"example.com smtp:[127.0.0.1]:{quick.port}\n")
            ours.start()
            eventually(lambda: quick.messages, "the message by the new route")


def test_a_start_follows_what_the_files_say_by_then(tmp_path: Path) -> None:
    """Deferred mail that isn't due yet has its new route in the queue all the same."""
    old, new = free_port(), free_port()
    with gateway(tmp_path, f"example.com smtp:[127.0.0.1]:{old}\n") as ours:
        ours.send("a@example.com", "Subject: x\n\nx")
        ours.wait_log("status=deferred")
        ours.stop()
        ours.write("transport", f"example.com smtp:[127.0.0.1]:{new}\n")
        ours.start()
        eventually(
            lambda: f'"[127.0.0.1]:{new}"' in ours.ctl("postqueue", "-j").stdout, "new route"
        )
        assert ours.log().count("status=deferred") == 1


def test_a_client_in_its_transaction_may_finish_it(tmp_path: Path) -> None:
    """A stop lets who is sending end the message, and answers the others 421."""
    with gateway(tmp_path, "* discard:\n") as ours:
        busy = smtplib.SMTP("127.0.0.1", ours.port, timeout=10)
        idle = smtplib.SMTP("127.0.0.1", ours.port, timeout=10)
        for client in (busy, idle):
            client.ehlo()
        busy.mail("a@example.org")
        busy.rcpt("b@example.com")
        assert ours.process is not None
        os.kill(ours.process.pid, signal.SIGTERM)
        assert idle.getreply()[0] == 421
        code, text = busy.data("Subject: last\n\nx")
        assert code == 250
        assert ours.process.wait(20) == 0
        queue_id = text.decode().rpartition(" ")[2]
        assert queue_id in ours.log()
        assert queue_id in ours.queue() or f"{queue_id}: removed" in ours.log()
