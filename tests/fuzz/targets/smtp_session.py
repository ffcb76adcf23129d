"""The SMTP server session: dialogues of any kind, cut anywhere, under settings at random.

Whatever a client sends: no exception, replies that are replies, content with CRLF line ends only,
every message either taken or aborted, memory within bounds.
"""

from __future__ import annotations

import random
import re

from gatewayd.smtp.content import BareLf
from gatewayd.smtp.session_events import AskRecipient, AskSender, Begin, Content
from gatewayd.status import Reply
from tests.fuzz.inputs import pieces, split
from tests.smtp.desk import Desk, desk

_ENVELOPE = (
    b"EHLO c.test\r\nMAIL FROM:<a@b> SIZE=10 BODY=8BITMIME\r\n"
    b"RCPT TO:<c@d> NOTIFY=DELAY ORCPT=rfc822;a+2Bb\r\n"
)
_DATA = b"DATA\r\nS: x\r\n\r\nbody\r\n..stuffed\r\n.\r\n"
_CHUNKS = b"BDAT 5\r\n12345BDAT 7 LAST\r\nx\r\n.\r\ny"
SEEDS = (
    (_ENVELOPE + _DATA) * 2 + b"QUIT\r\n",
    (_ENVELOPE + _CHUNKS) * 2 + b"RSET\r\n",
    _ENVELOPE + b"DATA\r\n" + b"line of a body\r\n" * 30 + b".\r\n" + _ENVELOPE,
    b'HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<@x,@y:"q \\" q"@[1.2.3.4]>\r\nVRFY a@b\r\nETRN @x\r\n',
)
WORDS = (
    *(b"EHLO c.test\r\n", b"HELO c\r\n", b"MAIL FROM:<a@b>", b"MAIL FROM:<>\r\n", b" SIZE=10"),
    *(b"RCPT TO:<c@d>\r\n", b"DATA\r\n", b"S: x\r\n\r\nbody\r\n.\r\n", b"..\r\n.\n.\r.\r\n"),
    *(b"\r\n.\r\n", b"BDAT 5\r\n12345", b"BDAT 7 LAST\r\nx\r\n.\r\ny", b"BDAT 0 LAST\r\n"),
    *(b"BDAT 99999999999\r\n", b"RSET\r\n", b"NOOP x\r\n", b"VRFY a@b\r\n", b"ETRN @x\r\n"),
    *(b"HELP\r\n", b"STARTTLS\r\n", b"AUTH PLAIN AGEAYg==\r\n", b"QUIT\r\n", b"GET / HTTP/1.1\r\n"),
    *("MAIL FROM:<ä@ö> SMTPUTF8\r\n".encode(), b"x" * 3000, b".", b"<", b">", b"@", b" " * 700),
)
_REPLIES = re.compile(rb"(?:[2-5][0-9][0-9][ -][^\r\n\x00]*\r\n)*\Z")
_LONE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_PIECE = 65536


def target(data: bytes) -> bool:
    """Taken: a message got into the queue."""
    payload, decisions = split(data)
    talk = make_desk(decisions)
    for piece in pieces(payload, decisions):
        assert _REPLIES.match(talk.say(piece)), "not a reply"
        assert len(talk.session._buffer) <= _PIECE + 2048 + 1
    talk.session.lost()
    talk.session.summary()
    for taken in talk.taken:
        assert taken.recipients
        assert not _LONE.search(taken.content), "a lone CR or LF in content"
        assert taken.content == b"" or taken.content.endswith(b"\r\n")
    for event in talk.events:
        if isinstance(event, Content):
            assert len(event.octets) <= 2 * _PIECE + 2048
    return bool(talk.taken)


def make_desk(source: random.Random) -> Desk:
    """A session with settings and a policy at random."""

    def sometimes(reply: Reply) -> object:
        return lambda event: reply if source.random() < 0.2 else NotImplemented

    return desk(
        {
            AskSender: sometimes(Reply(450, "4.1.8", "later\r\nperhaps")),
            AskRecipient: sometimes(Reply(554, "5.7.1", "no")),
            Begin: sometimes(Reply(452, "4.3.1", "full")),
        },
        bare_lf=source.choice(list(BareLf)),
        forbid_unauth_pipelining=source.random() < 0.3,
        message_size_limit=source.choice([0, 20, 10240000]),
        recipient_limit=source.choice([1, 1000]),
        hard_error_limit=source.choice([3, 1000]),
        helo_required=source.random() < 0.2,
    )
