"""Content as it goes out: dots doubled, over-long lines folded, only CRLF line ends.

Nothing here looks at lines one by one. A CR or LF that stands alone becomes a blank, as Postfix's
cleanup_replace_stray_cr_lf does: a receiver that takes it for a line end would find the end of
the message, and commands behind it, where we had none (SMTP smuggling, security.md 1.1).
"""

from __future__ import annotations

import re

__all__ = ["OutgoingContent", "encoded"]

_STRAY = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_LINE = re.compile(rb"[^\n]*\n")


def encoded(octets: bytes, line_limit: int, *, stuff: bool) -> bytes:
    """A whole content. ``line_limit``: octets of a line, 0 for any; ``stuff``: for DATA."""
    return OutgoingContent(line_limit, stuff=stuff).last(octets)


class OutgoingContent:
    """Makes the pieces of a content ready, of whatever sizes they are.

    ``stuff``: double the dot at a line's start (RFC 5321 §4.5.2), for DATA. What can't be judged
    yet is kept for the next piece: at most a line's beginning, ``line_limit`` octets or a CR.
    """

    __slots__ = ("_begins_line", "_kept", "_limit", "_stuff")

    def __init__(self, line_limit: int, *, stuff: bool) -> None:
        # A part must have room for its blank and a character of UTF-8.
        self._limit = max(line_limit, 16) if line_limit else 0
        self._stuff = stuff
        self._kept = b""
        self._begins_line = True

    def feed(self, octets: bytes) -> bytes:
        """A piece that isn't the last."""
        octets = self._kept + octets if self._kept else octets
        self._kept = b""
        if octets.endswith(b"\r"):
            octets, self._kept = octets[:-1], b"\r"
        octets = _without_strays(octets)
        if self._limit:
            octets = self._whole_lines(octets)
        return self._stuffed(octets)

    def last(self, octets: bytes) -> bytes:
        """The last piece, which ends with CRLF whatever it ended with before."""
        octets = _without_strays(self._kept + octets if self._kept else octets)
        self._kept = b""
        if octets and not octets.endswith(b"\n"):
            octets += b"\r\n"
        elif not octets and not self._begins_line:
            octets = b"\r\n"
        if self._limit:
            octets = _folded(octets, self._limit)
        return self._stuffed(octets)

    def _whole_lines(self, octets: bytes) -> bytes:
        """The lines that are complete, folded; the beginning of the next is kept."""
        end = octets.rfind(b"\n") + 1
        lines, rest = _folded(octets[:end], self._limit), octets[end:]
        if len(rest) > self._limit:
            parts = _fold_points(rest, self._limit)
            lines += b"".join(part + b"\r\n" for part in parts[:-1])
            rest = parts[-1]
        self._kept = rest + self._kept
        return lines

    def _stuffed(self, octets: bytes) -> bytes:
        if not octets:
            return octets
        if self._stuff:
            dot = b"." if self._begins_line and octets.startswith(b".") else b""
            octets, last = dot + octets.replace(b"\r\n.", b"\r\n.."), octets
            self._begins_line = last.endswith(b"\n")
        else:
            self._begins_line = octets.endswith(b"\n")
        return octets


def _without_strays(octets: bytes) -> bytes:
    rest = octets.replace(b"\r\n", b"")
    if b"\n" not in rest and b"\r" not in rest:
        return octets
    return _STRAY.sub(b" ", octets)


def _folded(octets: bytes, limit: int) -> bytes:
    """Lines, each with its CRLF, over ``limit`` octets without it: broken by CRLF and a blank."""
    if not _has_long_line(octets, limit):
        return octets
    return _LINE.sub(lambda match: _folded_line(match[0], limit), octets)


def _has_long_line(octets: bytes, limit: int) -> bool:
    """Strides from line end to line end as far as a line may reach."""
    stride = limit + 2
    at, size = 0, len(octets)
    while size - at > stride:
        at = octets.rfind(b"\n", at, at + stride) + 1
        if not at:
            return True
    return False


def _folded_line(line: bytes, limit: int) -> bytes:
    if len(line) <= limit + 2:
        return line
    return b"\r\n".join(_fold_points(line[:-2], limit)) + b"\r\n"


def _fold_points(line: bytes, limit: int) -> list[bytes]:
    """The parts of a line, all but the first with a blank before. UTF-8 characters stay whole."""
    parts = []
    at, blank = 0, b""
    while len(line) - at > limit - len(blank):
        cut = at + limit - len(blank)
        for back in range(4):
            if line[cut - back] & 0xC0 != 0x80 and cut - back > at:
                cut -= back
                break
        parts.append(blank + line[at:cut])
        at, blank = cut, b" "
    parts.append(blank + line[at:])
    return parts
