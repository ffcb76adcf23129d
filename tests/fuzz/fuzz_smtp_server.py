"""Fuzz target for the SMTP server session: mutated dialogues, cut anywhere.

    python -m tests.fuzz.fuzz_smtp_server [SEED [COUNT]]

Each input is made of a seed alone, so that a failure can be had again. What must hold whatever a
client sends: no exception, replies that are replies, content with CRLF line ends only, every
message either taken or aborted, memory and time within bounds.
"""

from __future__ import annotations

import random
import re
import sys
import time

from gatewayd.smtp.content import BareLf
from gatewayd.smtp.session_events import AskRecipient, AskSender, Begin, Content
from gatewayd.status import Reply
from tests.smtp.desk import Desk, desk

_WORDS = [
    b"EHLO c.test\r\n", b"HELO c\r\n", b"MAIL FROM:<a@b> SIZE=10 BODY=8BITMIME\r\n",
    b"MAIL FROM:<>\r\n", b"RCPT TO:<c@d> NOTIFY=DELAY ORCPT=rfc822;a+2Bb\r\n",
    b"RCPT TO:<@x,@y:\"q \\\" q\"@[1.2.3.4]>\r\n", b"DATA\r\n", b"S: x\r\n\r\nbody\r\n.\r\n",
    b"..\r\n.\n.\r.\r\n", b"\r\n.\r\n", b"BDAT 5\r\n12345", b"BDAT 7 LAST\r\nx\r\n.\r\ny",
    b"BDAT 0 LAST\r\n", b"BDAT 99999999999\r\n", b"RSET\r\n", b"NOOP x\r\n", b"VRFY a@b\r\n",
    b"ETRN @x\r\n", b"HELP\r\n", b"STARTTLS\r\n", b"AUTH PLAIN AGEAYg==\r\n", b"QUIT\r\n",
    "MAIL FROM:<ä@ö> SMTPUTF8\r\n".encode(), b"GET / HTTP/1.1\r\n", b"x" * 3000, b"\0\xff\x80",
    b"\r", b"\n", b".", b"<", b">", b'"', b"\\", b"@", b"[", b"=", b"+", b" " * 700,
]  # fmt: skip
_USUAL = ([0, 2, 4, 6, 7], [0, 2, 4, 10, 11])
_REPLIES = re.compile(rb"(?:[2-5][0-9][0-9][ -][^\r\n\x00]*\r\n)*\Z")
_LONE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_PIECE = 65536


def make_input(source: random.Random) -> bytes:
    """A dialogue: the usual one or words at random, some octets of it changed."""
    if source.random() < 0.5:
        words = [_WORDS[at] for at in source.choice(_USUAL)] * source.randint(1, 3)
        for _ in range(source.randint(0, 4)):
            words.insert(source.randrange(len(words) + 1), source.choice(_WORDS))
    else:
        words = source.choices(_WORDS, k=source.randint(1, 40))
    octets = bytearray(b"".join(words))
    for _ in range(source.choice([0, 0, 1, 3, 10])):
        at = source.randrange(len(octets) + 1)
        octets[at : at + source.randint(0, 3)] = source.choice(
            [b"", bytes([source.randrange(256)]), source.choice(_WORDS)[:8]]
        )
    return bytes(octets)


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


def check(seed: int) -> None:
    """Run the input of one seed. Raises AssertionError, or whatever the session raises."""
    source = random.Random(seed)
    octets = make_input(source)
    talk = make_desk(source)
    start = time.process_time()
    at = 0
    while at < len(octets):
        size = source.choice([1, 2, 7, 100, _PIECE])
        assert _REPLIES.match(talk.say(octets[at : at + size])), "not a reply"
        assert len(talk.session._buffer) <= _PIECE + 2048 + 1
        at += size
    assert time.process_time() - start < 1, "too slow"
    talk.session.lost()
    talk.session.summary()
    for taken in talk.taken:
        assert taken.recipients
        assert not _LONE.search(taken.content), "a lone CR or LF in content"
        assert taken.content == b"" or taken.content.endswith(b"\r\n")
    for event in talk.events:
        if isinstance(event, Content):
            assert len(event.octets) <= 2 * _PIECE + 2048


def main(arguments: list[str]) -> None:
    """Run inputs until the count is reached; tell the seed of one that fails."""
    first = int(arguments[0]) if arguments else 0
    count = int(arguments[1]) if len(arguments) > 1 else 100_000
    for seed in range(first, first + count):
        try:
            check(seed)
        except BaseException:
            print(f"seed {seed}", file=sys.stderr)
            raise
    print(f"{count} inputs, no failure")


if __name__ == "__main__":
    main(sys.argv[1:])
