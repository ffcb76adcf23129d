"""Lanes of the SMTP client: from requests to outcomes, over servers in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from gatewayd.address import Address
from gatewayd.errors import NexthopUnavailable, StoreError
from gatewayd.interfaces import ITransport
from gatewayd.message import Recipient
from gatewayd.routing.hosts import NexthopRefused
from gatewayd.smtp.client_settings import ClientSettings, Timeouts
from gatewayd.status import Outcome
from tests.fakes.client_line import Line
from tests.fakes.mail_server import CHUNKING, CLOSE, ESMTP, SILENCE, MailServer
from tests.fakes.requests import ROUTE, DiskContent, FakeSource, request

ONE = "192.0.2.1"
TWO = "192.0.2.2"
LINES = b"Subject: large\r\n\r\n" + b".dots and lines\r\n" * 20000


def outcome(source: FakeSource, queue_id: str = "Q1", number: int = 1) -> Outcome:
    return source.results[queue_id][number]


def one_server(server: MailServer, settings: ClientSettings | None = None) -> Line:
    return Line(lambda host: server, ONE, settings=settings)


def test_the_interface() -> None:
    """What the dispatcher relies on."""
    assert verifyObject(ITransport, one_server(MailServer()).transport)


@pytest.mark.parametrize("keywords", [(), ESMTP, CHUNKING])
def test_one_message(keywords: tuple[str, ...]) -> None:
    """Delivered, logged as Postfix does, and the connection closed after QUIT."""
    server = MailServer(keywords)
    line = one_server(server)
    source = FakeSource([request()])
    line.deliver(source)
    assert not line.errors
    (message,) = server.delivered
    assert message.content == b"Subject: test\r\n\r\nbody\r\n"
    assert message.mail.startswith("FROM:<sender@us.test>")
    result = outcome(source)
    assert result.is_success
    assert result.relay == "mx1.site.test[192.0.2.1]:2525"
    assert result.remote_mta == "mx1.site.test"
    assert result.text == "250 2.0.0 Ok: queued as 0"
    assert result.conn_use == 0
    assert server.commands[-1] == "QUIT"
    assert server.mistakes == []
    assert line.reactor.getDelayedCalls() == []


@pytest.mark.parametrize("keywords", [(), ESMTP, CHUNKING])
def test_many_messages_on_one_connection(keywords: tuple[str, ...]) -> None:
    """The connection is used for as long as there is mail."""
    server = MailServer(keywords)
    line = one_server(server)
    source = FakeSource(request(f"Q{n}") for n in range(50))
    line.deliver(source)
    assert len(server.delivered) == 50
    assert len(line.connections) == 1
    assert len(source.results) == 50
    assert {each[1].conn_use for each in source.results.values()} == {0, *range(2, 51)}
    assert server.mistakes == []


def test_pipelining_saves_round_trips() -> None:
    """One write a message, and with CHUNKING less than that."""
    writes = {}
    for keywords in ((), ESMTP, CHUNKING):
        line = one_server(MailServer(keywords), ClientSettings(in_flight=100))
        line.deliver(FakeSource(request(f"Q{n}") for n in range(40)))
        writes[keywords] = line.connections[0].wire.writes
    assert writes[()] > 160
    assert writes[ESMTP] <= 50
    assert writes[CHUNKING] <= 20


@pytest.mark.parametrize("keywords", [(), ESMTP, CHUNKING])
def test_large_contents_stream(keywords: tuple[str, ...]) -> None:
    """In pieces, exact to the octet, with mail before and behind."""
    server = MailServer(keywords)
    line = one_server(server)
    large = DiskContent(LINES)
    source = FakeSource([request("Q1"), request("Q2", content=large), request("Q3")])
    line.deliver(source)
    assert [each.content for each in server.delivered][1] == LINES
    assert len(server.delivered) == 3
    assert large.largest_read <= 1 << 16
    assert server.mistakes == []


def test_a_slow_network_holds_the_reading_back() -> None:
    """Nothing more is read while the network takes nothing."""
    server = MailServer()
    line = one_server(server)
    large = DiskContent(LINES, slow=True)
    source = FakeSource([request(content=large)])
    line.deliver(source)
    connection = line.connections[0]
    connection.wire.producer.pauseProducing()
    large.release()
    line.pump()
    assert not large.waiting
    connection.wire.producer.resumeProducing()
    while large.waiting:
        large.release()
        line.pump()
    assert server.delivered[0].content == LINES
    assert outcome(source).is_success


@pytest.mark.parametrize("keywords", [(), ESMTP, CHUNKING])
@pytest.mark.parametrize("size", [10, 300000])
def test_content_that_cannot_be_read(keywords: tuple[str, ...], size: int) -> None:
    """Never half a message; it waits, and other mail goes on or waits."""
    server = MailServer(keywords)
    line = one_server(server)
    broken = DiskContent(b"x" * size, truncated=size // 2)
    source = FakeSource([request("Q1", content=broken), request("Q2")])
    line.deliver(source)
    assert outcome(source).status == "4.3.0"
    assert all(b"xx" not in each.content for each in server.delivered)
    if "Q2" in source.results:
        assert outcome(source, "Q2").is_success
    else:
        assert source.taken == 1


def test_read_error() -> None:
    """The store's error is logged with the queue ID."""
    server = MailServer()
    line = one_server(server)
    broken = DiskContent(b"x" * 10)
    broken.error = StoreError("bad sector")
    source = FakeSource([request(content=broken)])
    line.deliver(source)
    assert outcome(source).text == "queue file read error"
    assert line.log.problems == ["smtp: Q1: content cannot be read: bad sector"]


def test_the_next_server_takes_what_the_first_defers() -> None:
    """Recipient by recipient: what was delivered or refused for good isn't tried again."""
    replies = {"RCPT TO:<soft@a>": "450 4.2.0 later", "RCPT TO:<hard@a>": "550 5.1.1 no"}
    first = MailServer(answer=lambda verb, rest: replies.get(f"{verb} {rest}"))
    second = MailServer()
    line = Line(lambda host: first if host == ONE else second, ONE, TWO)
    source = FakeSource([request("Q1", "ok@a", "soft@a", "hard@a")])
    line.deliver(source)
    assert first.delivered[0].recipients == ["TO:<ok@a>"]
    assert second.delivered[0].recipients == ["TO:<soft@a>"]
    assert [source.results["Q1"][n].action.value for n in (1, 2, 3)] == [
        "passed",
        "passed",
        "failed",
    ]
    assert outcome(source, number=2).relay == f"mx2.site.test[{TWO}]:2525"


def test_the_last_server_has_the_last_word() -> None:
    """Deferred at all servers means deferred, with the last one's words."""
    line = Line(
        lambda host: MailServer(
            answer=lambda verb, rest: f"451 {host}" if verb == "RCPT" else None
        ),
        ONE,
        TWO,
    )
    source = FakeSource([request()])
    line.deliver(source)
    assert f"451 {TWO}" in outcome(source).text
    assert len(line.connections) == 2


def test_session_limit() -> None:
    """smtp_mx_session_limit: servers that talk to us; those that don't are not counted."""
    hosts = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]

    def server(host: str) -> MailServer | None:
        if host == ONE:
            return None
        return MailServer(answer=lambda verb, rest: "451 no" if verb == "MAIL" else None)

    line = Line(server, *hosts, settings=ClientSettings(session_limit=2))
    source = FakeSource([request()])
    line.deliver(source)
    assert len(line.connections) == 2
    assert outcome(source).status == "4.0.0"


@pytest.mark.parametrize("greeting", ["421 busy", "554 no", CLOSE, "garbage"])
def test_a_server_that_does_not_talk(greeting: str) -> None:
    """The next one is tried; without one, the next hop is unavailable and nothing is taken."""
    bad = MailServer(answer=lambda verb, rest: greeting if verb == "GREETING" else None)
    good = MailServer()
    line = Line(lambda host: bad if host == ONE else good, ONE, TWO)
    source = FakeSource([request()])
    line.deliver(source)
    assert outcome(source).is_success
    line = one_server(bad)
    source = FakeSource([request()])
    line.deliver(source)
    (error,) = line.errors
    assert isinstance(error, NexthopUnavailable)
    assert error.relay == f"mx1.site.test[{ONE}]:2525"
    assert error.status.startswith("4")
    assert source.taken == 0


def test_no_server_answers() -> None:
    """Connection refused everywhere: all that waits is deferred by the queue."""
    line = Line(lambda host: None, ONE, TWO)
    source = FakeSource([request()])
    line.deliver(source)
    (error,) = line.errors
    assert error.text == f"connect to mx2.site.test[{TWO}]:2525: Connection refused"
    assert (error.status, error.relay) == ("4.4.1", "none")
    assert len(line.log.lines) == 2


def test_connect_timeout() -> None:
    """A host that doesn't answer costs smtp_connect_timeout, no more."""
    line = one_server(MailServer(), ClientSettings(timeouts=Timeouts(connect=7)))
    assert line.transport._endpoint(line.hosts.servers_found[0])._timeout == 7


def test_hello_refused_for_good() -> None:
    """One request is returned; the rest has to see for itself."""
    line = one_server(
        MailServer(answer=lambda verb, rest: "550 not you" if verb in ("EHLO", "HELO") else None)
    )
    source = FakeSource([request("Q1"), request("Q2")])
    line.deliver(source)
    assert outcome(source).status == "5.0.0"
    assert source.taken == 1
    assert not line.errors


@pytest.mark.parametrize(("soft_bounce", "status"), [(False, "5.1.0"), (True, "4.1.0")])
def test_next_hop_that_refuses_mail(soft_bounce: bool, status: str) -> None:
    """A null MX is about all that waits."""
    line = one_server(MailServer(), ClientSettings(soft_bounce=soft_bounce))
    line.hosts.error = NexthopRefused("5.1.0", "Domain site.test does not accept mail (nullMX)")
    source = FakeSource([request("Q1"), request("Q2")])
    line.deliver(source)
    assert {each[1].status for each in source.results.values()} == {status}
    assert len(source.results) == 2


def test_unresolvable_next_hop() -> None:
    """What the look-up says goes to the queue."""
    line = one_server(MailServer())
    line.hosts.error = NexthopUnavailable("4.4.3", "try again")
    line.deliver(FakeSource([request()]))
    assert line.errors == [line.hosts.error]


@pytest.mark.parametrize("verb", ["EHLO", "MAIL", "RCPT", "DATA", "END"])
@pytest.mark.parametrize("keywords", [(), ESMTP])
def test_lost_connection(verb: str, keywords: tuple[str, ...]) -> None:
    """At whatever command: the next server delivers, once."""
    bad = MailServer(keywords, answer=lambda v, rest: CLOSE if v == verb else None)
    good = MailServer(keywords)
    line = Line(lambda host: bad if host == ONE else good, ONE, TWO)
    source = FakeSource([request()])
    line.deliver(source)
    assert outcome(source).is_success
    assert len(good.delivered) == 1
    assert not bad.delivered


@pytest.mark.parametrize(
    ("verb", "limit", "words"),
    [
        ("GREETING", 300, "receiving the initial server greeting"),
        ("EHLO", 300, "performing the EHLO handshake"),
        ("MAIL", 300, "sending MAIL FROM"),
        ("RCPT", 300, "sending RCPT TO"),
        ("DATA", 120, "sending DATA command"),
        ("END", 600, "sending end of data -- message may be sent more than once"),
    ],
)
def test_silent_server(verb: str, limit: int, words: str) -> None:
    """Each stage has its time limit (postfix.md §7)."""
    line = one_server(MailServer(answer=lambda v, rest: SILENCE if v == verb else None))
    source = FakeSource([request()])
    line.deliver(source)
    line.pass_time(limit - 1)
    assert not source.results
    assert not line.errors
    line.pass_time(17)
    text = line.errors[0].text if line.errors else outcome(source).text
    assert text == f"conversation with mx1.site.test[{ONE}] timed out while {words}"
    assert line.reactor.getDelayedCalls() == []


def test_octets_are_no_sign_of_life() -> None:
    """A server that says a reply letter by letter doesn't get its time limit anew for each."""
    line = one_server(MailServer(answer=lambda v, rest: SILENCE if v == "MAIL" else None))
    source = FakeSource([request()])
    line.deliver(source)
    for letter in b"250 " + b"x" * 40:
        line.connections[0].protocol.dataReceived(bytes([letter]))
        line.pass_time(10)
    assert "timed out while sending MAIL FROM" in outcome(source).text


def test_server_that_does_not_read() -> None:
    """Content that the network doesn't take has its limit, too."""
    server = MailServer()
    line = one_server(server)
    source = FakeSource([request(content=DiskContent(LINES, slow=True))])
    line.deliver(source)
    line.connections[0].wire.producer.pauseProducing()
    line.pass_time(200)
    assert "timed out while sending message body" in outcome(source).text


def test_limit_of_messages_per_session() -> None:
    """What was on its way behind a 421 goes out on a new connection, at once and once."""
    servers: list[MailServer] = []

    def limited(host: str) -> MailServer:
        taken = [0]

        def answer(verb: str, rest: str) -> str | None:
            taken[0] += verb == "MAIL"
            return "421 4.3.2 too many messages" if taken[0] > 7 else None

        servers.append(MailServer(CHUNKING, answer))
        return servers[-1]

    line = Line(limited, ONE, settings=ClientSettings(session_limit=2))
    source = FakeSource(request(f"Q{n}") for n in range(40))
    line.deliver(source)
    assert [len(each.delivered) for each in servers] == [7, 7, 7, 7, 7, 5]
    assert all(each[1].is_success for each in source.results.values())
    assert len(source.results) == 40


def test_idle_connection_takes_what_comes() -> None:
    """For smtp_connection_cache_time_limit; then QUIT."""
    server = MailServer()
    line = one_server(server)
    source = FakeSource([request("Q1")], holds=True)
    line.deliver(source)
    assert source.waits == [2.0]
    source.supply(request("Q2"))
    line.pump()
    assert outcome(source, "Q2").conn_use == 2
    source.starve()
    line.pump()
    assert server.commands[-1] == "QUIT"
    assert len(line.connections) == 1


def test_idle_connection_that_the_server_closes() -> None:
    """No harm, no noise: the lane ends."""
    line = one_server(MailServer())
    source = FakeSource([request("Q1")], holds=True)
    lane = line.deliver(source)
    line.connections[0].lose()
    assert lane.called
    assert source.cancelled == 1
    assert line.log.lines == []


def test_idling_before_any_mail() -> None:
    """What a connection was made for has gone by another one meanwhile: it waits for more."""
    server = MailServer()
    line = one_server(server)
    source = FakeSource(holds=True)
    lane = line.deliver(source)
    assert source.waits == [2.0]
    source.supply(request("Q1"))
    line.pump()
    assert outcome(source, "Q1").is_success
    source.starve()
    line.pump()
    assert lane.called
    assert server.commands[-1] == "QUIT"


@pytest.mark.parametrize(
    ("settings", "connections"),
    [
        (ClientSettings(reuse_count=3), 4),
        (ClientSettings(reuse=0.0, idle=0.0), 10),
        (ClientSettings(), 1),
    ],
)
def test_reuse_has_limits(settings: ClientSettings, connections: int) -> None:
    """By count, or none at all."""
    line = Line(lambda host: MailServer(), ONE, settings=settings)
    source = FakeSource(request(f"Q{n}") for n in range(10))
    while source.requests:
        line.deliver(source)
    assert len(line.connections) == connections
    assert len(source.results) == 10


def test_reuse_ends_after_its_time() -> None:
    """smtp_connection_reuse_time_limit."""
    line = Line(lambda host: MailServer(), ONE, settings=ClientSettings(reuse=5))
    source = FakeSource([request("Q1")], holds=True)
    lane = line.deliver(source)
    line.pass_time(6)
    source.supply(request("Q2"))
    line.pump()
    assert outcome(source, "Q2").is_success
    assert lane.called
    assert line.connections[0].server.commands[-1] == "QUIT"


@pytest.mark.parametrize("verb", ["GREETING", "EHLO", "RCPT", "END"])
def test_cancelling(verb: str) -> None:
    """A lane that is cancelled tells nothing more, and leaves nothing behind."""
    line = one_server(MailServer(answer=lambda v, rest: SILENCE if v == verb else None))
    source = FakeSource([request()])
    lane = line.deliver(source)
    lane.cancel()
    assert line.connections[0].wire.aborted
    line.pump()
    assert source.results == {}
    assert len(line.errors) == 1
    assert line.reactor.getDelayedCalls() == []


def test_cancelling_while_idle_or_reading() -> None:
    """The wait is given back; a reading that ends later does nothing."""
    line = one_server(MailServer())
    source = FakeSource([request()], holds=True)
    line.deliver(source).cancel()
    assert source.cancelled == 1
    slow = DiskContent(b"hello\r\n", slow=True)
    source = FakeSource([request(content=slow)])
    line = one_server(MailServer())
    line.deliver(source).cancel()
    slow.release()
    line.pump()
    assert source.results == {}


def test_connection_lost_while_reading() -> None:
    """What was being read hasn't been tried: it gets the connection's trouble, once."""
    slow = DiskContent(b"hello\r\n", slow=True)
    line = one_server(MailServer())
    source = FakeSource([request(content=slow)])
    line.deliver(source)
    line.connections[0].lose()
    assert outcome(source).status == "4.4.2"
    slow.release()
    assert len(source.results) == 1


def test_quit_is_not_waited_for() -> None:
    """The lane ends; with smtp_skip_quit_response = no the connection lingers, within limits."""
    settings = ClientSettings(skip_quit=False, timeouts=Timeouts(quit=30))
    line = one_server(MailServer(answer=lambda v, rest: SILENCE if v == "QUIT" else None), settings)
    source = FakeSource([request()])
    lane = line.deliver(source)
    assert lane.called
    (connection,) = line.connections
    assert not connection.wire.disconnecting
    connection.server.is_closed = False
    line.reactor.advance(31)
    assert connection.wire.aborted


def test_lingering_connections_are_few() -> None:
    """Servers that never answer QUIT don't use up our descriptors."""

    def server(host: str) -> MailServer:
        made = MailServer()
        made.answer = lambda verb, rest: SILENCE if verb == "QUIT" else None
        return made

    line = Line(server, ONE, settings=ClientSettings(skip_quit=False, reuse_count=1))
    source = FakeSource(request(f"Q{n}") for n in range(120))
    while source.requests:
        line.deliver(source)
        for each in line.connections:
            each.is_stalled = each.server.commands[-1:] == ["QUIT"]
    assert sum(not each.wire.aborted for each in line.connections) <= 51


def test_size_limit_of_the_server() -> None:
    """What is too large isn't offered; other mail is."""
    server = MailServer(("SIZE 100", "PIPELINING"))
    line = one_server(server)
    source = FakeSource([request("Q1", content=b"x" * 101), request("Q2")])
    line.deliver(source)
    assert outcome(source).status == "5.3.4"
    assert outcome(source, "Q2").is_success
    assert outcome(source).text == (
        f"message size 101 exceeds size limit 100 of server mx1.site.test[{ONE}]"
    )


@pytest.mark.parametrize(
    ("header", "keywords", "status"),
    [
        ("Subject: ü", ("8BITMIME",), "5.6.7"),
        ("Subject: u", ("8BITMIME",), "2.0.0"),
        ("Subject: ü", ("8BITMIME", "SMTPUTF8"), "2.0.0"),
    ],
)
@pytest.mark.parametrize("size", [1, 100000])
def test_smtputf8_only_where_needed(
    header: str, keywords: tuple[str, ...], status: str, size: int
) -> None:
    """A body in UTF-8 doesn't need it, a header does."""
    content = f"{header}\r\n\r\n{'ü' * 90}\r\n".encode() + b"line\r\n" * size
    line = one_server(MailServer(keywords))
    source = FakeSource([request(content=DiskContent(content), smtputf8=True, has_8bit=True)])
    line.deliver(source)
    assert outcome(source).status == status


def test_conversion_to_7_bits() -> None:
    """For a server without 8BITMIME, unless switched off."""
    content = "Subject: u\r\n\r\ngrün\r\n".encode()
    server = MailServer(("PIPELINING",))
    source = FakeSource([request(content=content, has_8bit=True)])
    one_server(server).deliver(source)
    assert server.delivered[0].content.isascii()
    server = MailServer(("PIPELINING",))
    source = FakeSource([request(content=content, has_8bit=True)])
    one_server(server, ClientSettings(convert_8bit=False)).deliver(source)
    assert server.delivered[0].content == content


def test_bad_addresses_do_not_hold_up_others() -> None:
    """A recipient that can't be said is returned alone."""
    server = MailServer()
    source = FakeSource([request("Q1", "ok@a", Recipient(Address("a\nb", "c"), ROUTE))])
    one_server(server).deliver(source)
    assert server.delivered[0].recipients == ["TO:<ok@a>"]
    assert outcome(source, number=2).status == "5.1.3"


def test_lmtp() -> None:
    """One answer for each recipient; a Unix socket has no port in relay=."""
    settings = ClientSettings(lmtp=True, helo_name="us.test")
    server = MailServer(
        CHUNKING,
        lambda verb, rest: "452 full" if rest == "TO:<b@a>" and verb == "END" else None,
        lmtp=True,
    )
    source = FakeSource([request("Q1", "a@a", "b@a"), request("Q2", "b@a"), request("Q3", "a@a")])
    line = one_server(server, settings)
    line.deliver(source)
    assert server.commands[0] == "LHLO us.test"
    assert outcome(source).is_success
    assert outcome(source, number=2).status == "4.0.0"
    assert outcome(source, "Q2").status == "4.0.0"
    assert outcome(source, "Q3").is_success


def test_times_are_told() -> None:
    """connect and transmit are what the log's delays=…/c/d show."""
    line = one_server(MailServer(answer=lambda v, rest: SILENCE if v == "DATA" else None))
    line.hosts.servers_found = (replace(line.hosts.servers_found[0]),)
    source = FakeSource([request()])
    line.deliver(source)
    line.pass_time(3)
    connection = line.connections[0]
    connection.protocol.dataReceived(b"554 no\r\n250 ok\r\n")
    assert outcome(source).transmit == 3.0
    assert outcome(source).connect == 0.0


@pytest.mark.parametrize(
    ("keywords", "content", "told"),
    [
        (ESMTP, b"small\r\n", [0.6]),
        (ESMTP, LINES, []),
        (CHUNKING, b"small\r\n", []),
        ((), b"small\r\n", []),
    ],
)
def test_the_queue_learns_of_long_round_trips(
    keywords: tuple[str, ...], content: bytes, told: list[float]
) -> None:
    """Once, by what the answer to EHLO took; not where the lane sends on, or its line is busy."""
    line = one_server(MailServer(keywords))
    source = FakeSource([request(f"Q{n}", content=content) for n in range(3)])
    lane = Deferred.fromCoroutine(line.transport.deliver("site.test", source))
    line.step()
    line.reactor.advance(1)
    line.step()
    line.reactor.advance(0.6)
    line.pump()
    assert lane.called
    assert len(source.results) == 3
    assert source.round_trips == pytest.approx(told)
