"""A server's replies and what its EHLO offers: replies or BadReply, in bounded memory."""

from __future__ import annotations

from gatewayd.smtp.capabilities import Capabilities
from gatewayd.smtp.replies import BadReply, ReplyReader, ServerReply
from tests.fuzz.inputs import pieces, split

SEEDS = (
    b"220 mx.example ESMTP\r\n250-mx\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250 CHUNKING\r\n",
    b"550-5.1.1 No such\r\n550 5.1.1 user\r\n421 bye\n",
    b"250\r\n354 go\r\n451-4.0.0\r\n452 x\r\n",
    b"HTTP/1.1 400 Bad Request\r\n",
)
WORDS = (
    *(b"250", b"-", b" ", b"\r\n", b"\n", b"\r", b"550", b"5.1.1", b"421 ", b"SIZE ", b"DSN"),
    *(b"PIPELINING", b"8BITMIME", b"SMTPUTF8", b"\0", b"\xff", b"99999999999999999999", b"2", b"."),
)


def target(data: bytes) -> bool:
    """However it's cut, the same replies come, and then the same end."""
    payload, decisions = split(data)
    whole = _read([payload])
    replies, _ = whole
    # Only where a line has no end, it depends on the pieces when that's noticed.
    if len(payload) < 4000:
        assert _read(list(pieces(payload, decisions))) == whole
    for reply in replies:
        assert 200 <= reply.code < 600
        assert reply.text.isprintable()
        assert len(reply.text) <= 2048
        assert reply.status[0] == str(reply.code)[0]
        offered = Capabilities.from_reply(reply, frozenset(("DSN",)))
        assert not offered.dsn
        assert 0 <= offered.size < 10**20
    return bool(replies)


def _read(wire: list[bytes]) -> tuple[list[ServerReply], str]:
    reader = ReplyReader()
    replies: list[ServerReply] = []
    try:
        for piece in wire:
            replies.extend(reader.feed(piece))
            assert len(reader._buffer) <= 4096
    except BadReply as error:
        return replies, str(error)
    return replies, ""
