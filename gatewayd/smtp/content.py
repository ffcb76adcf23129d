"""A message's content off the wire: the end of DATA, dots, line ends; in bulk, never by line.

The wire, as RFC 5321 §4.1.1.4 and §4.5.2 have it:

    S: 354 …
    C: octets, lines ending in CRLF, a dot put before each line that begins with one
    C: CRLF . CRLF

What clients send instead of CRLF is where messages are smuggled: two servers that disagree on
which octets end the message see different messages. Here only CRLF.CRLF ends it (but for
BareLf.ACCEPT, the way of old), and what comes out has CRLF line ends and neither CR nor LF
elsewhere, so that nothing this gateway passes on can be read in two ways:

- LF and CR CR LF are line ends too, when they aren't part of the end;
- any other CR becomes a blank (Postfix: cleanup_replace_stray_cr_lf) or stays, as configured.

However the octets are cut into pieces, the same content comes out.
"""

from __future__ import annotations

import re
from enum import Enum

__all__ = ["BareLf", "ContentDecoder", "DataDecoder"]

_END = b"\r\n.\r\n"
_LAX_END = re.compile(rb"\n\.\r{0,2}\n")
# The longest tail that the next octets may give another meaning.
_TAIL = re.compile(rb"(?:\r{1,2}\n(?:\.\r?)?|\r{1,2})\Z")
_LAX_TAIL = re.compile(rb"(?:\r{0,2}\n(?:\.\r{0,2})?|\r{1,2})\Z")
_TAIL_LENGTH = 6


class BareLf(Enum):
    """smtpd_forbid_bare_newline: what an LF without CR means."""

    ACCEPT = "no"
    """A line end like any other, even around the last dot."""
    NORMALIZE = "normalize"
    """A line end in content; never part of the end of DATA."""
    REJECT = "reject"
    """The message is refused (by the session; the decoder only notes it)."""


class ContentDecoder:
    """Octets of BDAT: line ends made CRLF, dots left alone.

    ``found_bare_lf`` tells whether there was an LF without CR so far.
    """

    __slots__ = ("_at_line_start", "_replace_stray_cr", "_tail", "found_bare_lf")

    def __init__(self, *, replace_stray_cr: bool = True) -> None:
        self._replace_stray_cr = replace_stray_cr
        self._tail = b""
        self._at_line_start = True
        self.found_bare_lf = False

    def feed(self, octets: bytes) -> bytes:
        """Content that is certain now."""
        octets = self._tail + octets if self._tail else octets
        held = _TAIL.search(octets, max(0, len(octets) - _TAIL_LENGTH))
        cut = held.start() if held else len(octets)
        self._tail = octets[cut:]
        return self._clean(octets[:cut])

    def finish(self) -> bytes:
        """What was held back, and a line end if the content lacks one."""
        rest = self._clean(self._tail)
        self._tail = b""
        return rest if self._at_line_start else rest + b"\r\n"

    def _clean(self, octets: bytes) -> bytes:
        """Octets with line ends made CRLF; they must not end between CR and LF."""
        if not octets:
            return octets
        octets = self._lines(octets)
        self._at_line_start = octets.endswith(b"\n")
        return octets

    def _lines(self, octets: bytes) -> bytes:
        rest = octets.replace(b"\r\n", b"")
        bare_lf = b"\n" in rest
        if not bare_lf and b"\r" not in rest:
            return octets
        self.found_bare_lf = self.found_bare_lf or bare_lf
        octets = octets.replace(b"\r\n", b"\n").replace(b"\r\n", b"\n")
        if self._replace_stray_cr:
            octets = octets.replace(b"\r", b" ")
        return octets.replace(b"\n", b"\r\n")


class DataDecoder(ContentDecoder):
    """Octets of DATA: finds the end, takes the stuffed dots away."""

    __slots__ = ("_lax", "_started")

    def __init__(self, bare_lf: BareLf, *, replace_stray_cr: bool = True) -> None:
        super().__init__(replace_stray_cr=replace_stray_cr)
        self._lax = bare_lf is BareLf.ACCEPT
        # The line end of the command before, so that a dot at once is the end, too.
        self._tail = b"\r\n"
        self._started = False

    def feed_data(self, octets: bytes) -> tuple[bytes, bytes | None]:
        """(content that is certain now, what follows the end or None if that isn't there yet)."""
        octets = self._tail + octets
        cut, after = self._end(octets)
        rest: bytes | None = None
        if after < 0:
            held = (_LAX_TAIL if self._lax else _TAIL).search(
                octets, max(0, len(octets) - _TAIL_LENGTH)
            )
            cut = held.start() if held else len(octets)
            self._tail = octets[cut:]
        else:
            rest = octets[after:]
        return self._content(octets[:cut]), rest

    def _end(self, octets: bytes) -> tuple[int, int]:
        """(where content ends, where the end marker ends), or (0, -1)."""
        if self._lax:
            found = _LAX_END.search(octets)
            return (found.start() + 1, found.end()) if found else (0, -1)
        at = octets.find(_END)
        return (at + 2, at + 5) if at >= 0 else (0, -1)

    def _content(self, octets: bytes) -> bytes:
        if not octets:
            return octets
        starts_line = self._at_line_start and self._started
        octets = self._clean(octets)
        if b"\n." in octets:
            octets = octets.replace(b"\r\n.", b"\r\n")
        if self._started:
            return octets[1:] if starts_line and octets.startswith(b".") else octets
        self._started = True
        return octets[2:]
