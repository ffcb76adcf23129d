"""Content on its way out: what a server decodes is what the queue holds, lone CR and LF but."""

from __future__ import annotations

import re

from gatewayd.smtp.content import BareLf, DataDecoder
from gatewayd.smtp.outgoing import OutgoingContent, encoded
from tests.fuzz.inputs import pieces, split

SEEDS = (
    b"Subject: x\r\n\r\n.\r\n..\r\nbody\r\n",
    b"a lone \r and a lone \n here",
    b"x" * 50 + b"\r\n" + b"\xc3\xa9" * 40 + b"\r\n",
)
WORDS = (b"\r\n", b"\r", b"\n", b".", b"a", b"\r\n.", b"\r\n.\r\n", b"\xc3\xa9", b"x" * 20, b"\xff")
_STRAY = re.compile(rb"\r(?!\n)|(?<!\r)\n")


def target(data: bytes) -> bool:
    """Pieces make the whole; no line is too long; the dots come off again."""
    payload, decisions = split(data)
    limit = decisions.choice((0, 0, 16, 20, 998))
    for stuff in (False, True):
        outgoing = OutgoingContent(limit, stuff=stuff)
        out = [outgoing.feed(piece) for piece in pieces(payload, decisions)]
        out.append(outgoing.last(b""))
        assert b"".join(out) == encoded(payload, limit, stuff=stuff)
    wire = encoded(payload, limit, stuff=True)
    plain = encoded(payload, limit, stuff=False)
    assert not _STRAY.search(plain)
    assert not plain or plain.endswith(b"\r\n")
    if limit:
        assert max(map(len, plain.split(b"\r\n"))) <= limit
    else:
        assert plain in (clean := _STRAY.sub(b" ", payload), clean + b"\r\n")
    for mode in BareLf:
        content, rest = DataDecoder(mode).feed_data(wire + b".\r\nQUIT\r\n")
        assert (content, rest) == (plain, b"QUIT\r\n")
    return bool(payload)
