"""Contents read from the queue, whole, by their header, or made 7-bit."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.threads import deferToThreadPool

from gatewayd.errors import StoreError
from gatewayd.message import Content
from gatewayd.smtp.conversion import convert_to_7bit

__all__ = ["PIECE", "WHOLE_LIMIT", "is_utf8_header", "read_7bit", "read_whole"]

WHOLE_LIMIT = 1 << 18
"""Octets of a content that are handled in one piece; larger ones stream."""
PIECE = 1 << 16
_CONVERTED_LIMIT = 1 << 26
"""Octets of a content that is converted: it takes several times as much memory meanwhile."""


async def read_whole(content: Content) -> bytes:
    """All of it. Raises StoreError."""
    octets = await content.read(0, content.size)
    if len(octets) == content.size:
        return octets
    pieces, size = [octets], len(octets)
    while size < content.size:
        more = await content.read(size, content.size - size)
        if not more:
            raise StoreError(f"content ends at {size} of {content.size} octets")
        pieces.append(more)
        size += len(more)
    return b"".join(pieces)


async def is_utf8_header(content: Content) -> bool:
    """Whether the header has octets above 127, as only SMTPUTF8 allows. Raises StoreError."""
    piece = await content.read(0, PIECE)
    end = piece.find(b"\r\n\r\n")
    return not (piece if end < 0 else piece[:end]).isascii()


async def read_7bit(content: Content, reactor: Any) -> bytes | None:
    """All of it, made 7-bit; None if it's too large for that. Raises StoreError."""
    if content.size > _CONVERTED_LIMIT:
        return None
    octets = await read_whole(content)
    if len(octets) <= WHOLE_LIMIT:
        return convert_to_7bit(octets)
    pool = reactor.getThreadPool()
    return cast(bytes, await deferToThreadPool(reactor, pool, convert_to_7bit, octets))
