"""Replies of a server, from its octets (RFC 5321 §4.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["BadReply", "ReplyReader", "ServerReply"]

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?\Z", re.S)
_STATUS = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |\Z)")
_LINE_LIMIT = 4096
_REPLY_LIMIT = 65536
_KEPT_TEXT = 2048
"""Characters of a reply's text that are kept for logs and reports."""


class BadReply(Exception):
    """What the server says is no SMTP."""


@dataclass(frozen=True, slots=True)
class ServerReply:
    """A whole reply; ``lines`` are the texts without codes."""

    code: int
    lines: tuple[str, ...]

    @property
    def is_positive(self) -> bool:
        """2xx. A 3xx is an answer to DATA, and to nothing else."""
        return 200 <= self.code < 300

    @property
    def is_permanent(self) -> bool:
        return self.code >= 500

    @property
    def text(self) -> str:
        """The whole reply in one line, as logs and reports show it: ``550-5.1.1 No 550 such``."""
        code = self.code
        if len(self.lines) == 1:
            return f"{code} {self.lines[0]}".rstrip()[:_KEPT_TEXT]
        first = "".join(f"{code}-{line} " for line in self.lines[:-1])
        return f"{first}{code} {self.lines[-1]}".rstrip()[:_KEPT_TEXT]

    @property
    def status(self) -> str:
        """The enhanced status code, or the code's class with .0.0 (RFC 2034)."""
        match = _STATUS.match(self.lines[0])
        if match and match[1][0] == str(self.code)[0]:
            return match[1]
        return f"{self.code // 100}.0.0"


class ReplyReader:
    """Octets in, replies out; memory is bounded whatever the server sends."""

    def __init__(self) -> None:
        self._buffer = b""
        self._lines: list[str] = []
        self._code = 0
        self._size = 0

    def feed(self, octets: bytes) -> Iterator[ServerReply]:
        """The replies that are complete now, one by one. Raises BadReply, after those before it."""
        buffer = self._buffer + octets if self._buffer else octets
        start = 0
        while (end := buffer.find(b"\n", start)) >= 0:
            reply = self._line(buffer[start:end].removesuffix(b"\r"))
            if reply is not None:
                yield reply
            start = end + 1
        self._buffer = buffer[start:]
        if len(self._buffer) > _LINE_LIMIT:
            raise BadReply("a reply line is too long")

    def _line(self, line: bytes) -> ServerReply | None:
        match = _LINE.match(line)
        if match is None:
            raise BadReply(f"no SMTP reply: {_printable(line[:80])}")
        if len(line) > _LINE_LIMIT:
            raise BadReply("a reply line is too long")
        code = int(match[1])
        if self._lines and code != self._code:
            raise BadReply("a reply's lines have different codes")
        self._size += len(line)
        if self._size > _REPLY_LIMIT:
            raise BadReply("a reply is too long")
        self._code = code
        self._lines.append(_printable(match[3] or b""))
        if match[2] == b"-":
            return None
        reply = ServerReply(code, tuple(self._lines))
        self._lines = []
        self._size = 0
        return reply


def _printable(octets: bytes) -> str:
    text = octets.decode("utf-8", "replace")
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
