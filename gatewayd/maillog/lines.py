"""A line of the log: Postfix's layout, the same for syslog, or JSON. Pure.

    Nov 23 08:27:01 gw postfix/smtpd[1234]: connect from unknown[192.0.2.1]       a file
    <22>Nov 23 08:27:01 postfix/smtpd[1234]: connect from unknown[192.0.2.1]      syslog (RFC 3164)
    {"time": "2026-11-23T08:27:01.123456Z", "program": "smtpd", "level": "info", "text": …}

Whatever strangers put into a text, a line stays one line of printable characters.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

__all__ = ["LINE_LIMIT", "JsonLayout", "Layout", "PostfixLayout", "SyslogLayout", "printable"]

LINE_LIMIT = 8000
"""Characters of one text: what syslog daemons take, and room for any delivery's reason."""

_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_encode = json.JSONEncoder(default=str).encode
_SEVERITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3}
_PREFIXES = {"debug": "", "info": "", "warning": "warning: ", "error": "error: "}


class Layout(Protocol):
    """Makes a line, without its line end, of what is to be told. ``now`` is POSIX seconds."""

    def line(
        self, now: float, program: str, level: str, text: str, fields: Mapping[str, Any]
    ) -> str: ...


def printable(text: str) -> str:
    """The text as the log may hold it: bounded, with ``?`` for what isn't printable.

    Controls, line separators of any script, and octets that were not UTF-8 (which stand in text
    as lone surrogates) all count as not printable; letters of any script stay.
    """
    if len(text) > LINE_LIMIT:
        text = text[: LINE_LIMIT - 3] + "..."
    if text.isprintable():
        return text
    return "".join([char if char.isprintable() else "?" for char in text])


def stamp(now: float) -> str:
    """Local time as syslog writes it: ``Nov  3 08:27:01``."""
    local = time.localtime(now)
    return (
        f"{_MONTHS[local.tm_mon - 1]} {local.tm_mday:2d} "
        f"{local.tm_hour:02d}:{local.tm_min:02d}:{local.tm_sec:02d}"
    )


class _PerSecond:
    """Something made of the time that stays the same within a second."""

    __slots__ = ("_make", "_second", "_value")

    def __init__(self, make: Callable[[float], str]) -> None:
        self._make = make
        self._second = -1
        self._value = ""

    def at(self, now: float) -> str:
        second = int(now)
        if second != self._second:
            self._value = self._make(second)
            self._second = second
        return self._value


class PostfixLayout:
    """The layout of a log file as syslog daemons and Postfix's postlogd write it."""

    def __init__(self, host: str, name: str, pid: int) -> None:
        self._start = _PerSecond(lambda now: f"{stamp(now)} {host} {name}/")
        self._pid = f"[{pid}]: "

    def line(
        self, now: float, program: str, level: str, text: str, fields: Mapping[str, Any]
    ) -> str:
        return f"{self._start.at(now)}{program}{self._pid}{_PREFIXES[level]}{printable(text)}"


class SyslogLayout:
    """A datagram for the local syslog daemon: RFC 3164, where the daemon adds the host."""

    def __init__(self, facility: int, name: str, pid: int) -> None:
        self._stamp = _PerSecond(stamp)
        self._starts = {
            level: f"<{facility * 8 + severity}>" for level, severity in _SEVERITIES.items()
        }
        self._name = name
        self._pid = f"[{pid}]: "

    def line(
        self, now: float, program: str, level: str, text: str, fields: Mapping[str, Any]
    ) -> str:
        return (
            f"{self._starts[level]}{self._stamp.at(now)} {self._name}/{program}{self._pid}"
            f"{_PREFIXES[level]}{printable(text)}"
        )


class JsonLayout:
    """One JSON object a line: time (UTC), host, name, program, pid, level, text, and the fields."""

    def __init__(self, host: str, name: str, pid: int) -> None:
        self._second = _PerSecond(lambda now: time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)))
        self._always = {"host": host, "name": name, "pid": pid}

    def line(
        self, now: float, program: str, level: str, text: str, fields: Mapping[str, Any]
    ) -> str:
        words: dict[str, Any] = {
            "time": f"{self._second.at(now)}.{int(now % 1 * 1_000_000):06d}Z",
            "program": program,
            "level": level,
            "text": printable(text),
            **self._always,
        }
        # ASCII escapes: not even a terminal that shows the file is reached by what's in it.
        if fields:
            line = _encode({**fields, **words})
            if len(line) <= 2 * LINE_LIMIT:
                return line
        return _encode(words)
