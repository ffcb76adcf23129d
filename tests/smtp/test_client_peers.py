"""The SMTP and LMTP client against real servers: smtp-sink and Postfix."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from gatewayd.config.main_cf import Assignment
from gatewayd.config.settings import Settings
from gatewayd.errors import NexthopUnavailable
from gatewayd.maillog import MailLog
from gatewayd.message import DeliveryRequest
from gatewayd.routing.hosts import Server
from gatewayd.smtp.client import SmtpTransport
from gatewayd.smtp.client_settings import ClientSettings, Timeouts
from gatewayd.status import Action, Outcome
from tests.fakes.client_line import FakeHosts
from tests.fakes.requests import DiskContent, FakeSource, request
from tests.peers import free_port, sink, unix_sink
from tests.postfix import Postfix, running
from tests.reactor_run import reactor, run

QUICK = ClientSettings(helo_name="us.test", myhostname="us.test", idle=0.05)
LARGE = b"Subject: large\r\n\r\n" + b".a line with a dot\r\n" * 50000


def deliver(
    requests: list[DeliveryRequest],
    *servers: Server,
    settings: ClientSettings = QUICK,
    lanes: int = 1,
) -> FakeSource:
    """Deliver by so many lanes; what they raise is raised."""
    source = FakeSource(requests)
    hosts: Any = FakeHosts(*servers)
    transport = SmtpTransport(settings, hosts, reactor, MailLog("smtp"))

    async def all_lanes() -> None:
        opened = [
            Deferred.fromCoroutine(transport.deliver("site.test", source)) for _ in range(lanes)
        ]
        results = await DeferredList(opened, consumeErrors=True)
        await transport.close()
        for _, result in results:
            if isinstance(result, Failure):
                result.raiseException()

    run(all_lanes)
    return source


def at(port: int, name: str = "mx.site.test") -> Server:
    return Server(name, "127.0.0.1", port)


def only(source: FakeSource) -> Outcome:
    (outcomes,) = source.results.values()
    (outcome,) = outcomes.values()
    return outcome


@pytest.mark.parametrize("options", [(), ("-p",), ("-8",), ("-e",), ("-e", "-p")])
@pytest.mark.parametrize("lanes", [1, 5])
def test_sink_takes_everything(options: tuple[str, ...], lanes: int) -> None:
    """With and without ESMTP, PIPELINING and 8BITMIME; several lanes share the mail."""
    requests = [request(f"Q{n}", "a@site.test", "b@site.test") for n in range(50)]
    requests.append(request("L", content=DiskContent(LARGE)))
    with sink(*options) as port:
        source = deliver(requests, at(port), lanes=lanes)
    assert len(source.results) == 51
    assert all(each.is_success for of in source.results.values() for each in of.values())


@pytest.mark.parametrize("verb", ["HELO", "EHLO", "MAIL", "RCPT", "DATA", "."])
@pytest.mark.parametrize(("option", "action"), [("-f", Action.FAILED), ("-r", Action.DEFERRED)])
def test_sink_refuses(verb: str, option: str, action: Action) -> None:
    """Hard at each command returns the mail; soft passes it to the next server."""
    commands = "EHLO,HELO" if verb in ("EHLO", "HELO") else verb
    with sink(option, commands) as bad, sink() as good:
        source = deliver([request()], at(bad), at(good, "mx2.site.test"))
        outcome = only(source)
        if action is Action.FAILED:
            assert outcome.action is Action.FAILED
            assert outcome.status == "5.3.0"
        else:
            assert outcome.is_success
            assert outcome.remote_mta == "mx2.site.test"
        if option == "-r" and commands not in ("EHLO,HELO",):
            outcome = only(deliver([request()], at(bad)))
            assert (outcome.action, outcome.status) == (Action.DEFERRED, "4.3.0")
            assert "[127.0.0.1] said: 450 4.3.0 Error" in outcome.text


@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "."])
def test_sink_hangs_up(verb: str) -> None:
    """At each command: the next server delivers; without one the mail waits."""
    options = ("-q", verb)
    with sink(*options) as bad, sink() as good:
        assert only(deliver([request()], at(bad), at(good))).is_success
        if verb in ("CONNECT", "EHLO"):
            with pytest.raises(NexthopUnavailable, match="lost connection with mx") as caught:
                deliver([request()], at(bad))
            assert caught.value.status == "4.4.2"
            return
        outcome = only(deliver([request()], at(bad)))
        assert outcome.status == "4.4.2"
        assert outcome.text.startswith("lost connection with mx.site.test[127.0.0.1] while ")


@pytest.mark.parametrize(
    ("verb", "options"), [("MAIL", ("-p",)), ("RCPT", ("-p",)), ("DATA", ()), (".", ())]
)
def test_sink_goes_silent(verb: str, options: tuple[str, ...]) -> None:
    """Time limits end the wait; the next server delivers.

    Inside a group smtp-sink wouldn't be silent: it answers the commands behind the one that it
    delays, with 503. So without PIPELINING there.
    """
    limit = Timeouts(mail=0.4, rcpt=0.4, data_init=0.4, data_done=0.4)
    settings = ClientSettings(helo_name="us.test", idle=0.05, timeouts=limit)
    with sink(*options, "-W", f"{verb}:20") as slow, sink() as good:
        source = deliver([request()], at(slow), at(good, "mx2.site.test"), settings=settings)
        assert only(source).remote_mta == "mx2.site.test"


def test_nobody_listens() -> None:
    """Connection refused, in the system's words."""
    port = free_port()
    with pytest.raises(NexthopUnavailable) as caught:
        deliver([request()], at(port))
    assert caught.value.text == f"connect to mx.site.test[127.0.0.1]:{port}: Connection refused"


def test_ipv6() -> None:
    """Servers with IPv6 addresses are connected to as such."""
    with pytest.raises(NexthopUnavailable) as caught:
        deliver([request()], Server("mx", "::1", free_port()))
    assert "connect to mx[::1]:" in caught.value.text


def test_lmtp_over_tcp() -> None:
    """LHLO, and an answer for each recipient."""
    settings = ClientSettings(lmtp=True, helo_name="us.test", idle=0.05)
    requests = [request(f"Q{n}", "a@site.test", "b@site.test", "c@site.test") for n in range(20)]
    with sink("-L") as port:
        source = deliver(requests, at(port), settings=settings)
    assert all(each.is_success for of in source.results.values() for each in of.values())
    assert len(source.results) == 20


def test_lmtp_over_a_unix_socket() -> None:
    """relay= names the socket, without a port."""
    settings = ClientSettings(
        lmtp=True, helo_name="us.test", idle=0.05, timeouts=Timeouts(connect=0)
    )
    with unix_sink("-L") as path:
        server = Server("us.test", str(path), 0)
        outcome = only(deliver([request()], server, settings=settings))
        assert outcome.is_success
        assert outcome.relay == f"us.test[{path}]"
        with pytest.raises(NexthopUnavailable) as caught:
            deliver([request()], Server("us.test", f"{path}x", 0), settings=settings)
        assert caught.value.text == f"connect to us.test[{path}x]: No such file or directory"


@pytest.fixture(scope="module")
def postfix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postfix]:
    settings = {
        "mydestination": "site.test",
        "local_recipient_maps": "static:x",
        "local_transport": "discard",
        "default_transport": "discard",
        "relay_domains": "",
        "smtpd_recipient_restrictions": (
            "check_recipient_access inline:{nobody@site.test=REJECT}, permit_mynetworks, reject"
        ),
        "message_size_limit": "2000000",
        "smtpd_data_restrictions": "check_sender_access inline:{hold@us.test=HOLD}",
    }
    with running(tmp_path_factory.mktemp("pf"), settings) as instance:
        yield instance


@pytest.mark.parametrize("chunking", [True, False])
@pytest.mark.parametrize("lanes", [1, 4])
def test_postfix_takes_everything(postfix: Postfix, chunking: bool, lanes: int) -> None:
    """Small and large, refused recipients among them; nothing is out of step."""
    discarded = frozenset() if chunking else frozenset({"CHUNKING"})
    settings = ClientSettings(helo_name="us.test", idle=0.05, discard_keywords=discarded)
    requests = [
        request(f"Q{n}", *(["nobody@site.test"] if n % 3 == 0 else []), f"u{n}@site.test")
        for n in range(60)
    ]
    requests.insert(20, request("NOBODY", "nobody@site.test"))
    requests.insert(30, request("LARGE", content=DiskContent(LARGE)))
    requests.insert(31, request("NONE", "nobody@site.test", content=DiskContent(LARGE)))
    requests.insert(40, request("HUGE", content=DiskContent(b"x" * 2000001)))
    source = deliver(requests, at(postfix.port), settings=settings, lanes=lanes)
    assert len(source.results) == 64
    for queue_id, outcomes in source.results.items():
        for number, outcome in outcomes.items():
            is_nobody = queue_id in ("NOBODY", "NONE") or (
                queue_id[0] == "Q" and int(queue_id[1:]) % 3 == 0 and number == 1
            )
            if queue_id == "HUGE":
                assert outcome.status == "5.3.4"
            elif is_nobody:
                assert outcome.status == "5.7.1", outcome
            else:
                assert outcome.action is Action.PASSED
                assert "queued as" in outcome.text
    assert "improper command pipelining" not in postfix.log()
    assert not re.search("lost connection after (?!CONNECT)", postfix.log())


def test_postfix_keeps_content(postfix: Postfix) -> None:
    """Octets arrive as they are: held in Postfix's queue and compared."""
    body = b"..\r\n.\r\n.x\r\n" + "grün".encode() + b"\r\n" + b"y" * 998 + b"\r\n"
    content = b"Subject: exact\r\nFrom: <a@us.test>\r\n\r\n" + body
    kept = request(content=content, has_8bit=True, sender="hold@us.test")
    source = deliver([kept], at(postfix.port))
    queue_id = only(source).text.rpartition(" ")[2]
    shown = postfix.run("postcat", "-bq", queue_id).stdout
    assert shown.encode() == b"\n" + body.replace(b"\r\n", b"\n")


def test_settings_come_from_main_cf() -> None:
    """Each parameter has a default in the table, for SMTP and for LMTP."""
    plain = Settings({}, {"myhostname": lambda _: "gw.test"})
    assert ClientSettings.from_settings(plain) == ClientSettings(
        helo_name="gw.test", myhostname="gw.test"
    )
    lmtp = ClientSettings.from_settings(plain, lmtp=True)
    assert lmtp.lmtp
    assert lmtp.helo_name == "gw.test"
    changed = {
        "smtp_mail_timeout": "7m",
        "smtp_discard_ehlo_keywords": "pipelining, silent-discard",
        "smtp_connection_cache_on_demand": "no",
        "soft_bounce": "yes",
    }
    assigned = {name: Assignment(name, value, "main.cf", 1) for name, value in changed.items()}
    settings = ClientSettings.from_settings(Settings(assigned, {"myhostname": lambda _: "gw.test"}))
    assert settings.timeouts.mail == 420
    assert "PIPELINING" in settings.discard_keywords
    assert (settings.idle, settings.reuse) == (0.0, 0.0)
    assert settings.soft_bounce
