"""S1: we are a less preferred MX. On a network of our own, with port 25 and a scripted DNS."""

from __future__ import annotations

import email
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.dns_server import DnsServer, Zone
from tests.gateway_process import GatewayProcess, gateway
from tests.mail_sink import MailSink, mail_sink
from tests.own_network import own_network
from tests.peers import eventually

_PRIMARY, _OURS, _EQUAL, _WORSE, _SENDERS = (f"192.0.2.{number}" for number in (1, 2, 3, 4, 5))

_ZONE: Zone = {
    "example.com": {"MX": ["10 mx1.test.", "20 gateway.test.", "20 equal.test.", "30 worse.test."]},
    "best.example": {"MX": ["10 gateway.test.", "10 equal.test.", "20 worse.test."]},
    # Behind a NAT our name in the DNS is another, and so is our address.
    "nat.example": {"MX": ["10 outside.test.", "20 worse.test."]},
    "host.example": {"A": [_OURS]},
    "example.org": {"MX": ["10 senders.test."]},
    "mx1.test": {"A": [_PRIMARY]},
    "gateway.test": {"A": [_OURS]},
    "outside.test": {"A": ["198.51.100.7"]},
    "equal.test": {"A": [_EQUAL]},
    "worse.test": {"A": [_WORSE]},
    "senders.test": {"A": [_SENDERS]},
}


class _Net:
    """The gateway, and the hosts it must leave alone. ``senders`` gets the reports."""

    def __init__(self, ours: GatewayProcess, wrong: list[MailSink], senders: MailSink) -> None:
        self.ours = ours
        self.senders = senders
        self._wrong = wrong

    def wrong_connections(self) -> int:
        return sum(each.connections for each in self._wrong)


@contextmanager
def _backup(tmp_path: Path, settings: Mapping[str, str]) -> Iterator[_Net]:
    """A backup MX with nothing configured but relay_domains, as S1 says."""
    with (
        own_network(_PRIMARY, _OURS, _EQUAL, _WORSE, _SENDERS),
        DnsServer(_ZONE) as dns,
        mail_sink(25, _OURS) as ourselves,
        mail_sink(25, _EQUAL) as equal,
        mail_sink(25, _WORSE) as worse,
        mail_sink(25, _SENDERS) as senders,
    ):
        common = {
            "transport_maps": "",
            "inet_interfaces": f"127.0.0.1, {_OURS}",
            "proxy_interfaces": "198.51.100.7",
            "smtp_dns_servers": f"127.0.0.1:{dns.port}",
            "inet_protocols": "ipv4",
        }
        with gateway(tmp_path, "", {**common, **settings}) as ours:
            yield _Net(ours, [ourselves, equal, worse], senders)


def test_mail_waits_for_the_primary_and_for_nobody_else(tmp_path: Path) -> None:
    """Down: deferred with the reason. Up again: delivered at the next queue run, by itself."""
    backoff = {"minimal_backoff_time": "1s", "maximal_backoff_time": "1s"}
    with _backup(tmp_path, backoff) as net:
        queue_id = net.ours.send("a@example.com", "Subject: x\n\nx")
        refused = rf"connect to mx1\.test\[{_PRIMARY}\]:25: Connection refused"
        net.ours.wait_log(rf"{queue_id}: .*dsn=4.4.1, status=deferred \({refused}\)")
        net.ours.wait_log(rf"(?:{queue_id}: .*status=deferred[\s\S]*){{2}}")
        with mail_sink(25, _PRIMARY) as primary:
            eventually(lambda: primary.messages, "the mail at the primary")
            net.ours.wait_log(rf"{queue_id}: .*relay=mx1\.test\[{_PRIMARY}\]:25, .*status=sent")
            eventually(net.ours.is_empty, "an empty queue")
        assert net.wrong_connections() == 0


def test_mail_is_returned_at_the_end_of_its_life(tmp_path: Path) -> None:
    times = {
        "minimal_backoff_time": "1s",
        "maximal_backoff_time": "1s",
        "maximal_queue_lifetime": "1s",
    }
    with _backup(tmp_path, times) as net:
        queue_id = net.ours.send("a@example.com", "Subject: late\n\nx")
        net.ours.wait_log(rf"{queue_id}: from=<sender@example.org>, status=expired, returned to")
        eventually(lambda: net.senders.messages, "the report")
        assert net.wrong_connections() == 0
    status = email.message_from_bytes(net.senders.messages[0]).get_payload()[1]
    fields = status.get_payload()[1]
    assert fields["Action"] == "failed"
    assert fields["Status"] == "4.4.1"
    assert "Connection refused" in " ".join(fields["Diagnostic-Code"].split())


def test_the_best_mx_of_a_domain_not_served_says_so_at_once(tmp_path: Path) -> None:
    """By our address, by an address in front of us, with an equal MX beside us, without MX."""
    with _backup(tmp_path, {}) as net:
        for domain in ("best.example", "nat.example", "host.example"):
            queue_id = net.ours.send(f"a@{domain}", "Subject: x\n\nx")
            line = net.ours.wait_log(
                rf"{queue_id}: to=<a@{domain}>, relay=none, .*status=bounced.*"
            )[0]
            assert "dsn=5.4.6" in line
            assert f"mail for {domain} loops back to myself" in line
            hint = "relay_domains" if domain != "host.example" else "transport_maps"
            assert hint in line
            assert "inet_interfaces" in line
        eventually(lambda: len(net.senders.messages) == 3, "three reports")
        assert net.wrong_connections() == 0
