"""A mail server that does what a test says: SMTP or LMTP, octets in, octets out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

ESMTP = ("PIPELINING", "SIZE 10240000", "8BITMIME", "DSN", "SMTPUTF8")
CHUNKING = (*ESMTP, "CHUNKING")

CLOSE = "close"
SILENCE = "silence"

Answer = Callable[[str, str], "str | None"]
"""(verb, rest of the command) → a reply, CLOSE, SILENCE, or None for a friendly reply.

Verbs are those of commands, GREETING, and END for the end of content, where the rest is a
recipient with LMTP.
"""


@dataclass
class Delivered:
    """A message that the server has taken, for these recipients."""

    mail: str
    recipients: list[str]
    content: bytes


@dataclass
class MailServer:
    """Keeps to RFC 5321, 2033 and 3030 where ``answer`` doesn't say otherwise.

    It takes what arrived at once as pipelined; anything behind a command that ends a group is a
    mistake of the client's (``mistakes``).
    """

    keywords: tuple[str, ...] = ESMTP
    answer: Answer = lambda verb, rest: None
    lmtp: bool = False
    name: str = "mx.site.test"
    is_closed: bool = False
    delivered: list[Delivered] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    _buffer: bytes = b""
    _out: list[str] = field(default_factory=list)
    _mail: str | None = None
    _recipients: list[str] = field(default_factory=list)
    _chunks: bytes = b""
    _chunk_left: tuple[int, bool] | None = None
    _has_chunks: bool = False
    _is_data: bool = False
    _is_silent: bool = False
    _said_last: int = 0

    def greet(self) -> bytes:
        self._say("GREETING", "", f"220 {self.name} ESMTP")
        return self._taken()

    def receive(self, octets: bytes) -> bytes:
        self._buffer += octets
        while not self.is_closed and self._step():
            pass
        return self._taken()

    def _taken(self) -> bytes:
        said = self._out[: self._said_last] if self._is_silent else self._out
        out = "".join(f"{each}\r\n" for each in said)
        self._out.clear()
        self._said_last = 0
        return out.encode()

    def _step(self) -> bool:
        if self._chunk_left is not None:
            return self._chunk(*self._chunk_left)
        if self._is_data:
            return self._content()
        line, found, rest = self._buffer.partition(b"\r\n")
        if not found:
            return False
        self._buffer = rest
        text = line.decode()
        self.commands.append(text)
        self._command(text)
        return True

    def _say(self, verb: str, rest: str, friendly: str) -> bool:
        """Whether the answer was positive."""
        if self.is_closed:
            return False
        answer = self.answer(verb, rest) or friendly
        if answer == CLOSE:
            self.is_closed = True
            return False
        if answer == SILENCE:
            # What was said before still arrives.
            self._is_silent = True
            self._said_last = len(self._out)
        if self._is_silent:
            return False
        self._out.extend(answer.split("\n"))
        if answer.startswith("421") or not answer[:3].isdigit():
            self.is_closed = True
        return answer.startswith("3" if verb == "DATA" else "2")

    def _command(self, text: str) -> None:
        verb, _, rest = text.partition(" ")
        verb = verb.upper()
        if verb in ("EHLO", "HELO", "LHLO"):
            lines = [self.name, *(self.keywords if verb != "HELO" else ())]
            reply = "\n".join([*(f"250-{each}" for each in lines[:-1]), f"250 {lines[-1]}"])
            self._group_ends(verb)
            self._say(verb, rest, reply)
        elif verb == "MAIL":
            self._mail_from(rest)
        elif verb == "RCPT":
            self._rcpt_to(rest)
        elif verb == "DATA":
            self._data(rest)
        elif verb == "BDAT":
            size, _, last = rest.partition(" ")
            self._chunk_left = (int(size), last == "LAST")
        elif verb == "RSET":
            self._forget()
            self._say(verb, rest, "250 2.0.0 Ok")
        elif verb == "QUIT":
            self._say(verb, rest, "221 2.0.0 Bye")
            self.is_closed = not self._is_silent
        else:
            self.mistakes.append(f"unknown command: {text!r}")
            self._out.append("500 5.5.2 What?")

    def _group_ends(self, verb: str) -> None:
        if self._buffer:
            self.mistakes.append(f"octets behind {verb}: {self._buffer[:40]!r}")

    def _mail_from(self, rest: str) -> None:
        if self._mail is not None:
            self.mistakes.append("nested MAIL")
            self._out.append("503 5.5.1 nested MAIL command")
        elif self._say("MAIL", rest, "250 2.1.0 Ok"):
            self._mail = rest

    def _rcpt_to(self, rest: str) -> None:
        if self._mail is None:
            self._out.append("503 5.5.1 need MAIL command")
        elif self._say("RCPT", rest, "250 2.1.5 Ok"):
            self._recipients.append(rest)

    def _data(self, rest: str) -> None:
        self._group_ends("DATA")
        if not self._recipients:
            self._out.append("554 5.5.1 no valid recipients")
        elif self._say("DATA", rest, "354 End data with <CR><LF>.<CR><LF>"):
            self._is_data = True

    def _content(self) -> bool:
        if self._buffer.startswith(b".\r\n"):
            content, self._buffer = b"", self._buffer[3:]
        else:
            end = self._buffer.find(b"\r\n.\r\n")
            if end < 0:
                return False
            content, self._buffer = self._buffer[: end + 2], self._buffer[end + 5 :]
        lines = content.split(b"\r\n")
        self._is_data = False
        self._complete(b"\r\n".join(line.removeprefix(b".") for line in lines))
        return True

    def _chunk(self, size: int, is_last: bool) -> bool:
        if len(self._buffer) < size:
            return False
        self._chunks += self._buffer[:size]
        self._buffer = self._buffer[size:]
        self._chunk_left = None
        if not self._recipients:
            self._out.append("503 5.5.1 no valid recipients")
        elif is_last:
            self._complete(self._chunks)
        elif not self._say("BDAT", str(size), "250 2.0.0 Ok"):
            # RFC 3030 §4.1: all that comes until RSET is refused.
            self._recipients.clear()
        return True

    def _complete(self, content: bytes) -> None:
        mail = self._mail or ""
        if self.lmtp:
            taken = [each for each in self._recipients if self._say("END", each, "250 2.0.0 Ok")]
        else:
            took = self._say("END", "", f"250 2.0.0 Ok: queued as {len(self.delivered)}")
            taken = self._recipients if took else []
        if taken:
            self.delivered.append(Delivered(mail, list(taken), content))
        self._forget()

    def _forget(self) -> None:
        self._mail = None
        self._recipients = []
        self._chunks = b""
