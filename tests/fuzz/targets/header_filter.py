"""The header filter and our own trace field: however it's cut, one outcome, and nothing forged."""

from __future__ import annotations

import random

from gatewayd.address import Address
from gatewayd.message import Envelope, Origin, Recipient, Route
from gatewayd.receive.headers import HeaderFilter, HeaderRules, TooManyHops
from gatewayd.receive.trace import Host, missing_fields, received_field
from gatewayd.smtp.content import ContentDecoder
from tests.fuzz.inputs import pieces, split

SEEDS = (
    b"Received: x\r\nMessage-Id: <a@b>\r\nDate: x\r\nBcc: secret\r\n fold\r\nTo: y\r\n\r\nbody\r\n",
    b"From joe Mon\r\n>From x\r\nSubject : blank\r\nResent-To: a\r\n\r\n",
    b"no header at all\r\nBcc: body\r\n",
    b" folded first\r\nTo: a\r\n\r\n" + b"Received: y\r\n" * 60,
    b"X: " + b"y" * 300 + b"\r\nReturn-Path: <z>\r\n\tmore\r\n\r\n",
)
WORDS = (
    *(b"\r\n", b"\r\n ", b"\r\n\t", b": ", b":", b"Bcc: secret\r\n", b"bcc :x\r\n", b"Received:"),
    *(b"Message-Id:", b"From ", b">From ", b"Date: x\r\n", b"Resent-", b"To: x\r\n", b"\r\n\r\n"),
    *(b"Content-Length: 5\r\n", b"a", b" ", b"y" * 90, b"\xff", b"Return-Path:"),
)
FOUND = (b"From \nFrom :\x02f/1!\x01\x0b\xcc",)
_HOST = Host("gw.example", "gatewayd")


def target(data: bytes) -> bool:
    """Only TooManyHops; bounded memory; dropped fields are gone; the trace field is one field."""
    payload, decisions = split(data)
    trace = _trace(payload, decisions)
    assert trace.startswith(b"Received: ")
    assert trace.endswith(b"\r\n")
    assert all(line[:1] == b"\t" for line in trace[:-2].split(b"\r\n")[1:])
    decoder = ContentDecoder()
    content = decoder.feed(payload) + decoder.finish()
    rules = HeaderRules(size_limit=decisions.choice((20, 100, 102400)), hop_limit=50)
    missing = missing_fields(_HOST, Address("a", "b"), "QID", 0.0, "A. Name")
    fields = missing if decisions.random() < 0.5 else ()
    whole = _filtered(rules, trace, fields, [content])
    cut = _filtered(rules, trace, fields, list(pieces(content, decisions)))
    if rules.size_limit > len(content) + content.count(b"From ") * len("X-Mailbox-Line: "):
        assert cut == whole  # beyond the limit, pieces decide where it is noticed
    for out in (whole, cut):
        if out is not None:
            assert out.startswith(trace)
            header = (b"\r\n" + out[len(trace) :]).partition(b"\r\n\r\n")[0].lower()
            assert b"\r\nbcc:" not in header
            assert b"\r\nreturn-path:" not in header
    return whole is not None


def _filtered(
    rules: HeaderRules, trace: bytes, missing: tuple[tuple[str, str], ...], parts: list[bytes]
) -> bytes | None:
    header = HeaderFilter(rules, trace, missing)
    largest = max(map(len, parts), default=0)
    out: list[bytes] = []
    try:
        for part in parts:
            out.append(header.feed(part))
            assert len(header._buffer) <= rules.size_limit + largest + 20
        out.append(header.finish())
    except TooManyHops:
        return None
    assert "\n" not in header.message_id
    return b"".join(out)


def _trace(payload: bytes, decisions: random.Random) -> bytes:
    """Made of whatever a client said."""
    text = payload[:500].decode("utf-8", "replace")
    half = len(text) // 2
    origin = Origin(
        decisions.choice(("", "SMTP", "ESMTP")), text[:half], "client.example", "2001:db8::1", 25
    )
    recipient = Recipient(Address("c", "d"), Route("smtp", "x"), text[half:])
    return received_field(_HOST, Envelope(Address("a", "b"), origin=origin), (recipient,), "Q", 0.0)
