"""sendmail: take a message from standard input into the queue (postfix.md §9).

The message goes into the maildrop folder, durably, and the daemon is poked; while the daemon is
down it waits there. Runs for every mail a program sends, so it imports as little as it can.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatewayd.config.settings import Settings

__all__ = ["main", "parse"]

_EX_USAGE, _EX_DATAERR, _EX_NOPERM = 64, 65, 77
_USAGE = (
    "usage: sendmail [-C DIR] [-F NAME] [-f SENDER] [-t] [-i] [-N NOTIFY] [-R full|hdrs]\n"
    "                [-V ENVID] [-B 7BIT|8BITMIME] [RECIPIENT …]\n"
    "       sendmail -bp | -q | -qI ID | -qR SITE | -bi"
)
_WITH_VALUE = frozenset("ABCFLNORVXbfhopr")
"""Options whose value is the rest of the word, or else the next word."""
_IGNORED = frozenset("ALUXGhmnopv")
_PIECE = 1 << 16
_HEADER_LIMIT = 1 << 20
_POKE_BOUND = 0.05
"""Seconds that a busy daemon may take: it looks into maildrop by itself, too."""


@dataclass(slots=True)
class Request:
    """What the command line asks for."""

    mode: str = "m"
    folder: str = ""
    sender: str | None = None
    full_name: str = ""
    from_header: bool = False
    lone_dot_ends: bool = True
    notify: str = ""
    ret: str = ""
    envid: str = ""
    body: str = ""
    flush: str | None = None
    recipients: list[str] = field(default_factory=list)


class _Usage(Exception):
    pass


class _BadAddresses(Exception):
    pass


def main(arguments: list[str]) -> int:
    """The command; exit status as in sysexits.h."""
    if arguments == ["--help"]:
        print(_USAGE)
        return 0
    try:
        request = parse(arguments)
    except _Usage as error:
        print(f"sendmail: fatal: {error}\n{_USAGE}", file=sys.stderr)
        return _EX_USAGE
    folder = ["-c", request.folder] if request.folder else []
    if request.mode == "p":
        from gatewayd.cli import postqueue

        return postqueue.main([*folder, "-p"])
    if request.mode == "i":
        return 0
    if request.flush is not None:
        from gatewayd.cli import postqueue

        return postqueue.main([*folder, *_flush_arguments(request.flush)])
    return _submit(request)


def parse(arguments: list[str]) -> Request:
    """The request in a command line. Raises _Usage."""
    request = Request()
    words = iter(arguments)
    for word in words:
        if word == "--":
            request.recipients.extend(words)
        elif word in ("-t", "-i", "-oi", "-v", "-G", "-n", "-m", "-U", "-I"):
            _flag(request, word)
        elif word.startswith("-") and len(word) > 1:
            letter, value = word[1], word[2:]
            if letter == "q":
                request.flush = _flush_value(value, words)
                continue
            if letter not in _WITH_VALUE:
                raise _Usage(f"unknown option: {word}")
            if not value:
                value = next(words, "")
                if not value and letter not in "fr":
                    raise _Usage(f"option {word} needs a value")
            _option(request, letter, value)
        else:
            request.recipients.append(word)
    return request


def _flag(request: Request, word: str) -> None:
    if word == "-t":
        request.from_header = True
    elif word in ("-i", "-oi"):
        request.lone_dot_ends = False
    elif word == "-I":
        request.mode = "i"


def _flush_value(value: str, words: Iterator[str]) -> str:
    """-q, -q30m (a queue run; the time is the daemon's matter), -qI ID, -qR SITE, -qISITE …"""
    if value[:1] in ("I", "R", "S"):
        rest = value[1:] or next(words, "")
        if not rest:
            raise _Usage(f"option -q{value} needs a value")
        return value[0] + rest
    return ""


def _flush_arguments(value: str) -> list[str]:
    if not value:
        return ["-f"]
    if value[0] == "I":
        return ["-i", value[1:]]
    return ["-s", value[1:].lstrip("@")]


def _option(request: Request, letter: str, value: str) -> None:
    if letter == "b":
        if value not in ("m", "p", "i"):
            raise _Usage(f"mode -b{value} is not supported")
        request.mode = value
    elif letter == "C":
        request.folder = value if os.path.isdir(value) else os.path.dirname(value)
    elif letter in "fr":
        request.sender = value
    elif letter == "F":
        request.full_name = value
    elif letter == "o" and value == "i":
        request.lone_dot_ends = False
    elif letter == "N":
        request.notify = _checked_notify(value)
    elif letter == "R":
        if value.lower() not in ("full", "hdrs"):
            raise _Usage(f"-R {value}: full or hdrs")
        request.ret = value.upper()
    elif letter == "V":
        request.envid = value
    elif letter == "B":
        if value.upper() not in ("7BIT", "8BITMIME"):
            raise _Usage(f"-B {value}: 7BIT or 8BITMIME")
        request.body = value.upper()
    elif letter not in _IGNORED:
        raise _Usage(f"unknown option: -{letter}")


def _checked_notify(value: str) -> str:
    words = {word.strip().upper() for word in value.split(",")}
    known = {"NEVER", "SUCCESS", "FAILURE", "DELAY"}
    if not words <= known or ("NEVER" in words and len(words) > 1):
        raise _Usage(f"-N {value}: never, or of success, failure, delay")
    return ",".join(sorted(words))


def _lines(request: Request) -> Iterator[bytes]:
    """The message, CRLF at every line's end, from standard input."""
    stream = sys.stdin.buffer
    for line in stream:
        bare = line.rstrip(b"\n")
        bare = bare[:-1] if bare.endswith(b"\r") else bare
        if request.lone_dot_ends and bare == b".":
            return
        yield bare + b"\r\n"


_ADDRESS_HEADERS = re.compile(rb"(?:to|cc|bcc|resent-to|resent-cc|resent-bcc):", re.I)


def _read_header(lines: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
    """(header fields, what was read after them: the empty line and no more)."""
    fields: list[bytes] = []
    size = 0
    for line in lines:
        size += len(line)
        if line == b"\r\n" or size > _HEADER_LIMIT:
            return fields, [line]
        if line[:1] in b" \t" and fields:
            fields[-1] += line
        elif b":" in line and not line.startswith(b":"):
            fields.append(line)
        else:
            return fields, [b"\r\n", line]
    return fields, []


def _header_recipients(fields: list[bytes]) -> list[str]:
    """The addresses of To, Cc, Bcc; of the Resent- fields if there are any.

    Raises _BadAddresses.
    """
    from email.utils import getaddresses

    named = [(field.split(b":", 1)[0].lower(), field) for field in fields]
    chosen = [field for name, field in named if _ADDRESS_HEADERS.match(field)]
    resent = [field for field in chosen if field.lower().startswith(b"resent-")]
    texts = [
        field.split(b":", 1)[1].decode("utf-8", "replace").replace("\r\n", "")
        for field in resent or chosen
    ]
    try:
        return [address for _, address in getaddresses(texts) if address]
    except RecursionError:
        raise _BadAddresses("the header's addresses are nested too deep") from None


def _submit(request: Request) -> int:
    from gatewayd.cli.place import settings_in
    from gatewayd.receive.maildrop import MaildropRefused, Submission, drop

    settings = settings_in(request.folder or None)
    if not _may_submit(settings):
        print(f"sendmail: fatal: user {os.getuid()} may not submit mail", file=sys.stderr)
        return _EX_NOPERM
    lines = _lines(request)
    fields, rest = _read_header(lines)
    recipients = list(request.recipients)
    if request.from_header:
        try:
            recipients += _header_recipients(fields)
        except _BadAddresses as error:
            print(f"sendmail: fatal: {error}", file=sys.stderr)
            return _EX_DATAERR
    if not recipients:
        print("sendmail: fatal: Recipient addresses must be specified", file=sys.stderr)
        return _EX_USAGE
    sender = _sender(request)
    if not _is_address(sender):
        print(f"sendmail: fatal: bad sender address: {sender!r}", file=sys.stderr)
        return _EX_DATAERR
    submission = Submission(
        sender=sender,
        recipients=tuple(dict.fromkeys(recipients)),
        full_name=request.full_name,
        notify=request.notify,
        ret=request.ret,
        envid=request.envid,
        body=request.body,
        user_id=os.getuid(),
    )
    try:
        drop(
            os.path.join(settings.text("queue_directory"), "maildrop"),
            submission,
            _pieces(fields, rest, lines),
            settings.number("message_size_limit"),
        )
    except MaildropRefused as refused:
        print(f"sendmail: fatal: {refused}", file=sys.stderr)
        return refused.exit_status
    _poke(settings.text("control_socket"))
    return 0


def _may_submit(settings: Settings) -> bool:
    """By authorized_submit_users; a list that can't tell right now leaves it to the daemon."""
    name = "authorized_submit_users"
    if settings.text(name) == "static:anyone":
        return True
    from gatewayd.control.peer import Permissions
    from gatewayd.errors import TableError

    asking = Permissions.from_settings(settings).allows(os.getuid(), name)
    try:
        asking.send(None)
    except StopIteration as answer:
        return bool(answer.value)
    except TableError:
        return True
    asking.close()
    return True


def _pieces(fields: list[bytes], rest: list[bytes], lines: Iterator[bytes]) -> Iterator[bytes]:
    """The content in pieces of about 64 KB."""
    kept: list[bytes] = [*fields, *(rest or [b"\r\n"])]
    size = 0
    for line in lines:
        kept.append(line)
        size += len(line)
        if size > _PIECE:
            yield b"".join(kept)
            kept, size = [], 0
    yield b"".join(kept)


def _sender(request: Request) -> str:
    if request.sender is not None:
        return request.sender.strip().removeprefix("<").removesuffix(">")
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _is_address(sender: str) -> bool:
    """Whether reports have somewhere to go. A source route is looked at when it's taken off."""
    from gatewayd.address import parse_address
    from gatewayd.errors import AddressSyntaxError

    if not sender or sender.startswith("@"):
        return True
    try:
        parse_address(sender)
    except AddressSyntaxError:
        return False
    return True


def _poke(path: str) -> None:
    """Tell the daemon; if it's down, or slow, the message is safe where it is."""
    import socket

    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_POKE_BOUND)
        try:
            connection.connect(path)
            connection.sendall(b"POST /pickup HTTP/1.0\r\nContent-Length: 0\r\n\r\n")
            connection.recv(64)
        except OSError:
            return
