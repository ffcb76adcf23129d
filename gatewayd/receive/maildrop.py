"""Messages that the sendmail command leaves in ``maildrop/`` for the gateway: their file form.

A file is one line of JSON, the submission, then the content with CRLF line ends:

    {"version": 1, "sender": "ann@example.com", "recipients": ["joe@example.org"], "size": 1234, …}

It is written under a name that begins with a dot, synced, and renamed; so a file with a
proper name is complete, and it is refused if it is not exactly ``size`` octets longer than its
first line. Everything in it may be hostile: any user may write into maildrop.

This module is imported by commands that must start quickly: it needs little.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

__all__ = [
    "HEAD_LIMIT",
    "MaildropError",
    "MaildropRefused",
    "Submission",
    "decode_head",
    "drop",
    "encode_head",
    "sync_folder",
    "wire_form",
]

HEAD_LIMIT = 1 << 20
"""Octets that the first line may have: enough for some ten thousand recipients."""

_VERSION = 1
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_NOTIFY = frozenset(("NEVER", "SUCCESS", "FAILURE", "DELAY"))
_TEXTS = ("sender", "full_name", "notify", "envid", "ret", "body")
_NAMED = (*_TEXTS, "recipients", "user_id", "smtputf8", "arrival")
_EX_DATAERR, _EX_UNAVAILABLE, _EX_TEMPFAIL = 65, 69, 75


class MaildropError(Exception):
    """A file in maildrop that is no submission; the text says why."""


class MaildropRefused(Exception):
    """A submission that cannot be put into maildrop now, or at all.

    ``exit_status`` is the one of sysexits.h for the command that tried.
    """

    def __init__(self, text: str, exit_status: int) -> None:
        super().__init__(text)
        self.exit_status = exit_status


@dataclass(frozen=True, slots=True)
class Submission:
    """What the caller of the sendmail command asked for.

    Addresses are in external form, not yet rewritten. ``notify`` are NOTIFY's words with commas
    between, "" for the default. ``arrival`` is POSIX seconds and ``size`` counts the content's
    octets: drop() fills in both.
    """

    sender: str
    recipients: tuple[str, ...]
    user_id: int = -1
    full_name: str = ""
    notify: str = ""
    envid: str = ""
    ret: str = ""
    body: str = ""
    smtputf8: bool = False
    arrival: float = 0.0
    size: int = 0


def wire_form(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Content with local line ends (LF or CRLF) as the queue holds it: CRLF, also at the end.

    A lone CR becomes a blank, so that nobody further on takes it for a line end (security.md
    1.1). Works on pieces cut anywhere.
    """
    held = b""
    end = b""
    for piece in pieces:
        octets = held + piece
        held = b"\r" if octets.endswith(b"\r") else b""
        octets = octets[:-1] if held else octets
        if octets:
            octets = octets.replace(b"\r\n", b"\n").replace(b"\r", b" ").replace(b"\n", b"\r\n")
            end = octets[-2:]
            yield octets
    if held or (end and end != b"\r\n"):
        yield b"\r\n"


def encode_head(submission: Submission) -> bytes:
    """The first line of a maildrop file; its length doesn't depend on ``size``."""
    record = {"version": _VERSION}
    record |= {name: getattr(submission, name) for name in _NAMED}
    text = json.dumps(record, ensure_ascii=False)
    line = f'{text[:-1]}, "size": {submission.size:>16}}}\n'
    return line.encode("utf-8", "replace")


def decode_head(line: bytes) -> Submission:
    """The submission in a file's first line. Raises MaildropError, and nothing else."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise MaildropError(f"first line is no JSON: {error}") from None
    if not isinstance(record, dict):
        raise MaildropError("first line is no JSON object")
    if record.get("version") != _VERSION:
        raise MaildropError(f"version {record.get('version')!r} is not {_VERSION}")
    texts = {name: _text(record, name) for name in _TEXTS}
    if texts["ret"] not in ("", "FULL", "HDRS") or texts["body"] not in ("", "7BIT", "8BITMIME"):
        raise MaildropError("bad ret or body")
    words = texts["notify"].split(",") if texts["notify"] else []
    if not _NOTIFY.issuperset(words) or ("NEVER" in words and len(words) > 1):
        raise MaildropError("bad notify")
    return Submission(
        recipients=_recipients(record),
        arrival=_number(record, "arrival"),
        size=int(_number(record, "size")),
        user_id=int(_number(record, "user_id", least=-1)),
        smtputf8=record.get("smtputf8") is True,
        **texts,
    )


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name, "")
    if not isinstance(value, str) or _CONTROL.search(value):
        raise MaildropError(f"bad {name}")
    return value


def _recipients(record: Mapping[str, Any]) -> tuple[str, ...]:
    values = record.get("recipients")
    if not isinstance(values, list) or not values:
        raise MaildropError("bad recipients")
    return tuple(_text({"recipients": value}, "recipients") for value in values)


def _number(record: Mapping[str, Any], name: str, least: float = 0) -> float:
    value = record.get(name, least)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MaildropError(f"bad {name}")
    if not least <= value <= 1 << 53:  # also refuses NaN
        raise MaildropError(f"bad {name}")
    return value


def drop(folder: str, submission: Submission, pieces: Iterable[bytes], size_limit: int = 0) -> str:
    """Put a submission into the maildrop folder, durably; gives the file's name.

    ``pieces`` make up the content, in wire form. ``size_limit`` counts its octets; 0 is none.
    Returns only after everything is on stable storage. Raises MaildropRefused.
    """
    submission = replace(submission, arrival=time.time(), size=0)
    head = encode_head(submission)
    if len(head) > HEAD_LIMIT:
        raise MaildropRefused("too many recipients", _EX_DATAERR)
    try:
        decode_head(head)  # what would not be taken later is refused now
    except MaildropError as error:
        raise MaildropRefused(str(error), _EX_DATAERR) from None
    name = f"{os.getpid():x}{os.urandom(8).hex()}"
    waiting = os.path.join(folder, f".{name}")
    try:
        with open(waiting, "xb", opener=_open_private) as file:
            _write(file, submission, pieces, size_limit)
        os.rename(waiting, os.path.join(folder, name))
        sync_folder(folder)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(waiting)
        if isinstance(error, OSError):
            raise MaildropRefused(f"queue file write error: {error}", _EX_TEMPFAIL) from error
        raise
    return name


def _write(
    file: BinaryIO, submission: Submission, pieces: Iterable[bytes], size_limit: int
) -> None:
    file.write(encode_head(submission))
    size = 0
    for piece in pieces:
        size += len(piece)
        if 0 < size_limit < size:
            raise MaildropRefused("message file too big", _EX_UNAVAILABLE)
        file.write(piece)
    file.seek(0)
    file.write(encode_head(replace(submission, size=size)))
    file.flush()
    os.fsync(file.fileno())


def _open_private(path: str, flags: int) -> int:
    """For us and the folder's group, which is the gateway's; whatever our umask says."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o640)
    return descriptor


def sync_folder(folder: str) -> None:
    """Make renames and removals in it durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
