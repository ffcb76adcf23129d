"""What happens to a message's header on its way in: a filter over the arriving octets.

The filter holds back octets only until the header ends, and never more than about
``header_size_limit`` of them: past that, finished fields go out and the unfinished one is cut.
The body passes through untouched. Input is as RFC 5321 has it on the wire: CRLF line ends, dots
unstuffed, no other CR or LF.

In this order, as Postfix's cleanup does (postfix.md §11):

1. our own trace header goes first;
2. ``From `` lines at the very top (mbox) become X-Mailbox-Line fields;
3. blanks before a field's colon go, so that no two readers see different fields; fields named
   in message_drop_headers vanish, Received fields are counted;
4. the header ends at an empty line, or else before the first line that is no field, and then
   an empty line is put there;
5. fields that are missing are added, where the client is one of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from gatewayd.errors import GatewayError

__all__ = ["HeaderFilter", "HeaderRules", "TooManyHops", "header_field", "sanitised"]

# Complete header lines (RFC 5322 §2.2, with the blanks before the colon of its §4.5): the first
# of a field, or one that continues it. A line that was taken is never looked at twice; but the
# group is not possessive, since Python before 3.11.5 loses its place in such groups.
_LINES = re.compile(rb"(?:(?:[!-9;-~]++[ \t]*+:|[ \t])[^\n]*+\n)*")
_FIELD_START = re.compile(rb"[!-9;-~]+[ \t]*:")
_BLANK_BEFORE_COLON = re.compile(rb"^([!-9;-~]+)[ \t]+:", re.MULTILINE)
_FIELD_END = re.compile(rb"\n(?![ \t])")
# A separator of mbox; "From :" is a field.
_MBOX_FROM = re.compile(rb">*From (?![ \t]*:)")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]")
_FORBIDDEN_IN_FIELD = re.compile(r"[\x00\r\n]")
_BLANKS = re.compile(rb"[ \t\r\n]+")
_BLANK = (b" ", b"\t")
_LOGGED_ID_LIMIT = 998


class TooManyHops(GatewayError):
    """The message has been through as many hosts as hopcount_limit allows: it loops."""


@dataclass(frozen=True, slots=True)
class HeaderRules:
    """The parameters of header processing. Field names are in lower case."""

    size_limit: int = 102400
    hop_limit: int = 50
    drop: frozenset[bytes] = frozenset(
        (b"bcc", b"content-length", b"resent-bcc", b"return-path"),
    )
    always_add_missing: bool = False
    undisclosed_recipients: str = ""


def header_field(name: str, *lines: str) -> bytes:
    """One header field as octets; ``lines`` after the first are its continuation lines.

    All header fields that this program makes are written here, so that nothing a client said
    can begin a line of its own. Raises ValueError for CR, LF or NUL in any of them.
    """
    text = "\n\t".join(lines)
    for part in (name, *lines):
        if _FORBIDDEN_IN_FIELD.search(part):
            raise ValueError(f"control character in header field {name!r}")
    return f"{name}: {text}\n".replace("\n", "\r\n").encode("utf-8", "replace")


def sanitised(text: str) -> str:
    """Text that may stand in a header field: "?" in place of control characters."""
    return _UNSAFE.sub("?", text)


@lru_cache(maxsize=64)
def _interesting(drop: frozenset[bytes]) -> re.Pattern[bytes]:
    """Finds the fields that the filter has anything to do with."""
    ours = {b"received", b"message-id", b"date", b"from", b"to", b"cc", b"bcc"}
    ours |= {b"resent-" + name for name in ours if name != b"received"}
    names = b"|".join(re.escape(name) for name in sorted(ours | drop))
    return re.compile(rb"^(" + names + rb")[ \t]*:", re.IGNORECASE | re.MULTILINE)


class HeaderFilter:
    """Takes a message's octets piece by piece, gives out what is to be stored.

    ``trace`` is our Received field. ``missing`` are the fields to add where the message has
    none: pairs of a field name (``Message-Id``, ``Date``, ``From``) and its value; none if the
    client isn't ours. After finish(): ``message_id`` is the text of that field (blanks folded;
    "" if none), ``hops`` counts the Received fields with our own, ``has_8bit`` tells whether
    any octet was above 127.
    """

    __slots__ = (
        "_at_start",
        "_buffer",
        "_in_body",
        "_looked",
        "_missing",
        "_rules",
        "_seen",
        "_skipping",
        "_top",
        "_trace",
        "has_8bit",
        "hops",
        "message_id",
    )

    def __init__(
        self, rules: HeaderRules, trace: bytes, missing: Iterable[tuple[str, str]] = ()
    ) -> None:
        self._rules = rules
        self._trace = trace
        self._missing = tuple(missing)
        self._buffer = b""
        self._looked = 0  # up to here the buffer is complete header lines
        self._top = 0  # up to here they are mbox separators
        self._at_start = True  # nothing of the header is known yet
        self._skipping = False  # in the rest of a field that was cut
        self._in_body = False
        self._seen: set[bytes] = set()
        self.has_8bit = not trace.isascii()
        self.hops = 1
        self.message_id = ""

    def feed(self, octets: bytes) -> bytes:
        """The octets to store now, b"" while the header is still arriving. Raises TooManyHops."""
        if not self.has_8bit and not octets.isascii():
            self.has_8bit = True
        if self._in_body:
            return octets
        self._buffer += octets
        if b"\n" in octets or self._is_over_limit():
            return self._scan()
        return b""

    def finish(self) -> bytes:
        """What is left to store at the end of the message. Raises TooManyHops."""
        if self._in_body:
            return b""
        if self._skipping and not self._skip():
            self._buffer = b""
        if self._buffer and not self._buffer.endswith(b"\n"):
            self._buffer += b"\r\n"
        out = self._scan()
        return out if self._in_body else out + self._end_of_header(len(self._buffer), b"")

    def _scan(self) -> bytes:
        """Moves on over the buffer as far as can be told; gives what may go out."""
        if self._skipping and not self._skip():
            return b""
        if self._at_start and self._buffer[:1] in _BLANK:
            return self._end_of_header(0, b"\r\n")
        self._at_start = False
        self._find_end_of_lines()
        end = self._looked
        if self._buffer[end : end + 2] == b"\r\n":
            return self._end_of_header(end, b"")
        if self._buffer.find(b"\n", end) >= 0:
            return self._end_of_header(end, b"\r\n")
        return self._relieve() if self._is_over_limit() else b""

    def _find_end_of_lines(self) -> None:
        """Sets _looked to where the complete header lines end, mbox separators made fields."""
        self._looked = self._end_of_lines()
        while self._looked == self._top and _MBOX_FROM.match(self._buffer, self._top):
            lines = [self._buffer[: self._top]]
            at = self._top
            while _MBOX_FROM.match(self._buffer, at) and self._buffer.find(b"\n", at) >= 0:
                end = self._buffer.find(b"\n", at) + 1
                lines.append(b"X-Mailbox-Line: " + self._buffer[at:end])
                at = end
            if len(lines) == 1:
                return
            done = b"".join(lines)
            self._buffer = done + self._buffer[at:]
            self._top = self._looked = len(done)
            self._looked = self._end_of_lines()

    def _end_of_lines(self) -> int:
        match = _LINES.match(self._buffer, self._looked)
        return match.end() if match else self._looked

    def _end_of_header(self, end: int, blank: bytes) -> bytes:
        """The header ends at ``end``; ``blank`` is the empty line if the message has none."""
        out = self._fields(self._buffer[:end])
        body = self._buffer[end:]
        self._buffer = b""
        self._in_body = True
        return out + self._added() + blank + body

    def _is_over_limit(self) -> bool:
        return len(self._buffer) > self._rules.size_limit

    def _relieve(self) -> bytes:
        """Gives out the fields that are complete; if one alone fills the limit, cuts it."""
        at = self._last_field()
        out = self._fields(self._buffer[:at])
        self._buffer = self._buffer[at:]
        self._looked -= at
        self._top = -1
        return out + self._cut() if self._is_over_limit() else out

    def _last_field(self) -> int:
        """Where the last field that has begun begins: it may go on in the next octets."""
        if (
            self._looked < len(self._buffer)
            and self._buffer[self._looked : self._looked + 1] not in _BLANK
        ):
            return self._looked
        at = self._looked - 1
        while at > 0:
            at = self._buffer.rfind(b"\n", 0, at)
            if self._buffer[at + 1 : at + 2] not in _BLANK:
                return at + 1
        return 0

    def _cut(self) -> bytes:
        """The beginning of the field at the top of the buffer; what follows of it is skipped."""
        if not _FIELD_START.match(self._buffer):
            return self._end_of_header(0, b"\r\n")
        kept = self._buffer[: self._rules.size_limit].rstrip(b" \t\r\n")
        self._buffer = self._buffer[len(kept) :]
        self._looked = 0
        out = self._fields(kept + b"\r\n")
        self._skipping = True
        self._skip()
        return out

    def _skip(self) -> bool:
        """Throws away the rest of a field that was cut; True once another line begins."""
        match = _FIELD_END.search(self._buffer)
        if match is None or match.end() == len(self._buffer):
            self._buffer = self._buffer[-1:] if self._buffer.endswith(b"\n") else b""
            return False
        self._buffer = self._buffer[match.end() :]
        self._skipping = False
        return True

    def _fields(self, block: bytes) -> bytes:
        """Complete fields, noted, without those to be dropped; our trace field before the first."""
        kept = [self._trace]
        self._trace = b""
        if b" :" in block or b"\t:" in block:
            block = _BLANK_BEFORE_COLON.sub(rb"\1:", block)
        at = 0
        for match in _interesting(self._rules.drop).finditer(block):
            name = match.group(1).lower()
            self._seen.add(name)
            if name == b"received":
                self.hops += 1
            elif name == b"message-id" and not self.message_id:
                self.message_id = _unfolded(block, match.end())
            if name in self._rules.drop:
                kept.append(block[at : match.start()])
                at = _end_of_field(block, match.end())
        if self.hops >= self._rules.hop_limit:
            raise TooManyHops("too many hops")
        kept.append(block[at:] if at else block)
        return b"".join(kept)

    def _added(self) -> bytes:
        """The missing fields; those of a resent message if it is one (RFC 5322 §3.6.6)."""
        added = b""
        resent = any(name.startswith(b"resent-") for name in self._seen)
        for name, value in self._missing:
            full = f"Resent-{name}" if resent else name
            if full.lower().encode("ascii") not in self._seen:
                added += header_field(full, value)
                if full == "Message-Id":
                    self.message_id = value
        undisclosed = self._rules.undisclosed_recipients
        if undisclosed and self._seen.isdisjoint(_ADDRESSED):
            name, _, value = undisclosed.partition(":")
            added += header_field(name, value.strip())
        return added


_ADDRESSED = frozenset((b"to", b"cc", b"bcc", b"resent-to", b"resent-cc", b"resent-bcc"))


def _end_of_field(block: bytes, at: int) -> int:
    match = _FIELD_END.search(block, at)
    return match.end() if match else len(block)


def _unfolded(block: bytes, at: int) -> str:
    value = block[at : _end_of_field(block, at)][:_LOGGED_ID_LIMIT]
    return sanitised(_BLANKS.sub(b" ", value).strip().decode("utf-8", "replace"))
