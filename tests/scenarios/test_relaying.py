"""S2, S7 and S8: the gateway between strangers, two inside hosts and a smart host."""

from __future__ import annotations

import smtplib
from pathlib import Path

from tests.dns_server import DnsServer, Zone
from tests.gateway_process import GatewayProcess, gateway
from tests.mail_sink import MailSink, mail_sink
from tests.own_network import own_network
from tests.peers import eventually

_OUTSIDE, _INSIDE = "192.0.2.1", "192.168.23.1"
_MAIL1, _MAIL2, _CLIENT = "192.168.23.11", "192.168.23.12", "192.168.23.50"
_SMART, _FAR, _STRANGER = "192.0.2.99", "192.0.2.100", "198.51.100.9"

_ZONE: Zone = {
    "mail1.example.com": {"A": [_MAIL1]},
    "mail2.example.com": {"A": [_MAIL2]},
    "gw.example.com": {"A": [_SMART]},
    "isp.example": {"MX": ["10 gw.example.com."]},
    "far.example": {"MX": ["10 mx.far.example."]},
    "mx.far.example": {"A": [_FAR]},
}
_LISTENERS = f"{_OUTSIDE}:25 inet n - n - - smtpd\n{_INSIDE}:25 inet n - n - - smtpd\n"


def _recipient_answers(client: str, to: str, *recipients: str) -> dict[str, tuple[int, str]]:
    """What each RCPT is answered, to a client with that address."""
    with smtplib.SMTP(to, 25, timeout=10, source_address=(client, 0)) as session:
        session.ehlo()
        session.mail("s@strangers.example")
        answers = {name: session.docmd("RCPT", f"TO:<{name}>") for name in recipients}
        return {name: (code, text.decode()) for name, (code, text) in answers.items()}


def _send(client: str, to: str, recipient: str) -> None:
    with smtplib.SMTP(to, 25, timeout=10, source_address=(client, 0)) as session:
        session.sendmail("s@strangers.example", [recipient], "Subject: x\n\nx")


def _settings(dns: DnsServer) -> dict[str, str | None]:
    return {
        "inet_interfaces": f"127.0.0.1, {_OUTSIDE}, {_INSIDE}",
        "inet_protocols": "ipv4",
        "smtp_dns_servers": f"127.0.0.1:{dns.port}",
        "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
        "relay_domains": "hr.example.com, sales.example.com",
        "mynetworks": "192.168.23.0/24",
    }


def test_an_inbound_gateway(tmp_path: Path) -> None:
    """Each domain to its own host, only for who is there; nothing else from strangers."""
    with (
        own_network(_OUTSIDE, f"{_INSIDE}/24", _STRANGER),
        DnsServer(_ZONE) as dns,
        mail_sink(25, _MAIL1) as mail1,
        mail_sink(25, _MAIL2) as mail2,
    ):
        table = (
            "hr.example.com relay:[mail1.example.com]\n"
            "sales.example.com relay:[mail2.example.com]\n"
        )
        with gateway(tmp_path, table, _settings(dns), _LISTENERS) as ours:
            # Without a list everybody at our domains is taken for existing.
            assert _recipient_answers(_STRANGER, _OUTSIDE, "any@hr.example.com") == {
                "any@hr.example.com": (250, "2.1.5 Ok")
            }
            ours.write("recipients", "ann@hr.example.com x\n@sales.example.com x\n")
            assert ours.ctl("postmap", f"hash:{ours.etc}/recipients").returncode == 0
            listed = {"relay_recipient_maps": f"hash:{ours.etc}/recipients"}
            ours.configure({**_settings(dns), **listed})
            assert ours.daemon("reload").returncode == 0

            _send(_STRANGER, _OUTSIDE, "ann@hr.example.com")
            _send(_STRANGER, _OUTSIDE, "any@sales.example.com")
            eventually(lambda: mail1.messages and mail2.messages, "both inside hosts' mail")
            assert "RCPT TO:<ann@hr.example.com>" in mail1.envelopes[0][1][0]
            assert "RCPT TO:<any@sales.example.com>" in mail2.envelopes[0][1][0]
            unknown = "User unknown in relay recipient table"
            refused = ("any@hr.example.com", "any@sub.sales.example.com")
            for client, to in ((_STRANGER, _OUTSIDE), (_CLIENT, _INSIDE)):
                answers = _recipient_answers(client, to, *refused)
                for name in refused:
                    text = f"5.1.1 <{name}>: Recipient address rejected: {unknown}"
                    assert answers[name] == (550, text)
            denied = "a@far.example", "a%far.example@example.com", "@hr.example.com:a@far.example"
            for name, (code, text) in _recipient_answers(_STRANGER, _OUTSIDE, *denied).items():
                assert (code, text[:6]) == (554, "5.7.1 "), name
                assert text.endswith("Relay access denied")

            # A table that cannot be read is no reason to refuse anybody for good.
            (ours.root / "etc" / "recipients.lmdb").unlink()
            code, text = _recipient_answers(_STRANGER, _OUTSIDE, "b@hr.example.com")[
                "b@hr.example.com"
            ]
            assert (code, text[:6]) == (451, "4.3.0 ")


def _gets(ours: GatewayProcess, sink: MailSink, recipient: str) -> None:
    before = len(sink.messages)
    _send(_CLIENT, _INSIDE, recipient)
    eventually(lambda: len(sink.messages) > before, f"{recipient} at {sink.host}:{sink.port}")


def test_an_outbound_relay(tmp_path: Path) -> None:
    """All that leaves goes to the smart host, in each form of relayhost, but for exceptions."""
    with (
        own_network(_OUTSIDE, f"{_INSIDE}/24", _STRANGER, _SMART, _FAR),
        DnsServer(_ZONE) as dns,
        mail_sink(25, _SMART) as smart,
        mail_sink(2525, _SMART) as other_port,
        mail_sink(25, _FAR) as far,
    ):
        table = "direct.example smtp:[mx.far.example]\nown-mx.example smtp:far.example\n"
        # The clients' network follows from our own address in it.
        settings = {**_settings(dns), "mynetworks": None, "mynetworks_style": "subnet"}
        with gateway(tmp_path, table, settings, _LISTENERS) as ours:
            _gets(ours, far, "a@far.example")
            for relayhost, sink in (
                ("[gw.example.com]", smart),
                ("[gw.example.com]:2525", other_port),
                ("[gw.example.com]:smtp", smart),
                (f"[{_SMART}]:2525", other_port),
                ("isp.example", smart),
            ):
                ours.configure({**settings, "relayhost": relayhost})
                assert ours.daemon("reload").returncode == 0
                _gets(ours, sink, "a@far.example")
                assert len(far.messages) == 1
            _gets(ours, smart, "ann@hr.example.com")  # relay_domains have no route of their own
            _gets(ours, far, "a@direct.example")
            _gets(ours, far, "a@own-mx.example")
            code, text = _recipient_answers(_STRANGER, _OUTSIDE, "a@far.example")["a@far.example"]
            assert (code, text) == (554, "5.7.1 <a@far.example>: Relay access denied")
            eventually(lambda: ours.log().count("status=sent") == 9, "nine in the log, no more")
