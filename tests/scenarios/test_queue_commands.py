"""The operator's commands, one after the other, on a running gateway and beside a stopped one."""

from __future__ import annotations

import json
import re
import smtplib
from pathlib import Path
from typing import Any

from tests.gateway_process import GatewayProcess, gateway
from tests.mail_sink import mail_sink
from tests.peers import eventually

_ONDEMAND = "ondemand unix - - n - - smtp\n"
_HELD_BACK = r"dsn=4\.3\.2, status=deferred \(deferred transport\)"


def _entries(ours: GatewayProcess) -> dict[str, dict[str, Any]]:
    lines = ours.ctl("postqueue", "-j").stdout.splitlines()
    return {entry["queue_id"]: entry for entry in map(json.loads, lines)}


def _subjects(messages: list[bytes]) -> list[str]:
    return sorted(re.search(rb"\nSubject: (.*)\r", each)[1].decode() for each in messages)


def test_each_way_to_flush_releases_what_it_names(tmp_path: Path) -> None:
    """S3 and S5, in every form of the books; what is on hold stays."""
    settings = {"defer_transports": "ondemand", "relay_domains": "example.com, other.example"}
    with mail_sink() as sink:
        table = f"* ondemand:[127.0.0.1]:{sink.port}\n"
        with gateway(tmp_path, table, settings, _ONDEMAND) as ours:

            def wait_for(*subjects: str) -> None:
                eventually(lambda: len(sink.messages) >= len(subjects), f"{subjects}")
                assert _subjects(sink.messages) == sorted(subjects)
                sink.messages.clear()

            def send(recipient: str, subject: str) -> str:
                queue_id = ours.send(recipient, f"Subject: {subject}\n\nx")
                ours.wait_log(f"{queue_id}: .*{_HELD_BACK}")
                return queue_id

            first = send("a@example.com", "first")
            second = send("a@example.com", "second")
            other = send("a@other.example", "other")
            held = send("a@example.com", "held")
            assert ours.ctl("postsuper", "-h", held).returncode == 0

            assert ours.ctl("postqueue", "-i", second).returncode == 0
            wait_for("second")
            assert ours.ctl("postqueue", "-i", "NOSUCHID00").returncode == 0
            refused = ours.ctl("postqueue", "-i", "no/id")
            assert (refused.returncode, "invalid name" in refused.stderr) == (69, True)

            assert ours.ctl("sendmail", "-qRexample.com").returncode == 0
            wait_for("first")
            send("a@example.com", "book")
            assert ours.ctl("postqueue", "-f", "example.com").returncode == 0
            wait_for("book")
            send("a@example.com", "etrn")
            with smtplib.SMTP("127.0.0.1", ours.port, timeout=30) as client:
                assert client.docmd("ETRN", "example.com") == (250, b"Queuing started")
            wait_for("etrn")
            assert ours.ctl("sendmail", "-q").returncode == 0
            wait_for("other")
            assert set(_entries(ours)) == {held}

            refused = ours.ctl("postqueue", "-s", "elsewhere.example")
            assert refused.returncode == 69
            assert "Flush service is not configured for destination" in refused.stderr
            refused = ours.ctl("postqueue", "-s", "bad..name")
            assert "invalid destination" in refused.stderr
            assert {first, other} & set(_entries(ours)) == set()


def test_a_flush_by_site_takes_the_rest_of_each_message_along(tmp_path: Path) -> None:
    """All recipients that a listed message has left, of other domains too; no other message."""
    settings = {"defer_transports": "ondemand", "relay_domains": "example.com, other.example"}
    with mail_sink() as sink:
        table = f"* ondemand:[127.0.0.1]:{sink.port}\n"
        with gateway(tmp_path, table, settings, _ONDEMAND) as ours:
            with smtplib.SMTP("127.0.0.1", ours.port, timeout=30) as client:
                both = ["a@example.com", "b@other.example"]
                client.sendmail("s@example.org", both, "Subject: both\n\nx")
            alone = ours.send("c@other.example", "Subject: alone\n\nx")
            sub = ours.send("d@sub.example.com", "Subject: sub\n\nx")
            ours.wait_log(f"{sub}: .*{_HELD_BACK}")
            assert ours.ctl("postqueue", "-s", "example.com").returncode == 0
            ours.wait_log("to=<a@example.com>.*status=sent")
            ours.wait_log("to=<b@other.example>.*status=sent")
            eventually(lambda: set(_entries(ours)) == {alone, sub}, "the rest left")


def test_dial_up_all_outbound_mail_waits_for_the_line(tmp_path: Path) -> None:
    """S6: defer_transports = smtp by a reload; postqueue -f sends all; later mail waits again."""
    with mail_sink() as sink, gateway(tmp_path, f"* smtp:[127.0.0.1]:{sink.port}\n") as ours:
        ours.configure({"defer_transports": "smtp"})
        assert ours.daemon("reload").returncode == 0
        for number in range(5):
            ours.send(f"a@far{number}.example", "Subject: x\n\nx")
        ours.wait_log(rf"(?:{_HELD_BACK}[\s\S]*){{5}}")
        assert not sink.connections
        assert "Requests" in ours.ctl("mailq").stdout
        assert ours.ctl("postqueue", "-f").returncode == 0
        eventually(lambda: len(sink.messages) == 5, "all of it")
        later = ours.send("a@far.example", "Subject: later\n\nx")
        ours.wait_log(f"{later}: .*{_HELD_BACK}")
        assert len(sink.messages) == 5


def test_listings_show_where_mail_is_and_why(tmp_path: Path) -> None:
    table = "slow.example retry:4.2.0 not today\nheld.example retry:4.2.0 not today\n"
    with gateway(tmp_path, "example.com discard:\n") as ours:
        ours.stop()
        for recipients in (["a@slow.example", "b@slow.example"], ["c@held.example"]):
            arguments = ("sendmail", "-f", "me@example.org", *recipients)
            assert ours.ctl(*arguments, stdin="Subject: x\n\nx\n").returncode == 0
        ours.write("transport", table)
        ours.start()
        ours.wait_log(r"(?:status=deferred[\s\S]*){3}")
        held = ours.wait_log(r"(\w+): to=<c@held.example>")[1]
        slow = ours.wait_log(r"(\w+): to=<a@slow.example>")[1]
        ours.ctl("postsuper", "-h", held)
        shown = ours.queue()
        assert shown == ours.ctl("mailq").stdout == ours.ctl("sendmail", "-bp").stdout
        assert re.search(
            rf"{slow}\s+\d+ \w+ \w+ [ \d]\d [\d:]{{8}}  me@example.org\n"
            r" +\(not today\)\n {41}a@slow\.example\n {41}b@slow\.example\n\n",
            shown,
        )
        assert f"{held}! " in shown
        assert re.search(r"-- 0 Kbytes in 2 Requests\.\n\Z", shown)
        entries = _entries(ours)
        assert entries[held]["queue_name"] == "hold"
        waiting = entries[slow]
        assert waiting["queue_name"] == "deferred"
        assert waiting["sender"] == "me@example.org"
        assert waiting["recipients"][1]["address"] == "b@slow.example"
        assert waiting["recipients"][1]["delay_reason"] == "not today"
        assert 299 <= waiting["next_attempt"] - waiting["arrival_time"] <= 310
        ours.stop()
        assert ours.queue() == shown


def test_postcat_shows_each_part(tmp_path: Path) -> None:
    with gateway(tmp_path, "example.com retry:4.2.0 not today\n") as ours:
        text = "To: you\nSubject: x\n\n.first\nlast\n"
        ours.ctl("sendmail", "-f", "me@example.org", "-i", "a@example.com", stdin=text)
        queue_id = ours.wait_log(r"(\w+): to=<a@example.com>.*status=deferred")[1]
        whole = ours.ctl("postcat", queue_id).stdout
        envelope = ours.ctl("postcat", "-e", queue_id).stdout
        header = ours.ctl("postcat", "-hq", queue_id).stdout
        body = ours.ctl("postcat", "-bq", queue_id).stdout
        assert body == ".first\nlast\n"
        assert "\nTo: you\nSubject: x\n" in header
        assert header + "\n" + body in whole
        assert "sender: me@example.org\n" in envelope
        assert "recipient: a@example.com\n" in envelope
        assert "delay_reason=not today\n" in envelope
        gone = ours.ctl("postcat", "-q", "NOSUCHID00")
        assert (gone.returncode, gone.stdout) == (1, "")


def test_postsuper_requeues_expires_releases_and_deletes(tmp_path: Path) -> None:
    with mail_sink() as sink, gateway(tmp_path, "") as ours:

        def build_table(text: str) -> None:
            ours.write("transport", text)
            assert ours.ctl("postmap", f"hash:{ours.etc}/transport").returncode == 0

        build_table(f"example.com retry:4.2.0 not today\n* smtp:[127.0.0.1]:{sink.port}\n")
        ours.configure({"transport_maps": f"hash:{ours.etc}/transport"})
        assert ours.daemon("reload").returncode == 0
        for recipient in ("requeue", "expire", "delete", "hold"):
            ours.ctl("sendmail", "-f", "me@example.org", f"{recipient}@example.com", stdin="x\n")
        ids = {
            name: ours.wait_log(rf"(\w+): to=<{name}@example.com>.*status=deferred")[1]
            for name in ("requeue", "expire", "delete", "hold")
        }

        assert ours.ctl("postsuper", "-e", ids["expire"]).stderr.endswith(
            "postsuper: Force-expired: 1 message\n"
        )
        ours.wait_log(rf"{ids['expire']}: from=<me@example.org>, status=force-expired, returned")
        eventually(lambda: sink.messages, "the report of what was expired")

        ours.ctl("postsuper", "-h", ids["hold"])
        ours.ctl("postqueue", "-f")
        ours.wait_log(rf"(?:{ids['delete']}: .*status=deferred[\s\S]*){{2}}")
        assert len(re.findall(rf"{ids['hold']}: .*status=deferred", ours.log())) == 1
        released = ours.ctl("postsuper", "-H", ids["hold"]).stderr
        assert released.endswith("postsuper: Released from hold: 1 message\n")

        # A requeued message is routed by what the table says now.
        build_table(f"* smtp:[127.0.0.1]:{sink.port}\n")
        assert ours.ctl("postsuper", "-r", ids["requeue"]).stderr.endswith(
            "postsuper: Requeued: 1 message\n"
        )
        eventually(lambda: len(sink.messages) == 2, "the requeued message")
        assert ours.ctl("postsuper", "-d", "ALL").stderr == "postsuper: Deleted: 2 messages\n"
        assert ours.is_empty()


def test_commands_with_the_daemon_down(tmp_path: Path) -> None:
    with gateway(tmp_path, "example.com retry:4.2.0 not today\n") as ours:
        ours.ctl("sendmail", "a@example.com", stdin="Subject: kept\n\nx\n")
        queue_id = ours.wait_log(r"(\w+): to=<a@example.com>.*status=deferred")[1]
        ours.stop()
        assert queue_id in ours.queue()
        assert "Subject: kept\n" in ours.ctl("postcat", "-q", queue_id).stdout
        refused = ours.ctl("postqueue", "-f")
        assert refused.returncode == 69
        assert "mail system is down" in refused.stderr
        assert "Placed on hold: 1" in ours.ctl("postsuper", "-h", queue_id).stderr
        assert f"{queue_id}!" in ours.queue()
        assert "Deleted: 1" in ours.ctl("postsuper", "-d", queue_id).stderr
        assert ours.is_empty()
