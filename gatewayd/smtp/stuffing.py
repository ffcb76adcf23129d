"""Content as it goes out: dots doubled, over-long lines folded, nothing done line by line.

A lone dot between bare CR or LF never arises: content holds CRLF line ends only.
"""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["DotStuffer", "fold_long_lines"]


class DotStuffer:
    """Doubles the dot at a line's start (RFC 5321 §4.5.2), over pieces of any size."""

    def __init__(self) -> None:
        self._tail = b"\r\n"

    def feed(self, octets: bytes) -> bytes:
        """The next piece, stuffed. What could be part of a line end is looked at with the next."""
        whole = self._tail + octets
        stuffed = whole.replace(b"\r\n.", b"\r\n..")
        sent = stuffed[len(self._tail) :]
        self._tail = whole[-2:]
        return sent


def fold_long_lines(octets: bytes, limit: int) -> bytes:
    """Lines over ``limit`` octets, broken by CRLF and a blank; 0: nothing is changed.

    UTF-8 characters stay whole.
    """
    if not limit or len(octets) <= limit:
        return octets
    if _short_lines(limit).match(octets):
        return octets
    return re.sub(rb"[^\n]+", lambda line: _folded(line[0], limit), octets)


@lru_cache
def _short_lines(limit: int) -> re.Pattern[bytes]:
    """Matches content without an over-long line. Possessive: looks at each octet once."""
    return re.compile(rb"(?:[^\n]{0,%d}+\n)*+[^\n]{0,%d}+\Z" % (limit + 1, limit + 1))


def _folded(line: bytes, limit: int) -> bytes:
    ending = b"\r" if line.endswith(b"\r") else b""
    rest = line[: len(line) - len(ending)]
    parts = []
    width = limit
    while len(rest) > width:
        cut = width
        while cut > width - 4 and rest[cut] & 0xC0 == 0x80:
            cut -= 1
        parts.append(rest[:cut])
        rest = rest[cut:]
        width = limit - 1
    parts.append(rest)
    return b"\r\n ".join(parts) + ending
