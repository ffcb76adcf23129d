"""G9: whatever the DNS does, mail waits or is returned as it should be; questions are bounded."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.dns_server import DnsServer, Zone, silent_port
from tests.gateway_process import GatewayProcess, gateway
from tests.mail_sink import MailSink, mail_sink
from tests.own_network import own_network
from tests.peers import eventually

_GOOD, _SENDERS = "192.0.2.1", "192.0.2.5"
_HUNDRED = [f"{number + 1} mx{number}.many.test." for number in range(100)]

_ZONE: Zone = {
    "good.example": {"MX": ["10 good.test."]},
    "good.test": {"A": [_GOOD]},
    "example.org": {"MX": ["10 senders.test."]},
    "senders.test": {"A": [_SENDERS]},
    "null.example": {"MX": ["0 ."]},
    "no-data.example": {"TXT": ['"here, but no host"']},
    "no-address.example": {"MX": ["10 gone.test."]},
    "servfail.example": {"*": "servfail"},
    "host-servfail.example": {"MX": ["10 broken.test."]},
    "broken.test": {"*": "servfail"},
    "refused.example": {"*": "refused"},
    "silent.example": {"*": "timeout"},
    "garbage.example": {"*": "garbage"},
    "forged.example": {"*": "wrong-id"},
    "cut.example": {"MX": "truncate MX 10 good.test."},
    "cut-twice.example": {"MX": "truncate-twice MX 10 good.test."},
    "loop.example": {"CNAME": ["loop2.example."]},
    "loop2.example": {"CNAME": ["loop.example."]},
    "alias.example": {"CNAME": ["good.example."]},
    "many.example": {"MX": _HUNDRED},
    "many-good.example": {"MX": [*_HUNDRED, "0 good.test."]},
    **{f"mx{number}.many.test": {"A": [f"192.0.2.{100 + number}"]} for number in range(100)},
    "loopback.example": {"MX": ["10 localhost.test."]},
    "localhost.test": {"A": ["127.0.0.1"]},
    "private.example": {"MX": ["10 private.test."]},
    "private.test": {"A": ["10.1.2.3"]},
}

_ENDS = {
    "good.example": r"dsn=2.0.0, status=sent",
    "nowhere.example": r"dsn=5.4.4, status=bounced .*type=A.*: Host not found",
    "null.example": r"dsn=5.1.0, status=bounced .*does not accept mail \(nullMX\)",
    "no-data.example": r"dsn=5.4.4, status=bounced .*no data record of requested type",
    "no-address.example": r"dsn=5.4.4, status=bounced .*unable to look up an MX host",
    "servfail.example": r"dsn=4.4.3, status=deferred .*type=MX: Host not found, try again",
    "host-servfail.example": r"dsn=4.4.3, status=deferred .*try again",
    "refused.example": r"dsn=4.4.3, status=deferred",
    "silent.example": r"dsn=4.4.3, status=deferred .*does not answer in time",
    "garbage.example": r"dsn=4.4.3, status=deferred",
    "forged.example": r"dsn=4.4.3, status=deferred",
    "cut.example": r"dsn=2.0.0, status=sent",
    "cut-twice.example": r"dsn=4.4.3, status=deferred",
    "loop.example": r"dsn=4.4.3, status=deferred .*an alias of an alias",
    "alias.example": r"dsn=2.0.0, status=sent",
    "many.example": r"dsn=4.4.1, status=deferred .*: (?:Connection|Network|No route)",
    "many-good.example": r"relay=good.test.*dsn=2.0.0, status=sent",
    "loopback.example": r"dsn=5.4.6, status=bounced .*loops back to myself",
    "private.example": r"dsn=4.4.1, status=deferred .*10.1.2.3.*: Network is unreachable",
}


@contextmanager
def _internet(
    tmp_path: Path, dns_servers: str, settings: Mapping[str, str] | None = None
) -> Iterator[tuple[GatewayProcess, MailSink]]:
    """The gateway, no table telling it anything, and the host that takes mail for example.org."""
    common = {
        "transport_maps": "",
        "inet_interfaces": "127.0.0.1",
        "inet_protocols": "ipv4",
        "smtp_dns_servers": dns_servers,
        "smtp_dns_timeout": "1s",
        "minimal_backoff_time": "1s",
        "maximal_backoff_time": "1s",
    }
    with (
        mail_sink(25, _SENDERS) as senders,
        gateway(tmp_path, "", {**common, **(settings or {})}) as ours,
    ):
        yield ours, senders


def test_every_answer_has_its_end(tmp_path: Path) -> None:
    with (
        own_network(_GOOD, _SENDERS),
        DnsServer(_ZONE) as dns,
        mail_sink(25, _GOOD) as good,
        mail_sink(25, "127.0.0.1") as this_machine,
        _internet(tmp_path, f"127.0.0.1:{dns.port}", {"minimal_backoff_time": "300s"}) as net,
    ):
        ours, senders = net
        ids = {domain: ours.send(f"a@{domain}", "Subject: x\n\nx") for domain in _ENDS}
        for domain, end in _ENDS.items():
            ours.wait_log(rf"{ids[domain]}: to=<a@{domain}>, .*{end}")
        returned = sum("5." in re.findall(r"dsn=(\S\.)", end) for end in _ENDS.values())
        eventually(lambda: len(senders.messages) == returned, "a report for each that is final")
        assert len(good.messages) == 4
        assert this_machine.connections == 0
        # Two tries of each question at one server, and TCP where UDP's answer was cut short.
        # A circle of aliases: ten questions in all.
        counts = Counter(each[:2] for each in dns.asked)
        assert max(counts.values()) <= 5, counts.most_common(3)
        # Of a hundred exchangers half are looked up, for two domains with the same.
        hosts = {name for name, *_ in dns.asked if name.endswith("many.test")}
        assert len(hosts) <= 50


def test_without_dns_mail_waits_until_it_is_back(tmp_path: Path) -> None:
    """No name server at all: our own trouble, which no sender ever hears of."""
    with own_network(_GOOD, _SENDERS):
        silent, (_, port) = silent_port()
        with _internet(tmp_path, f"127.0.0.1:{port}") as (ours, senders):
            ids = [ours.send(f"a@{name}.example", "Subject: x\n\nx") for name in ("good", "null")]
            for queue_id in ids:
                ours.wait_log(rf"{queue_id}: .*dsn=4.4.3, status=deferred")
            assert not senders.connections
            silent.close()
            with DnsServer(_ZONE, port), mail_sink(25, _GOOD) as good:
                eventually(lambda: good.messages, "the good one's mail")
                eventually(lambda: senders.messages, "the report of the null MX")
                eventually(ours.is_empty, "an empty queue")


def test_without_a_network_mail_waits(tmp_path: Path) -> None:
    """Names are known, but nothing can be reached."""
    zone: Zone = {"far.example": {"MX": ["10 far.test."]}, "far.test": {"A": ["198.51.100.1"]}}
    with (
        own_network(_SENDERS),
        DnsServer(zone) as dns,
        _internet(tmp_path, f"127.0.0.1:{dns.port}") as (ours, senders),
    ):
        ours.send("a@far.example", "Subject: x\n\nx")
        ours.wait_log(
            r"dsn=4.4.1, status=deferred \(connect to far\.test\[198\.51\.100\.1\]:25: "
            r"Network is unreachable\)"
        )
        assert not senders.connections
