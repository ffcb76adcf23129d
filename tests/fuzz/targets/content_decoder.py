"""Content off the wire, by DATA and BDAT: one reading, however it's cut."""

from __future__ import annotations

import re

from gatewayd.smtp.content import BareLf, ContentDecoder, DataDecoder
from tests.fuzz.inputs import pieces, split

SEEDS = (
    b"Subject: x\r\n\r\nbody\r\n..dot\r\n.\r\nMAIL FROM:<a@b>\r\n",
    b"a\nb\r\rc\r\r\nd\n.\ne\r.\r\n.\n\r\n.\r\n",
    b".\r\n",
    b"\r\n\r\n.\r\n.\r\n",
)
WORDS = (
    b"\r",
    b"\n",
    b".",
    b"\r\n",
    b"a",
    b"\r\n.",
    b"\n.\n",
    b"\r\n.\r\n",
    b"\r\r\n",
    b"..",
    b"b",
)
_LONE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


def target(data: bytes) -> bool:
    """The pieces give what the whole gives; nothing in it is a line end to one reader only."""
    payload, decisions = split(data)
    mode = decisions.choice(list(BareLf))
    whole = _decoded([payload], mode)
    assert _decoded(list(pieces(payload, decisions)), mode) == whole
    content, rest = whole
    if mode is not BareLf.ACCEPT:
        wire = b"\r\n" + payload
        end = wire.find(b"\r\n.\r\n")
        assert (rest is None) is (end < 0)
        assert rest is None or rest == wire[end + 5 :]
    assert not _LONE.search(content)
    chunked = _unchunked([payload])
    assert _unchunked(list(pieces(payload, decisions))) == chunked
    assert not _LONE.search(chunked)
    assert not chunked or chunked.endswith(b"\r\n")
    return rest is not None


def _decoded(wire: list[bytes], mode: BareLf) -> tuple[bytes, bytes | None]:
    decoder = DataDecoder(mode)
    out: list[bytes] = []
    for place, piece in enumerate(wire):
        content, rest = decoder.feed_data(piece)
        out.append(content)
        if rest is not None:
            return b"".join(out), rest + b"".join(wire[place + 1 :])
    # What is certain so far; a held-back end may be cut differently.
    return b"".join(out), None


def _unchunked(wire: list[bytes]) -> bytes:
    decoder = ContentDecoder()
    return b"".join([*map(decoder.feed, wire), decoder.finish()])
