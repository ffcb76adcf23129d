"""The whole service, run as a user would, against real peers."""

from __future__ import annotations

import email
import json
import smtplib
import subprocess
from pathlib import Path

from tests import postfix
from tests.gateway_process import gateway
from tests.mail_sink import mail_sink
from tests.peers import eventually, free_port, require, sink, unix_sink

_ONDEMAND = "ondemand unix - - n - - smtp\n"


def test_swaks_through_gatewayd_to_postfix(open_path: Path) -> None:
    """A real client, a real server behind: the message arrives, and each log tells its part."""
    swaks = require("swaks", "swaks")
    far_settings = {"relay_domains": "example.com", "transport_maps": "static:discard:"}
    (open_path / "far").mkdir()
    with (
        postfix.running(open_path / "far", far_settings) as far,
        gateway(open_path, f"example.com smtp:[127.0.0.1]:{far.port}\n") as ours,
    ):
        done = subprocess.run(
            [swaks, "--server", f"127.0.0.1:{ours.port}", "--to", "you@example.com"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        sent = ours.wait_log(
            r"smtp\[\d+\]: (\w+): to=<you@example.com>, relay=(\S+), .*status=sent"
        )
        assert sent[2] == f"127.0.0.1[127.0.0.1]:{far.port}"
        ours.wait_log(rf"qmgr\[\d+\]: {sent[1]}: removed")
        far.wait_log(r"to=<you@example.com>.*status=sent")


def test_lmtp_over_tcp_and_a_unix_socket(tmp_path: Path) -> None:
    """Local delivery by LMTP: an answer for each recipient, relay= naming port or socket."""
    with sink("-L") as port, unix_sink("-L") as path:
        transport = f"example.com lmtp:[127.0.0.1]:{port}\nexample.org lmtp:unix:{path}\n"
        with gateway(tmp_path, transport, {"relay_domains": "example.com, example.org"}) as ours:
            with smtplib.SMTP("127.0.0.1", ours.port, timeout=30) as client:
                recipients = ["a@example.com", "b@example.com", "c@example.org"]
                client.sendmail("me@example.net", recipients, "Subject: x\n\nx")
            for recipient, relay in (
                ("a@example.com", f"127.0.0.1[127.0.0.1]:{port}"),
                ("b@example.com", f"127.0.0.1[127.0.0.1]:{port}"),
                ("c@example.org", f"gateway.test[{path}]"),
            ):
                sent = ours.wait_log(rf"lmtp\[\d+\]: \w+: to=<{recipient}>, relay=([^ ]+), .*=sent")
                assert sent[1] == relay
            eventually(ours.is_empty, "nothing left")


def test_content_arrives_octet_by_octet(tmp_path: Path) -> None:
    """Dots, 8-bit octets, and a message large enough to stream to disk and back."""
    bodies = [
        "..a\r\n.\u00e9\r\n...\r\n",
        "".join(f"line {number} \u20ac {'x' * (number % 60)}\r\n" for number in range(40000)),
    ]
    with (
        mail_sink() as sink,
        gateway(tmp_path, f"example.com smtp:[127.0.0.1]:{sink.port}\n") as ours,
    ):
        for body in bodies:
            with smtplib.SMTP("127.0.0.1", ours.port, timeout=60) as client:
                octets = (
                    b"Subject: x\r\nMessage-Id: <1@x>\r\nDate: x\r\nFrom: x\r\n\r\n" + body.encode()
                )
                client.sendmail("me@example.org", ["you@example.com"], octets, ["BODY=8BITMIME"])
        eventually(lambda: len(sink.messages) == 2, "both arrived")
    for body, message in zip(bodies, sink.messages, strict=True):
        assert message.partition(b"\r\n\r\n")[2] == body.encode()
        assert message.startswith(b"Received: from ")


def test_strangers_may_not_relay(tmp_path: Path) -> None:
    """A second listener without mynetworks: only relay_domains are taken, by its -o overrides."""
    port = free_port()
    services = (
        f"127.0.0.1:{port} inet n - n - - smtpd -o {{ mynetworks = 192.0.2.0/24 }}\n"
        "  -o smtpd_relay_restrictions=permit_mynetworks,reject_unauth_destination\n"
    )
    with (
        gateway(tmp_path, "example.com discard:\n", {}, services),
        smtplib.SMTP("127.0.0.1", port, timeout=30) as client,
    ):
        client.ehlo()
        client.mail("a@example.org")
        code, text = client.rcpt("x@elsewhere.example")
        assert (code, text) == (554, b"5.7.1 <x@elsewhere.example>: Relay access denied")
        assert client.rcpt("x@example.com")[0] == 250


def test_on_demand_mail_waits_for_its_flush(tmp_path: Path) -> None:
    """S5: an ondemand clone and defer_transports; ETRN, postqueue -s and -f release it."""
    settings = {"defer_transports": "ondemand", "relay_domains": "example.com, other.example"}
    with mail_sink() as sink:
        transport = f"* ondemand:[127.0.0.1]:{sink.port}\n"
        with gateway(tmp_path, transport, settings, _ONDEMAND) as ours:
            first = ours.send("a@example.com", "Subject: 1\n\nx")
            other = ours.send("a@other.example", "Subject: 2\n\nx")
            ours.wait_log(rf"{first}: .*dsn=4.3.2, status=deferred \(deferred transport\)")
            assert "(deferred transport)" in ours.queue()
            with smtplib.SMTP("127.0.0.1", ours.port, timeout=30) as client:
                client.ehlo()
                assert client.docmd("ETRN", "nobody.example")[0] == 459
                assert client.docmd("ETRN", "example.com") == (250, b"Queuing started")
            eventually(lambda: len(sink.messages) == 1, "the site's mail")
            ours.wait_log(rf"{first}: removed")
            assert other in ours.queue()
            assert ours.ctl("postqueue", "-s", "other.example").returncode == 0
            eventually(lambda: len(sink.messages) == 2, "the other site's mail")
            ours.send("a@example.com", "Subject: 3\n\nx")
            ours.wait_log(r"status=deferred \(deferred transport\)[\s\S]*status=deferred \(def")
            assert ours.ctl("postqueue", "-f").returncode == 0
            eventually(ours.is_empty, "everything flushed")


def test_a_failure_comes_back_as_a_report(tmp_path: Path) -> None:
    """5xx at RCPT behind us: an RFC 3464 report to the sender."""
    with mail_sink() as sink, mail_sink() as refusing:
        refusing.answers["RCPT"] = "550 5.1.1 nobody here"
        refusing.answers["DATA"] = "554 5.5.1 no valid recipients"
        transport = (
            f"example.com smtp:[127.0.0.1]:{refusing.port}\n"
            f"example.org smtp:[127.0.0.1]:{sink.port}\n"
        )
        with gateway(tmp_path, transport) as ours:
            ours.send("who@example.com", "Subject: lost\n\nx", "sender@example.org")
            eventually(lambda: sink.messages, "the report")
            ours.wait_log(r"sender non-delivery notification: \w+")
    assert sink.envelopes[0][0].startswith("MAIL FROM:<>")
    report = email.message_from_bytes(sink.messages[0])
    assert report.get_content_type() == "multipart/report"
    notification, status, original = report.get_payload()
    assert "<who@example.com>: host 127.0.0.1[127.0.0.1] said: 550 5.1.1 nobody here" in " ".join(
        notification.get_payload().split()
    )
    fields = status.get_payload()[1]
    assert fields["Action"] == "failed"
    assert fields["Status"] == "5.1.1"
    assert original.get_payload()[0]["Subject"] == "lost"


def test_unreachable_next_hop_defers_and_says_why(tmp_path: Path) -> None:
    port = free_port()
    with gateway(tmp_path, f"example.com smtp:[127.0.0.1]:{port}\nx.example nowhere:\n") as ours:
        ours.send("a@example.com", "Subject: x\n\nx")
        ours.send("a@x.example", "Subject: x\n\nx")
        refused = rf"connect to 127.0.0.1\[127.0.0.1\]:{port}: Connection refused"
        ours.wait_log(rf"dsn=4.4.1, status=deferred \({refused}\)")
        ours.wait_log("dsn=4.3.0, status=deferred .*nowhere")
        entries = [
            json.loads(line) for line in ours.ctl("postqueue", "-j").stdout.split("\n") if line
        ]
        assert {entry["queue_name"] for entry in entries} == {"deferred"}
        assert all(entry["recipients"][0]["delay_reason"] for entry in entries)


def test_commands_on_the_queue(tmp_path: Path) -> None:
    """sendmail with the daemon down and up, hold, release, postcat (also of large), delete."""
    with gateway(tmp_path, "example.com retry:4.2.0 not today\n") as ours:
        ours.stop()
        down = ours.ctl(
            "sendmail", "-f", "me@example.org", "a@example.com", stdin="Subject: down\n\nx\n"
        )
        assert down.returncode == 0, down.stderr
        ours.start()
        queue_id = ours.wait_log(r"(\w+): to=<a@example.com>.*status=deferred \(not today\)")[1]
        assert ours.ctl("postsuper", "-h", queue_id).stderr == (
            f"postsuper: {queue_id}: placed on hold\npostsuper: Placed on hold: 1 message\n"
        )
        assert f"{queue_id}!" in ours.queue()
        shown = ours.ctl("postcat", "-q", "-h", queue_id).stdout
        assert "Subject: down\n" in shown
        assert "Message-Id: <" in shown
        ours.ctl("postsuper", "-H", "ALL")
        assert ours.ctl("postsuper", "-d", "-", stdin=f"{queue_id}\n").returncode == 0
        assert ours.is_empty()
        ours.ctl(
            "sendmail", "-t", stdin="To: b@example.com\nBcc: c@example.com\nSubject: up\n\nx\n"
        )
        ours.wait_log("to=<b@example.com>")
        ours.wait_log("to=<c@example.com>")
        ours.ctl("sendmail", "d@example.com", stdin="Subject: large\n\n" + "line\n" * 20_000)
        large = ours.wait_log(r"(\w+): to=<d@example.com>")[1]
        ours.stop()
        assert "b@example.com" in ours.queue()
        assert len(ours.ctl("postcat", "-q", large).stdout) > 100_000


def test_reload_is_all_or_nothing_and_reroutes(tmp_path: Path) -> None:
    port = free_port()
    with mail_sink() as sink, gateway(tmp_path, f"example.com smtp:[127.0.0.1]:{port}\n") as ours:
        ours.send("a@example.com", "Subject: x\n\nx")
        ours.wait_log("status=deferred")
        ours.configure({"smtpd_timeout": "soon", "inet_protocols": "ipv4"})
        refused = ours.daemon("reload")
        assert refused.returncode == 78
        assert "smtpd_timeout" in refused.stderr
        assert "main.cf:" in refused.stderr
        assert ours.send("b@example.com", "Subject: y\n\ny")
        ours.configure({})
        ours.write("transport", f"example.com smtp:[127.0.0.1]:{sink.port}\n")
        assert ours.daemon("reload").returncode == 0
        ours.ctl("postqueue", "-f")
        eventually(lambda: len(sink.messages) == 2, "both by the new route")


def test_a_second_gateway_is_refused(tmp_path: Path) -> None:
    with gateway(tmp_path, "example.com discard:\n") as ours:
        second = ours.daemon("foreground")
        assert second.returncode != 0
        assert "another gatewayd is running" in second.stderr
        assert ours.daemon("status").stdout.startswith("gatewayd is running (pid ")
    assert ours.daemon("status").returncode == 1
