"""Mail through an SMTP server session: transactions, DATA, BDAT, pipelining, cut anywhere."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.address import NULL, Address
from gatewayd.message import Notify, Origin
from gatewayd.smtp.content import BareLf
from gatewayd.smtp.session_events import (
    AskConnected,
    AskData,
    AskEndOfData,
    AskGreeted,
    AskRecipient,
    AskSender,
    Begin,
    Commit,
    Content,
)
from gatewayd.status import Reply
from tests.smtp.desk import Desk, desk

_START = b"EHLO c.test\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
_ACCESS = "client.test[192.0.2.1]"


def _started(answers: dict[type, object] | None = None, /, **changes: object) -> Desk:
    """A session in which one recipient has been accepted."""
    talk = desk(answers, **changes)
    for line in _START.splitlines(keepends=True):
        talk.say(line)
    return talk


def test_a_message() -> None:
    """Everything said about a message reaches the queue."""
    talk = desk()
    talk.say(b"EHLO c.test\r\n")
    talk.say(b"MAIL FROM:<a@b> SIZE=9 BODY=8BITMIME RET=HDRS ENVID=x SMTPUTF8\r\n")
    talk.say(b'RCPT TO:<"c d"@e> NOTIFY=NEVER ORCPT=rfc822;f@g\r\n')
    talk.say(b"RCPT TO:<postmaster>\r\n")
    assert talk.say(b"DATA\r\n") == b"354 End data with <CR><LF>.<CR><LF>\r\n"
    assert talk.say(b"S: x\r\n\r\n..dot\r\n.\r\n") == b"250 2.0.0 Ok: queued as Q1\r\n"
    (taken,) = talk.taken
    assert taken.content == b"S: x\r\n\r\n.dot\r\n"
    envelope = taken.envelope
    assert envelope.sender == Address("a", "b")
    assert (envelope.body, envelope.ret, envelope.envid) == ("8BITMIME", "HDRS", "x")
    assert envelope.smtputf8
    assert envelope.origin == Origin("ESMTP", "c.test", "client.test", "192.0.2.1", 4711)
    first, second = taken.recipients
    assert (first.original, first.notify, first.orcpt) == (
        '"c d"@e',
        Notify.NEVER,
        "rfc822;f@g",
    )
    assert second.address == Address("postmaster")
    assert talk.log == [f"Q1: client={_ACCESS}"]
    talk.say(b"QUIT\r\n")
    assert talk.closed
    counted = "ehlo=1 mail=1 rcpt=2 data=1 quit=1 commands=6"
    assert talk.session.summary() == f"disconnect from {_ACCESS} {counted}"
    assert talk.session.lost() == ""


def test_questions_in_order() -> None:
    """What is asked, and with what known by then."""
    talk = desk()
    talk.say(b"EHLO c.test\r\n")
    talk.say(_START[13:] + b"RCPT TO:<e@f>\r\n")
    talk.say(b"DATA\r\n")
    talk.say(b"12345\r\n.\r\n")
    kinds = [type(event).__name__ for event in talk.events if type(event).__name__ != "Logged"]
    assert kinds == [
        "AskGreeted",
        "AskSender",
        "AskRecipient",
        "AskRecipient",
        "AskData",
        "Begin",
        "Content",
        "AskEndOfData",
        "Commit",
    ]
    by_kind = {type(event): event for event in talk.events}
    assert by_kind[AskGreeted].peer.helo == "c.test"  # type: ignore[attr-defined]
    last = by_kind[AskRecipient]
    assert isinstance(last, AskRecipient)
    assert [str(each.address) for each in last.transaction.recipients] == ["c@d"]
    end = by_kind[AskEndOfData]
    assert isinstance(end, AskEndOfData)
    assert end.size == 7


_SESSIONS = (
    _START + b"RCPT TO:<e@f>\r\nDATA\r\n..a\r\nb\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<x@y>\r\n"
    b"BDAT 3\r\nab\nBDAT 4 LAST\r\n.\r\ncNOOP x\r\nQUIT\r\n"
)


@given(st.lists(st.integers(0, len(_SESSIONS)), max_size=12))
def test_any_pieces(cuts: list[int]) -> None:
    """Replies, messages and log are the same however the octets arrive."""
    lax = {"forbid_unauth_pipelining": False}
    whole, cut = desk(**lax), desk(**lax)
    expected = whole.say(_SESSIONS)
    edges = [0, *sorted(cuts), len(_SESSIONS)]
    said = b"".join(cut.say(_SESSIONS[start:end]) for start, end in pairwise(edges))
    assert said == expected
    assert [(each.queue_id, each.content) for each in cut.taken] == [
        ("Q1", b".a\r\nb\r\n"),
        ("Q2", b"ab\r\n.\r\nc\r\n"),
    ]
    assert cut.closed
    assert cut.session.summary() == whole.session.summary()


def test_octet_by_octet() -> None:
    lax = {"forbid_unauth_pipelining": False}
    whole, slow = desk(**lax), desk(**lax)
    said = b"".join(slow.say(bytes([octet])) for octet in _SESSIONS)
    assert said == whole.say(_SESSIONS)
    assert len(slow.taken) == 2


def test_pipelined_replies_leave_together() -> None:
    """RFC 2920 §3.2: replies to commands that came together are gathered."""
    talk = desk()
    talk.say(b"EHLO x\r\n")
    talk.session.receive(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n")
    while (event := talk.session.next_event()) is not None:
        talk.events.append(event)
        if type(event).__name__ != "Logged":
            talk.session.answer(talk._answer(event))
    assert talk.session.output().count(b"\r\n") == 4


def test_nothing_is_read_while_an_answer_is_awaited() -> None:
    """The commands behind a question wait for its answer."""
    talk = desk()
    talk.say(b"EHLO x\r\n")
    talk.session.receive(b"MAIL FROM:<a@b>\r\nRSET\r\n")
    assert isinstance(talk.session.next_event(), AskSender)
    assert talk.session.next_event() is None
    assert not talk.session.is_waiting_for_client
    talk.session.answer(Reply(450, "4.1.8", "later"))
    assert talk.run() == b"450 4.1.8 later\r\n250 2.0.0 Ok\r\n"


@pytest.mark.parametrize(
    ("lines", "where"),
    [
        (b"EHLO x\r\nNOOP\r\n", "EHLO"),
        (b"HELO x\r\nNOOP\r\n", "HELO"),
        (b"NOOP\r\nNOOP\r\n", "NOOP"),
        (b"VRFY x\r\nQUIT\r\n", "VRFY"),
        (b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n", "MAIL"),
    ],
)
def test_unauthorised_pipelining(lines: bytes, where: str) -> None:
    """Commands sent on without leave (RFC 2920 §3.1) end the session, unless configured not to."""
    talk = desk()
    assert talk.say(lines) == b"554 5.5.0 Error: SMTP protocol synchronization\r\n"
    assert talk.closed
    rest = lines.partition(b"\n")[2].decode().encode("unicode_escape").decode()
    assert talk.log == [f"improper command pipelining after {where} from {_ACCESS}: {rest}"]
    lax = desk(forbid_unauth_pipelining=False)
    assert lax.say(lines).count(b"\r\n") >= 2
    assert not lax.session.lost().startswith("554")
    assert lax.log == talk.log


def test_content_behind_data_is_unauthorised() -> None:
    """A body that doesn't wait for 354 is no body."""
    talk = _started()
    assert talk.say(b"DATA\r\nbody\r\n.\r\n").startswith(b"554 5.5.0")
    assert talk.closed
    assert not talk.taken


def test_message_too_big() -> None:
    """All of DATA is read, then refused; what was stored is dropped; the session goes on."""
    talk = _started(message_size_limit=100)
    talk.say(b"DATA\r\n")
    assert talk.say(b"x" * 60000 + b"\r\n" + b"y" * 60000) == b""
    assert talk.say(b"\r\n.\r\n") == b"552 5.3.4 Error: message file too big\r\n"
    assert talk.aborted == ["Q1"]
    assert sum(len(e.octets) for e in talk.events if isinstance(e, Content)) <= 100
    assert talk.say(b"MAIL FROM:<a@b>\r\n") == b"250 2.1.0 Ok\r\n"
    assert talk.log[-1] == (
        f"Q1: reject: END-OF-MESSAGE from {_ACCESS}: 552 5.3.4 Error: message file too big;"
        " from=<a@b> proto=ESMTP helo=<c.test>"
    )


def test_message_at_the_limit() -> None:
    talk = _started(message_size_limit=100)
    talk.say(b"DATA\r\n")
    assert talk.say(b"x" * 98 + b"\r\n.\r\n").startswith(b"250")
    assert len(talk.taken[0].content) == 100


def test_small_message_is_one_write_and_large_is_streamed() -> None:
    talk = _started()
    talk.say(b"DATA\r\n")
    for _ in range(10):
        talk.say(b"x" * 1000 + b"\r\n")
    talk.say(b".\r\n")
    assert talk.taken[0].writes == 1
    talk.say(b"MAIL FROM:<>\r\nRCPT TO:<a@b>\r\n")
    talk.say(b"DATA\r\n")
    for _ in range(30):
        talk.say(b"x" * 60000 + b"\r\n")
    talk.say(b".\r\n")
    assert talk.taken[1].writes >= 15
    assert len(talk.taken[1].content) == 30 * 60002
    pieces = [len(e.octets) for e in talk.events if isinstance(e, Content)]
    assert max(pieces) < 65536 * 2


def test_content_refused_on_the_way() -> None:
    """The store fails in the middle: the rest is read and thrown away, then the reply."""
    talk = _started()
    talk.say(b"DATA\r\n")
    talk.session.refuse_content(Reply(452, "4.3.1", "Insufficient system storage"))
    talk._open = None
    assert talk.say(b"x" * 200000) == b""
    assert talk.say(b"\r\n.\r\nRSET\r\n") == (
        b"452 4.3.1 Insufficient system storage\r\n250 2.0.0 Ok\r\n"
    )
    assert not talk.taken
    assert not talk.aborted


@pytest.mark.parametrize(
    ("kind", "where"),
    [(AskData, "DATA"), (Begin, "DATA"), (AskEndOfData, "END-OF-MESSAGE")],
)
def test_refusals_of_content(kind: type, where: str) -> None:
    """Refused at DATA, by the queue, or at the end: said, logged, nothing kept."""
    talk = _started({kind: Reply(554, "5.7.1", "no")})
    said = talk.say(b"DATA\r\n")
    if where != "DATA":
        said = talk.say(b"x\r\n.\r\n")
    assert said == b"554 5.7.1 no\r\n"
    queue_id = "NOQUEUE" if where == "DATA" else "Q1"
    expected = f"{queue_id}: reject: {where} from {_ACCESS}: 554 5.7.1 no; from=<a@b>"
    assert talk.log[-1] == f"{expected} proto=ESMTP helo=<c.test>"
    assert not talk.taken
    assert talk._open is None


def test_commit_refused() -> None:
    """A message that didn't become durable is never acknowledged."""
    talk = _started({Commit: Reply(451, "4.3.0", "Error: queue file write error")})
    talk.say(b"DATA\r\n")
    assert talk.say(b"x\r\n.\r\n") == b"451 4.3.0 Error: queue file write error\r\n"
    assert talk.say(b"DATA\r\n") == b"503 5.5.1 Error: need RCPT command\r\n"


def test_refused_recipients() -> None:
    """One refused, one taken: the log names sender and recipient, the message has the other."""

    def judge(event: AskRecipient) -> object:
        no = Reply(554, "5.7.1", "<c@d>: Relay access denied")
        return no if event.address.domain == "d" else NotImplemented

    talk = desk({AskRecipient: judge})
    talk.say(b"EHLO c.test\r\n")
    said = talk.say(_START[13:] + b"RCPT TO:<e@f>\r\n")
    assert said == (b"250 2.1.0 Ok\r\n554 5.7.1 <c@d>: Relay access denied\r\n250 2.1.5 Ok\r\n")
    assert talk.log == [
        f"NOQUEUE: reject: RCPT from {_ACCESS}: 554 5.7.1 <c@d>: Relay access denied;"
        " from=<a@b> to=<c@d> proto=ESMTP helo=<c.test>"
    ]
    talk.say(b"DATA\r\n")
    talk.say(b".\r\n")
    assert [str(each.address) for each in talk.taken[0].recipients] == ["e@f"]
    assert talk.taken[0].content == b""


def test_refused_greeting_and_sender() -> None:
    talk = desk({AskGreeted: Reply(450, "4.7.1", "no")})
    assert talk.say(b"EHLO <x y>;\r\n") == b"450 4.7.1 no\r\n"
    assert talk.session.peer.helo == ""
    talk = desk({AskSender: Reply(450, "4.1.8", "no")})
    assert talk.say(b"MAIL FROM:<a@b>\r\n") == b"450 4.1.8 no\r\n"
    assert talk.log == [
        f"NOQUEUE: reject: MAIL from {_ACCESS}: 450 4.1.8 no; from=<a@b> proto=SMTP"
    ]
    assert talk.say(b"RCPT TO:<a@b>\r\n").startswith(b"503")


def test_greeting_name_is_made_harmless() -> None:
    """What a client calls itself ends up in a Received header."""
    talk = desk()
    talk.say(b'HELO a<b>(c)\\";@ d\x01\r\n')
    assert talk.session.peer.helo == "a?b??c??????d?"


def test_refused_client() -> None:
    """smtpd_delay_reject = no: the banner refuses, and so does every command but QUIT."""
    talk = desk({AskConnected: Reply(554, "5.7.1", "<c>: Client host rejected")})
    denied = f"503 5.7.0 Error: access denied for {_ACCESS}\r\n".encode()
    assert talk.say(b"EHLO x\r\n") == denied
    assert talk.say(b"FOO\r\n") == denied
    assert talk.say(b"QUIT\r\n") == b"221 2.0.0 Bye\r\n"
    closing = desk({AskConnected: Reply(421, "4.7.0", "go away")})
    assert closing.closed


def test_chunks() -> None:
    """RFC 3030 §4.2: chunks pipelined behind MAIL and RCPT, dots and all."""
    talk = desk()
    talk.say(b"EHLO x\r\n")
    said = talk.say(
        b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 6\r\nS: x\r\nBDAT 8\r\n\r\n.\r\n.\r\n"
        b"BDAT 1 LAST\r\nz"
    )
    assert said == (
        b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n250 2.0.0 Ok: 6 bytes\r\n250 2.0.0 Ok: 8 bytes\r\n"
        b"250 2.0.0 Ok: queued as Q1\r\n"
    )
    assert talk.taken[0].content == b"S: x\r\n\r\n.\r\n.\r\nz\r\n"
    assert talk.session.summary().endswith("ehlo=1 mail=1 rcpt=1 bdat=3 commands=6")


def test_chunk_too_big() -> None:
    """Announced over the limit: skipped without storing, the rest thrown away up to LAST."""
    talk = _started(message_size_limit=100)
    assert talk.say(b"BDAT 60\r\n" + b"x" * 60) == b"250 2.0.0 Ok: 60 bytes\r\n"
    said = talk.say(b"BDAT 60\r\n" + b"x" * 60 + b"BDAT 5\r\n12345BDAT 0 LAST\r\n")
    assert said == (
        b"552 5.3.4 Chunk exceeds message size limit\r\n"
        b"551 5.0.0 Discarded 5 bytes after earlier error\r\n"
        b"551 5.0.0 Discarded 0 bytes after earlier error\r\n"
    )
    assert talk.aborted == ["Q1"]
    assert f"warning: Q1: BDAT request from {_ACCESS} exceeds message size limit" in talk.log
    assert talk.say(b"MAIL FROM:<a@b>\r\n") == b"250 2.1.0 Ok\r\n"


def test_chunks_refused() -> None:
    """A refusal by policy still reads the chunk, so that commands are found behind it."""
    talk = _started({AskData: Reply(550, "5.7.1", "no")})
    assert talk.say(b"BDAT 6 LAST\r\nQUIT\r\nRSET\r\n") == b"550 5.7.1 no\r\n250 2.0.0 Ok\r\n"
    assert not talk.closed


def test_reset_in_chunks_drops_the_message() -> None:
    talk = _started()
    talk.say(b"BDAT 3\r\nabc")
    assert talk.say(b"RSET\r\n") == b"250 2.0.0 Ok\r\n"
    assert talk.aborted == ["Q1"]
    assert not talk.taken


def test_no_message_without_its_end() -> None:
    """Disconnected anywhere before the end: nothing is committed (security G3)."""
    data = b"DATA\r\nline\r\n.\r\n"
    for cut in range(len(data)):
        talk = _started(forbid_unauth_pipelining=False)
        talk.say(data[:cut])
        talk.session.lost()
        assert not talk.taken
    chunks = b"BDAT 3\r\nabcBDAT 3 LAST\r\nabc"
    for cut in range(len(chunks)):
        talk = _started()
        talk.say(chunks[:cut])
        talk.session.lost()
        assert not talk.taken


@pytest.mark.parametrize(
    ("sent", "line"),
    [
        (b"", "lost connection after CONNECT from {}"),
        (b"EHLO x\r\n", "lost connection after EHLO from {}"),
        (b"FOO\r\n", "lost connection after UNKNOWN from {}"),
        (b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n" + b"x" * 70000,
         "lost connection after DATA (70000 bytes) from {}"),
        (b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 9\r\nab",
         "lost connection after BDAT (2 bytes) from {}"),
        (b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n.\r\n",
         "lost connection after END-OF-MESSAGE from {}"),
        (b"QUIT\r\n", ""),
    ],
)  # fmt: skip
def test_lost_connection(sent: bytes, line: str) -> None:
    talk = desk(forbid_unauth_pipelining=False)
    talk.say(sent)
    assert talk.session.lost() == line.format(_ACCESS)


def test_bare_lf_refused() -> None:
    """smtpd_forbid_bare_newline = reject: in content the message, in a command the session."""
    talk = _started(bare_lf=BareLf.REJECT)
    talk.say(b"DATA\r\n")
    refusal = b"550 5.5.2 mx.test Error: bare <LF> received\r\n"
    assert talk.say(b"a\nb\r\n.\r\n") == refusal
    assert not talk.closed
    assert talk.aborted == ["Q1"]
    assert talk.say(b"NOOP\n") == refusal
    assert talk.closed


def test_bare_lf_noted() -> None:
    talk = _started(note_bare_lf=True)
    talk.say(b"DATA\r\n")
    talk.say(b"a\nb\r\n.\r\n")
    assert talk.taken[0].content == b"a\r\nb\r\n"
    assert talk.log[-1] == f"Q1: bare <LF> received from {_ACCESS}"
    assert talk.say(b"NOOP\n") == b"250 2.0.0 Ok\r\n"
    assert talk.log[-1] == f"bare <LF> received after END-OF-MESSAGE from {_ACCESS}"


def test_null_sender() -> None:
    talk = desk()
    talk.say(b"MAIL FROM:<>\r\n")
    assert talk.session.transaction is not None
    assert talk.session.transaction.sender == NULL
