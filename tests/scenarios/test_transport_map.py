"""S4: the transport map, as relaying's chapter prints it, against hosts of those names."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.dns_server import DnsServer, Zone
from tests.gateway_process import GatewayProcess, gateway
from tests.mail_sink import mail_sink
from tests.own_network import own_network
from tests.peers import eventually, require_root

_ZONE: Zone = {
    "gateway.oreilly.com": {"A": ["192.0.2.1"], "MX": ["0 wrong.test."]},
    "oreillynet.com": {"MX": ["10 mx.oreillynet.com."]},
    "mx.oreillynet.com": {"A": ["192.0.2.2"]},
    "example.com": {"MX": ["0 wrong.test."]},
    "wrong.test": {"A": ["192.0.2.3"]},
}
_TABLE = """\
example.com      smtp:[192.168.23.56]:20025
oreilly.com      relay:[gateway.oreilly.com]
oreillynet.com   smtp
ora.com          maildrop
kdent@ora.com    error:no mail accepted for kdent
"""
_MAILDROP = (
    "maildrop unix - n n - - pipe flags=FR user=nobody argv=/usr/bin/tee {folder}/${{user}}\n"
)


def test_the_rows_of_the_book(open_path: Path) -> None:
    """Each row with its own result: an address and a port, a host, MX, a command, a refusal."""
    require_root("a pipe service with user=")
    folder = open_path / "mail"
    folder.mkdir()
    folder.chmod(0o777)
    settings = {
        "smtp_dns_servers": "127.0.0.1:5353",
        "inet_protocols": "ipv4",
        "relay_domains": "example.com, oreilly.com, oreillynet.com, ora.com",
        "maildrop_destination_recipient_limit": "1",
    }
    with (
        own_network("192.168.23.56", "192.0.2.1", "192.0.2.2", "192.0.2.3"),
        DnsServer(_ZONE, 5353),
        mail_sink(20025, "192.168.23.56") as by_address,
        mail_sink(25, "192.0.2.1") as by_host,
        mail_sink(25, "192.0.2.2") as by_mx,
        mail_sink(25, "192.0.2.3") as wrong,
        gateway(open_path, "", settings, _MAILDROP.format(folder=folder), "mail") as ours,
    ):
        ours.write("transport", _TABLE)
        assert ours.ctl("postmap", f"hash:{ours.etc}/transport").returncode == 0
        ours.configure({**settings, "transport_maps": f"hash:{ours.etc}/transport"})
        assert ours.daemon("reload").returncode == 0
        for domain, sink, relay in (
            ("example.com", by_address, r"192.168.23.56\[192.168.23.56\]:20025"),
            ("oreilly.com", by_host, r"gateway.oreilly.com\[192.0.2.1\]:25"),
            ("oreillynet.com", by_mx, r"mx.oreillynet.com\[192.0.2.2\]:25"),
        ):
            program = "relay/smtp" if domain == "oreilly.com" else "smtp"
            queue_id = ours.send(f"a@{domain}", "Subject: x\n\nx")
            ours.wait_log(rf"{program}\[\d+\]: {queue_id}: .*relay={relay}, .*status=sent")
            assert len(sink.messages) == 1
        queue_id = ours.send("joe@ora.com", "Subject: to a command\n\nx")
        ours.wait_log(
            rf"maildrop/pipe\[\d+\]: {queue_id}: .*relay=maildrop, .*dsn=2.0.0, status=sent "
            r"\(delivered via maildrop service \(From sender@example.org "
        )
        lines = (folder / "joe").read_text().splitlines()
        assert lines[0].startswith("From sender@example.org  ")
        assert lines[1] == "Return-Path: <sender@example.org>"
        assert "Subject: to a command" in lines
        assert (folder / "joe").owner() == "nobody"
        with smtplib.SMTP("127.0.0.1", ours.port, timeout=30) as client:
            client.ehlo()
            client.mail("a@example.org")
            code, text = client.rcpt("kdent@ora.com")
        assert code == 550
        assert text.decode().endswith(
            "<kdent@ora.com>: Recipient address rejected: no mail accepted for kdent"
        )
        assert not wrong.connections


@contextmanager
def _session(ours: GatewayProcess) -> Iterator[smtplib.SMTP]:
    with smtplib.SMTP("127.0.0.1", ours.port, timeout=30) as client:
        client.ehlo()
        client.mail("a@example.org")
        yield client


def test_the_most_special_key_wins(tmp_path: Path) -> None:
    """By the text of each row's refusal."""
    keys = ("joe+fax@example.com", "joe@example.com", "example.com", ".example.com", "*")
    table = "".join(f"{key} error:5.7.0 by {key}\n" for key in keys)
    settings = {"recipient_delimiter": "+"}
    with gateway(tmp_path, table, settings) as ours, _session(ours) as client:
        for recipient, key in (
            ("joe+fax@example.com", "joe+fax@example.com"),
            ("joe+other@example.com", "joe@example.com"),
            ("Joe@EXAMPLE.com", "joe@example.com"),
            ("ann@example.com", "example.com"),
            ("ann@a.b.example.com", ".example.com"),
            ("ann@example.net", "*"),
        ):
            code, text = client.rcpt(recipient)
            assert (code, text.decode().rpartition(" by ")[2]) == (550, key)
        parents = "parent_domain_matches_subdomains"
        ours.configure({**settings, parents: "transport_maps, relay_domains"})
        assert ours.daemon("reload").returncode == 0
        with _session(ours) as later:
            text = later.rcpt("ann@a.b.example.com")[1]
            assert text.decode().rpartition(" by ")[2] == "example.com"


def test_inbound_and_outbound_mail_have_slots_of_their_own(tmp_path: Path) -> None:
    """Outbound mail hangs in every slot that smtp has: inbound mail goes through all the same."""
    with mail_sink() as inside, mail_sink() as outside:
        outside.pause = 60
        table = f"example.com relay:[127.0.0.1]:{inside.port}\n* smtp:[127.0.0.1]:{outside.port}\n"
        limits = {"default_process_limit": "2", "stop_time_limit": "1s"}
        with gateway(tmp_path, table, limits) as ours:
            for number in range(4):
                ours.send(f"a@far{number}.example", "Subject: x\n\nx")
            eventually(lambda: len(outside.messages) == 2, "both slots taken")
            ours.send("a@example.com", "Subject: x\n\nx")
            eventually(lambda: inside.messages, "inbound mail")
            assert len(outside.messages) == 2
