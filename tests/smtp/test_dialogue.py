"""The client's dialogue, octet by octet."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gatewayd.smtp.client_settings import ClientSettings
from gatewayd.smtp.dialogue import EARLY_LIMIT, Dialogue
from gatewayd.smtp.exchange import (
    ContentWanted,
    Event,
    Exchange,
    HungUp,
    Opened,
    SessionRefused,
    Transacted,
)
from gatewayd.smtp.trouble import Peer, Stage, connection_trouble
from gatewayd.status import Action, Outcome

PEER = Peer("mx.site.test", "192.0.2.1", 25)
US = ClientSettings(helo_name="us.test", myhostname="us.test")
ESMTP = b"250-mx.site.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
CHUNKING = b"250-mx.site.test\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
PLAIN = b"250 mx.site.test\r\n"


def opened(ehlo: bytes = ESMTP, settings: ClientSettings = US) -> Dialogue:
    """A dialogue past its greeting."""
    dialogue = Dialogue(settings, PEER, "site.test")
    assert dialogue.receive(b"220 mx.site.test ESMTP\r\n") == []
    hello = b"LHLO us.test\r\n" if settings.lmtp else b"EHLO us.test\r\n"
    assert dialogue.output() == hello
    (event,) = dialogue.receive(ehlo)
    assert isinstance(event, Opened)
    assert dialogue.is_idle
    return dialogue


def exchange(name: str = "a", *recipients: str, size: int = 3) -> Exchange:
    lines = [f"RCPT TO:<{each}>".encode() for each in recipients or ("r",)]
    return Exchange(f"MAIL FROM:<{name}>".encode(), lines, size)


def wanted(events: list[Event]) -> list[bool]:
    return [event.bdat for event in events if isinstance(event, ContentWanted)]


def over(events: list[Event]) -> list[Exchange]:
    return [event.exchange for event in events if isinstance(event, Transacted)]


def actions(of: Exchange) -> list[Action]:
    return [outcome.action for outcome in of.outcomes if outcome is not None]


def texts(of: Exchange) -> list[str]:
    return [outcome.text for outcome in of.outcomes if outcome is not None]


def refused(events: list[Event]) -> Outcome:
    (event,) = events
    assert isinstance(event, SessionRefused | HungUp)
    return event.outcome


# Opening


def test_ehlo_refused_leads_to_helo() -> None:
    """A server of 1982 gets HELO, and is offered nothing it did not list."""
    dialogue = Dialogue(US, PEER)
    dialogue.receive(b"220 hi\r\n")
    dialogue.output()
    assert dialogue.receive(b"502 what\r\n") == []
    assert dialogue.output() == b"HELO us.test\r\n"
    (event,) = dialogue.receive(b"250-mx.site.test\r\n250 PIPELINING\r\n")
    assert isinstance(event, Opened)
    assert not dialogue.capabilities.pipelining


@pytest.mark.parametrize(
    ("settings", "greeting", "said"),
    [
        (replace(US, always_send_ehlo=False), b"220 mx SMTP\r\n", b"HELO us.test\r\n"),
        (replace(US, always_send_ehlo=False), b"220 mx ESMTP\r\n", b"EHLO us.test\r\n"),
        (replace(US, never_send_ehlo=True), b"220 mx ESMTP\r\n", b"HELO us.test\r\n"),
        (replace(US, lmtp=True, never_send_ehlo=True), b"220 mx\r\n", b"LHLO us.test\r\n"),
    ],
)
def test_choice_of_hello(settings: ClientSettings, greeting: bytes, said: bytes) -> None:
    """smtp_always_send_ehlo and smtp_never_send_ehlo; LMTP has no choice."""
    dialogue = Dialogue(settings, PEER)
    dialogue.receive(greeting)
    assert dialogue.output() == said


@pytest.mark.parametrize(
    ("settings", "octets", "action", "status"),
    [
        (US, b"421 4.3.2 busy\r\n", Action.DEFERRED, "4.3.2"),
        (US, b"554 no\r\n", Action.DEFERRED, "4.0.0"),
        (replace(US, skip_5xx_greeting=False), b"554 no\r\n", Action.FAILED, "5.0.0"),
        (
            replace(US, skip_5xx_greeting=False, soft_bounce=True),
            b"554 no\r\n",
            Action.DEFERRED,
            "4.0.0",
        ),
    ],
)
def test_greeting_refused(
    settings: ClientSettings, octets: bytes, action: Action, status: str
) -> None:
    """A greeting of 5xx is soft unless configured otherwise (postfix.md §7)."""
    outcome = refused(Dialogue(settings, PEER).receive(octets))
    assert (outcome.action, outcome.status) == (action, status)
    said = octets.decode().strip()
    assert outcome.text == f"host mx.site.test[192.0.2.1] refused to talk to me: {said}"
    assert outcome.relay == "mx.site.test[192.0.2.1]:25"


@pytest.mark.parametrize(
    ("replies", "action"),
    [
        ((b"451 later\r\n",), Action.DEFERRED),
        ((b"421 bye\r\n",), Action.DEFERRED),
        ((b"521 never\r\n",), Action.FAILED),
        ((b"500 what\r\n", b"550 no\r\n"), Action.FAILED),
        ((b"500 what\r\n", b"450 no\r\n"), Action.DEFERRED),
    ],
)
def test_hello_refused(replies: tuple[bytes, ...], action: Action) -> None:
    """5xx to HELO is hard, anything else soft."""
    dialogue = Dialogue(US, PEER)
    dialogue.receive(b"220 hi\r\n")
    events: list[Event] = []
    for each in replies:
        events = dialogue.receive(each)
    assert refused(events).action is action


@pytest.mark.parametrize(
    ("peer", "status"),
    [
        (PEER, "5.4.6"),
        (replace(PEER, best_mx=False), "4.4.6"),
        (replace(PEER, port=2525), ""),
    ],
)
def test_server_with_our_name(peer: Peer, status: str) -> None:
    """A loop on port 25; on others it's somebody's deliberate set-up."""
    dialogue = Dialogue(US, peer, "site.test")
    dialogue.receive(b"220 hi\r\n")
    (event,) = dialogue.receive(b"250-US.test\r\n250 SIZE\r\n")
    if not status:
        assert isinstance(event, Opened)
        return
    assert isinstance(event, SessionRefused)
    assert event.outcome.status == status
    assert event.outcome.text == "mail for site.test loops back to myself"


def test_keywords_may_be_discarded() -> None:
    """smtp_discard_ehlo_keywords; and CHUNKING alone is of no use."""
    dialogue = opened(CHUNKING, replace(US, discard_keywords=frozenset({"PIPELINING"})))
    assert not dialogue.capabilities.pipelining
    assert not dialogue.capabilities.chunking


@pytest.mark.parametrize(
    ("keyword", "limit"),
    [("SIZE", 0), ("SIZE 0", 0), ("SIZE 1_000", 0), ("SIZE +5", 0), ("size 1234", 1234)],
)
def test_size_limit_is_digits(keyword: str, limit: int) -> None:
    """A limit that is none doesn't count."""
    dialogue = opened(f"250-mx\r\n250 {keyword}\r\n".encode())
    assert dialogue.capabilities.has_size
    assert dialogue.capabilities.size == limit


# Transactions without PIPELINING


def test_one_command_at_a_time() -> None:
    """Without PIPELINING each command waits; a refused recipient gets no mail, others do."""
    dialogue = opened(PLAIN)
    mail = exchange("a", "x", "y")
    dialogue.begin(mail)
    assert not dialogue.may_begin
    for reply, said in (
        (b"250 ok\r\n", b"RCPT TO:<x>\r\n"),
        (b"550 5.1.1 no x\r\n", b"RCPT TO:<y>\r\n"),
        (b"250 ok\r\n", b"DATA\r\n"),
    ):
        dialogue.output()
        assert dialogue.receive(reply) == []
        assert dialogue.output() == said
    assert wanted(dialogue.receive(b"354 go\r\n")) == [False]
    dialogue.send(mail, b"hi\r\n", last=True)
    assert dialogue.output() == b"hi\r\n.\r\n"
    assert over(dialogue.receive(b"250 2.6.0 queued\r\n")) == [mail]
    assert actions(mail) == [Action.FAILED, Action.RELAYED]
    assert texts(mail) == [
        "host mx.site.test[192.0.2.1] said: 550 5.1.1 no x (in reply to RCPT TO command)",
        "250 2.6.0 queued",
    ]
    assert dialogue.may_begin


def test_nobody_left_means_rset() -> None:
    """With every recipient refused nothing is sent, and the transaction is ended."""
    dialogue = opened(PLAIN)
    mail = exchange()
    dialogue.begin(mail)
    dialogue.receive(b"250 ok\r\n")
    dialogue.output()
    assert over(dialogue.receive(b"450 later\r\n")) == [mail]
    assert dialogue.output() == b"RSET\r\n"
    assert not dialogue.may_begin
    dialogue.receive(b"250 ok\r\n")
    assert dialogue.is_idle


@pytest.mark.parametrize(
    ("reply", "action", "status"),
    [
        (b"451 4.7.1 greylisted\r\n", Action.DEFERRED, "4.7.1"),
        (b"550 5.7.1 blocked\r\n", Action.FAILED, "5.7.1"),
        (b"550 4.7.1 confused\r\n", Action.FAILED, "5.0.0"),
        (b"354 what?\r\n", Action.DEFERRED, "4.5.0"),
    ],
)
def test_mail_refused(reply: bytes, action: Action, status: str) -> None:
    """MAIL's answer is for all recipients; a reply that makes no sense is temporary."""
    dialogue = opened(PLAIN)
    mail = exchange("a", "x", "y")
    dialogue.begin(mail)
    assert over(dialogue.receive(reply)) == [mail]
    assert actions(mail) == [action, action]
    outcome = mail.outcomes[0]
    assert outcome is not None
    assert outcome.status == status
    assert "(in reply to MAIL FROM command)" in outcome.text


# PIPELINING


def test_one_write_for_a_transaction() -> None:
    """MAIL, RCPT, RCPT, DATA go out at once."""
    dialogue = opened()
    dialogue.begin(exchange("a", "x", "y"))
    assert dialogue.output() == b"MAIL FROM:<a>\r\nRCPT TO:<x>\r\nRCPT TO:<y>\r\nDATA\r\n"


def test_the_next_message_follows_in_the_same_write() -> None:
    """Content, dot, and the commands of the next message, without waiting for the answer."""
    dialogue = opened()
    first, second = exchange("a"), exchange("b")
    dialogue.begin(first)
    assert not dialogue.may_begin
    assert wanted(dialogue.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")) == [False]
    dialogue.output()
    dialogue.send(first, b"hi\r\n", last=True)
    assert dialogue.may_begin
    dialogue.begin(second)
    assert not dialogue.may_begin
    assert dialogue.output() == b"hi\r\n.\r\nMAIL FROM:<b>\r\nRCPT TO:<r>\r\nDATA\r\n"
    events = dialogue.receive(b"452 full\r\n250 ok\r\n250 ok\r\n354 go\r\n")
    assert over(events) == [first]
    assert actions(first) == [Action.DEFERRED]
    assert "(in reply to end of DATA command)" in texts(first)[0]
    assert wanted(events) == [False]
    dialogue.send(second, b"ho\r\n", last=True)
    assert over(dialogue.receive(b"250 ok\r\n")) == [second]


def test_data_goes_on_although_nobody_wants_it() -> None:
    """354 with no recipient left is answered with an empty message, for nobody."""
    dialogue = opened()
    mail = exchange()
    dialogue.begin(mail)
    dialogue.output()
    assert dialogue.receive(b"250 ok\r\n550 no\r\n354 go\r\n") == []
    assert dialogue.output() == b".\r\n"
    assert over(dialogue.receive(b"554 no valid recipients\r\n")) == [mail]
    assert "RCPT TO" in texts(mail)[0]
    assert dialogue.is_idle


def test_mail_refused_in_a_group() -> None:
    """The answers to what followed a refused MAIL tell nothing."""
    dialogue = opened()
    mail = exchange("a", "x", "y")
    dialogue.begin(mail)
    dialogue.output()
    events = dialogue.receive(b"450 4.7.1 wait\r\n503 no\r\n250 what\r\n503 no\r\n")
    assert over(events) == [mail]
    assert actions(mail) == [Action.DEFERRED, Action.DEFERRED]
    assert dialogue.output() == b""
    assert dialogue.is_idle


def test_data_refused() -> None:
    """DATA's refusal is for those accepted before; RSET ends the transaction."""
    dialogue = opened()
    mail = exchange("a", "x", "y")
    dialogue.begin(mail)
    dialogue.output()
    events = dialogue.receive(b"250 ok\r\n550 no x\r\n250 ok\r\n451 4.3.0 not now\r\n")
    assert over(events) == [mail]
    assert actions(mail) == [Action.FAILED, Action.DEFERRED]
    assert "(in reply to DATA command)" in texts(mail)[1]
    assert dialogue.output() == b"RSET\r\n"
    assert dialogue.may_begin


def test_thousands_of_recipients_in_one_group() -> None:
    """All go out, and each gets its answer."""
    dialogue = opened()
    mail = exchange("a", *(f"r{n}" for n in range(5000)))
    dialogue.begin(mail)
    assert dialogue.output().count(b"RCPT") == 5000
    answers = [b"250 ok\r\n" if n % 2 else b"550 no\r\n" for n in range(5000)]
    assert wanted(dialogue.receive(b"250 ok\r\n" + b"".join(answers) + b"354 go\r\n")) == [False]
    dialogue.send(mail, b"hi\r\n", last=True)
    assert over(dialogue.receive(b"250 ok\r\n")) == [mail]
    assert actions(mail) == [Action.FAILED, Action.RELAYED] * 2500


def test_dsn_duty_is_passed_on() -> None:
    """A server with DSN takes over the duty to report success."""
    dialogue = opened(b"250-mx\r\n250-PIPELINING\r\n250 DSN\r\n")
    mail = exchange()
    dialogue.begin(mail)
    dialogue.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    dialogue.send(mail, b"hi\r\n", last=True)
    dialogue.receive(b"250 ok\r\n")
    assert actions(mail) == [Action.PASSED]


# CHUNKING


def begin_chunked(dialogue: Dialogue, mail: Exchange, content: bytes = b"hi\r\n") -> bytes:
    assert dialogue.may_begin
    assert wanted(dialogue.begin(mail)) == [True]
    dialogue.send(mail, content, last=True)
    return dialogue.output()


def test_chunked_messages_wait_for_nothing() -> None:
    """A full stream: commands and content of several messages before any answer."""
    dialogue = opened(CHUNKING)
    first, second = exchange("a"), exchange("b")
    assert begin_chunked(dialogue, first) == (
        b"MAIL FROM:<a>\r\nRCPT TO:<r>\r\nBDAT 4 LAST\r\nhi\r\n"
    )
    assert begin_chunked(dialogue, second) == (
        b"RSET\r\nMAIL FROM:<b>\r\nRCPT TO:<r>\r\nBDAT 4 LAST\r\nhi\r\n"
    )
    assert over(dialogue.receive(b"250 ok\r\n250 ok\r\n250 a taken\r\n")) == [first]
    assert over(dialogue.receive(b"250 ok\r\n250 ok\r\n250 ok\r\n451 not b\r\n")) == [second]
    assert texts(first) == ["250 a taken"]
    assert "(in reply to BDAT command)" in texts(second)[0]
    assert dialogue.is_idle


def test_window_bounds_what_is_under_way() -> None:
    """Neither messages nor octets without an answer grow without limit."""
    dialogue = opened(CHUNKING, replace(US, in_flight=3, in_flight_octets=1000))
    for name in "abc":
        begin_chunked(dialogue, exchange(name))
    assert not dialogue.may_begin
    dialogue = opened(CHUNKING, replace(US, in_flight=30, in_flight_octets=1000))
    begin_chunked(dialogue, exchange("a", size=999))
    begin_chunked(dialogue, exchange("b", size=999))
    assert not dialogue.may_begin


def test_bdat_refused_is_followed_by_rset() -> None:
    """A refused BDAT may leave its transaction open."""
    dialogue = opened(CHUNKING)
    begin_chunked(dialogue, exchange("a"))
    dialogue.receive(b"250 ok\r\n550 no\r\n503 nobody\r\n")
    assert begin_chunked(dialogue, exchange("b")).startswith(b"RSET\r\nMAIL")
    dialogue.receive(b"250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n")
    assert begin_chunked(dialogue, exchange("c")).startswith(b"MAIL")


def test_large_content_waits_for_a_recipient() -> None:
    """What is dear to send isn't sent for nobody."""
    dialogue = opened(CHUNKING)
    mail = exchange(size=EARLY_LIMIT + 1)
    assert dialogue.begin(mail) == []
    assert dialogue.output() == b"MAIL FROM:<a>\r\nRCPT TO:<r>\r\n"
    assert not dialogue.may_begin
    assert over(dialogue.receive(b"250 ok\r\n550 no\r\n")) == [mail]
    assert dialogue.output() == b"RSET\r\n"
    assert dialogue.may_begin


def held(dialogue: Dialogue) -> Exchange:
    mail = exchange(size=EARLY_LIMIT + 1)
    dialogue.begin(mail)
    assert wanted(dialogue.receive(b"250 ok\r\n250 ok\r\n")) == [True]
    dialogue.output()
    return mail


def test_content_in_several_chunks() -> None:
    """Each chunk is answered; the last answer counts."""
    dialogue = opened(CHUNKING)
    mail = held(dialogue)
    dialogue.send(mail, b"one\r\n", last=False)
    dialogue.send(mail, b"two\r\n", last=True)
    assert dialogue.output() == b"BDAT 5\r\none\r\nBDAT 5 LAST\r\ntwo\r\n"
    assert dialogue.may_begin
    assert dialogue.receive(b"250 5 octets\r\n") == []
    assert over(dialogue.receive(b"250 done\r\n")) == [mail]
    assert texts(mail) == ["250 done"]


def test_a_refused_chunk_ends_the_sending() -> None:
    """The first refusal is the outcome; RSET cleans up; the session goes on."""
    dialogue = opened(CHUNKING)
    mail = held(dialogue)
    dialogue.send(mail, b"one\r\n", last=False)
    dialogue.send(mail, b"two\r\n", last=False)
    dialogue.output()
    assert dialogue.receive(b"552 5.3.4 too much\r\n") == []
    assert mail.is_refused
    dialogue.give_up(mail, connection_trouble(PEER, Stage.CONTENT, timed_out=False))
    assert dialogue.output() == b"RSET\r\n"
    assert over(dialogue.receive(b"503 no\r\n250 ok\r\n")) == [mail]
    assert actions(mail) == [Action.FAILED]
    assert dialogue.is_idle


def test_chunks_can_be_taken_back() -> None:
    """A content that our own queue can't give to its end is never completed."""
    dialogue = opened(CHUNKING)
    mail = held(dialogue)
    dialogue.send(mail, b"one\r\n", last=False)
    dialogue.output()
    trouble = connection_trouble(PEER, Stage.CONTENT, timed_out=False)
    assert dialogue.give_up(mail, trouble) == []
    assert dialogue.output() == b"RSET\r\n"
    assert over(dialogue.receive(b"250 ok\r\n250 ok\r\n")) == [mail]
    assert actions(mail) == [Action.DEFERRED]


def test_data_cannot_be_taken_back() -> None:
    """Without BDAT only hanging up keeps half a message from being taken for a whole."""
    dialogue = opened()
    mail = exchange()
    dialogue.begin(mail)
    dialogue.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    dialogue.send(mail, b"half", last=False)
    trouble = connection_trouble(PEER, Stage.CONTENT, timed_out=False)
    assert dialogue.give_up(mail, trouble) is None
    assert b"." not in dialogue.output().split(b"DATA\r\n")[1]


# LMTP


@pytest.mark.parametrize("ehlo", [PLAIN, ESMTP, CHUNKING])
def test_lmtp_answers_for_each_recipient(ehlo: bytes) -> None:
    """One final reply for each recipient that was accepted (RFC 2033 §4.2)."""
    dialogue = opened(ehlo, replace(US, lmtp=True))
    mail = exchange("a", "x", "y", "z")
    events = dialogue.begin(mail)
    if ehlo == CHUNKING:
        dialogue.send(mail, b"hi\r\n", last=True)
        events = dialogue.receive(b"250 ok\r\n250 x\r\n550 no y\r\n250 z\r\n")
    else:
        for reply in (b"250 ok\r\n", b"250 x\r\n", b"550 no y\r\n", b"250 z\r\n", b"354 go\r\n"):
            events = dialogue.receive(reply)
        assert wanted(events) == [False]
        dialogue.send(mail, b"hi\r\n", last=True)
    assert dialogue.receive(b"452 x is full\r\n") == []
    assert over(dialogue.receive(b"250 z has it\r\n")) == [mail]
    assert actions(mail) == [Action.DEFERRED, Action.FAILED, Action.RELAYED]
    assert dialogue.is_idle


def test_lmtp_with_final_delivery_assumed() -> None:
    """lmtp_assume_final makes of a server without DSN the recipient's own."""
    dialogue = opened(ESMTP, replace(US, lmtp=True, assume_final=True))
    mail = exchange()
    dialogue.begin(mail)
    dialogue.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    dialogue.send(mail, b"hi\r\n", last=True)
    dialogue.receive(b"250 ok\r\n")
    assert actions(mail) == [Action.DELIVERED]


def test_lmtp_data_without_recipients_is_a_breach() -> None:
    """LMTP would answer nothing to the end of such a message."""
    dialogue = opened(ESMTP, replace(US, lmtp=True))
    dialogue.begin(exchange())
    events = dialogue.receive(b"250 ok\r\n550 no\r\n354 go\r\n")
    assert refused(events).status == "4.5.0"


# The end, and what shouldn't be


def test_421_ends_the_session_and_untouched_mail_goes_elsewhere() -> None:
    """A server may limit the messages of a session; what it hasn't begun with isn't tried."""
    dialogue = opened(CHUNKING)
    first, second, third = exchange("a"), exchange("b"), exchange("c")
    for each in (first, second, third):
        begin_chunked(dialogue, each)
    events = dialogue.receive(b"250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n421 4.3.2 enough\r\n")
    assert over(events) == [first]
    assert isinstance(events[-1], HungUp)
    assert not dialogue.may_begin
    outcome = events[-1].outcome
    assert dialogue.break_off(outcome, keep_unanswered=True) == ([], [second, third])


def test_421_to_the_first_message_is_its_outcome() -> None:
    """Without progress nothing is tried again at once: that could go on for ever."""
    dialogue = opened(CHUNKING)
    first, second = exchange("a"), exchange("b")
    for each in (first, second):
        begin_chunked(dialogue, each)
    (event,) = dialogue.receive(b"421 4.3.2 enough\r\n")
    assert isinstance(event, HungUp)
    settled, untouched = dialogue.break_off(event.outcome, keep_unanswered=True)
    assert (settled, untouched) == ([first, second], [])
    assert "421 4.3.2 enough (in reply to MAIL FROM command)" in texts(first)[0]


def test_421_in_a_transaction_keeps_what_was_answered() -> None:
    """A refusal before the 421 stays; the rest of the message is deferred."""
    dialogue = opened()
    mail = exchange("a", "x", "y")
    dialogue.begin(mail)
    events = dialogue.receive(b"250 ok\r\n550 no\r\n421 bye\r\n250 ok\r\n354 ok\r\n")
    dialogue.break_off(refused(events), keep_unanswered=True)
    assert actions(mail) == [Action.FAILED, Action.DEFERRED]


def test_an_early_refusal_of_content() -> None:
    """Some servers refuse while the content still comes; that is the message's answer."""
    dialogue = opened()
    mail = exchange()
    dialogue.begin(mail)
    dialogue.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    dialogue.send(mail, b"much", last=False)
    outcome = refused(dialogue.receive(b"552 5.3.4 too big\r\n"))
    assert (outcome.action, outcome.status) == (Action.FAILED, "5.3.4")


@pytest.mark.parametrize(
    "octets", [b"250 what\r\n", b"garbage\r\n", b"250-a\r\n251 b\r\n", b"x" * 5000, b"\x00\xff\r\n"]
)
def test_what_is_no_answer_ends_the_session(octets: bytes) -> None:
    """Answers and commands would be mismatched from then on."""
    dialogue = opened()
    outcome = refused(dialogue.receive(octets))
    assert outcome.action is Action.DEFERRED
    assert outcome.status == "4.5.0"
    assert not dialogue.may_begin


def test_answers_before_garbage_count() -> None:
    """A message that was taken is not sent again because of what came behind the answer."""
    dialogue = opened()
    mail = exchange()
    dialogue.begin(mail)
    dialogue.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    dialogue.send(mail, b"hi\r\n", last=True)
    events = dialogue.receive(b"250 ok\r\nHTTP/1.1 400 Bad Request\r\n")
    assert over(events) == [mail]
    assert isinstance(events[-1], HungUp)


def test_quit_ends_all_listening() -> None:
    """After QUIT nothing that comes matters."""
    dialogue = opened()
    dialogue.close()
    dialogue.close()
    assert dialogue.output() == b"QUIT\r\n"
    assert dialogue.receive(b"221 bye\r\ngarbage\r\n") == []


def test_soft_bounce_makes_everything_soft() -> None:
    """With soft_bounce nothing is returned."""
    dialogue = opened(ESMTP, replace(US, soft_bounce=True))
    mail = exchange("a", "x", "y")
    dialogue.begin(mail)
    dialogue.receive(b"250 ok\r\n550 5.1.1 no\r\n250 ok\r\n354 go\r\n")
    dialogue.send(mail, b"hi\r\n", last=True)
    dialogue.receive(b"554 5.6.0 no\r\n")
    assert [outcome.status for outcome in mail.outcomes if outcome] == ["4.1.1", "4.6.0"]
    assert actions(mail) == [Action.DEFERRED] * 2


_SCRIPT = (
    b"250 2.1.0 ok\r\n250-2.1.5 first\r\n250-second\r\n250 third\r\n"
    b"550-5.1.1 no\r\n550 5.1.1 one\r\n354 go\r\n"
)


@hypothesis_settings(deadline=None)
@given(st.lists(st.integers(0, len(_SCRIPT)), max_size=12))
def test_splitting_of_replies_does_not_matter(cuts: list[int]) -> None:
    """However the network cuts the server's octets, the events are the same."""
    dialogue = opened()
    mail = exchange("a", "x", "y")
    dialogue.begin(mail)
    events: list[Event] = []
    places = [0, *sorted(cuts), len(_SCRIPT)]
    for start, end in pairwise(places):
        events += dialogue.receive(_SCRIPT[start:end])
    assert wanted(events) == [False]
    dialogue.send(mail, b"hi\r\n", last=True)
    assert over(dialogue.receive(b"250 ok\r\n")) == [mail]
    assert actions(mail) == [Action.RELAYED, Action.FAILED]
    assert "said: 550-5.1.1 no 550 5.1.1 one (in reply to RCPT TO command)" in texts(mail)[1]
