"""Changing main.cf and master.cf in place: comments and the order of lines stay.

The changes are texts made from texts; only ``changed_file`` touches the disk.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum, auto

from gatewayd.config.logical_lines import BLANKS

__all__ = ["Removal", "changed_file", "main_name", "remove", "service_key", "set_entries"]

_MAIN_NAME = re.compile(r"[^\s=]+", re.ASCII)
_SERVICE_KEY = re.compile(r"(\S+)\s+(\S+)", re.ASCII)
_LONGEST = 8 << 20

KeyOf = Callable[[str], str | None]


class Removal(Enum):
    """How entries go away."""

    COMMENT = auto()
    """A # before each of their lines."""
    DROP = auto()


def main_name(line: str) -> str | None:
    """The parameter that a logical line of main.cf starts to set."""
    match = _MAIN_NAME.match(line)
    return match[0] if match else None


def service_key(line: str) -> str | None:
    """``name/type`` of the service that a logical line of master.cf starts."""
    match = _SERVICE_KEY.match(line)
    return f"{match[1]}/{match[2]}" if match else None


def set_entries(text: str, entries: Mapping[str, str], key_of: KeyOf) -> str:
    """``text`` with each entry in the place of all of its key, or at the end if there is none."""
    out: list[str] = []
    missing = dict(entries)
    for line, key, starts in _lines(text, key_of):
        if key is None or key not in entries:
            out.append(line)
        elif starts:
            out.append(entries[key])
            missing.pop(key, None)
    if missing:
        if out and not out[-1]:
            out.pop()
        out += [*missing.values(), ""]
    return "\n".join(out)


def remove(text: str, keys: Iterable[str], key_of: KeyOf, how: Removal) -> str:
    """``text`` without the entries of these keys, or with them as comments."""
    gone = frozenset(keys)
    out: list[str] = []
    for line, key, _ in _lines(text, key_of):
        if key is None or key not in gone:
            out.append(line)
        elif how is Removal.COMMENT:
            out.append(f"#{line}")
    return "\n".join(out)


def _lines(text: str, key_of: KeyOf) -> Iterator[tuple[str, str | None, bool]]:
    """Physical lines with the key of the entry that they are part of, and whether they start it."""
    lines = text.split("\n")
    key: str | None = None
    for at, line in enumerate(lines):
        if _is_comment(line):
            yield line, None, False
        elif line[0] in BLANKS:
            yield line, key, False
        else:
            key = key_of(_whole(lines, at))
            yield line, key, True


def _is_comment(line: str) -> bool:
    """Whether it's one, or empty."""
    return line.lstrip(BLANKS)[:1] in ("", "#")


def _whole(lines: list[str], start: int) -> str:
    """The logical line that starts there."""
    parts = [lines[start]]
    for at in range(start + 1, len(lines)):
        line = lines[at]
        if _is_comment(line):
            continue
        if line[0] not in BLANKS:
            break
        parts.append(line)
    return "".join(parts)


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    """One editor at a time; the kernel gives the lock back when the process ends."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
        os.fsync(handle)
    finally:
        os.close(handle)


def changed_file(path: str, change: Callable[[str], str]) -> str:
    """Put ``change(text)`` in a file's place at once, or leave it as it is; gives the new text.

    Mode and owner stay; octets that are no UTF-8, too. Raises OSError, and what ``change`` does.
    """
    path = os.path.realpath(path)
    folder = os.path.dirname(path)
    with _locked(folder):
        with open(path, "rb") as file:
            before = os.fstat(file.fileno())
            octets = file.read(_LONGEST + 1)
        if len(octets) > _LONGEST:
            raise OSError(f"{path}: larger than {_LONGEST} octets")
        text = octets.decode("utf-8", "surrogateescape")
        new = change(text)
        if new != text:
            _put(path, folder, new.encode("utf-8", "surrogateescape"), before)
    return new


def _put(path: str, folder: str, octets: bytes, before: os.stat_result) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(octets)
            file.flush()
            if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
            os.fchmod(file.fileno(), before.st_mode & 0o7777)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
