"""Where lines end up: a file, a standard stream, or the syslog daemon.

A sink never blocks and never raises for trouble while running: what it cannot write it keeps up
to a bound, then drops, and says how much was lost once it can write again.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from gatewayd.errors import ConfigError, ConfigProblem

__all__ = ["DescriptorSink", "FileSink", "Sink", "SyslogSink"]

PENDING_LIMIT = 1024 * 1024
"""Octets kept for a sink that doesn't take them now."""

_FILE_MODE = 0o600


class Sink(Protocol):
    """``write`` takes finished lines, and also tries again what it still holds."""

    def write(self, lines: Sequence[str]) -> None: ...

    @property
    def is_behind(self) -> bool:
        """Whether it holds something that it could not write yet."""

    def take_losses(self) -> str:
        """What was lost since the last call, as a text for the log, or "".

        Also "" while nothing can be written: the text would be lost with all the rest.
        """

    def reopen(self) -> None:
        """The administrator asks to look again at where the lines go."""

    def close(self) -> None: ...


class _Losses:
    """What was dropped, until it can be told."""

    def __init__(self) -> None:
        self._lines = 0
        self._why = ""

    def add(self, lines: int, why: object) -> None:
        self._lines += lines
        self._why = str(why)

    def take(self) -> str:
        if not self._lines:
            return ""
        text = f"{self._lines} log lines were lost: {self._why}"
        self._lines = 0
        return text


class DescriptorSink:
    """An open file, pipe or terminal. Owns the descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pending = b""
        self._losses = _Losses()
        self._is_failing = False

    @property
    def is_behind(self) -> bool:
        return bool(self._pending)

    def write(self, lines: Sequence[str]) -> None:
        octets = self._pending
        if lines:
            octets += ("\n".join(lines) + "\n").encode("utf-8", "replace")
        try:
            written = os.write(self._descriptor, octets) if octets else 0
        except BlockingIOError as error:
            self._keep(octets, error)
        except OSError as error:
            # Nothing is kept: the rest of a line would be glued to a line of much later.
            self._pending = b""
            self._losses.add(octets.count(b"\n"), error)
            self._is_failing = True
        else:
            self._keep(octets[written:], "the log is too slow")
            self._is_failing = False

    def _keep(self, octets: bytes, why: object) -> None:
        if len(octets) > PENDING_LIMIT:
            end = octets.find(b"\n") + 1
            self._losses.add(octets.count(b"\n") - 1, why)
            octets = octets[:end]
        self._pending = octets

    def take_losses(self) -> str:
        return "" if self._is_failing else self._losses.take()

    def reopen(self) -> None:
        """A descriptor that was given to us cannot be opened anew."""

    def close(self) -> None:
        with suppress(OSError):
            os.close(self._descriptor)


class FileSink(DescriptorSink):
    """A file by name, opened again once it was renamed or removed (log rotation).

    Raises ConfigError if it cannot be opened at the start; later the old one stays in use.
    """

    def __init__(self, path: str, owner: tuple[int, int] | None = None) -> None:
        self._path = path
        try:
            descriptor = self._open()
            if owner is not None and os.geteuid() == 0:
                os.fchown(descriptor, *owner)
        except OSError as error:
            text = f"maillog_file: cannot open {path}: {error.strerror}"
            raise ConfigError([ConfigProblem("main.cf", 0, text)]) from None
        super().__init__(descriptor)
        self._identity = self._identify(os.fstat(descriptor))

    def _open(self) -> int:
        # Non-blocking for a named pipe that nobody reads.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        return os.open(self._path, flags, _FILE_MODE)

    @staticmethod
    def _identify(status: os.stat_result) -> tuple[int, int]:
        return status.st_dev, status.st_ino

    def write(self, lines: Sequence[str]) -> None:
        try:
            moved = self._identify(os.stat(self._path)) != self._identity
        except OSError:
            moved = True
        if moved:
            self.reopen()
        super().write(lines)

    def reopen(self) -> None:
        try:
            descriptor = self._open()
        except OSError:
            return
        super().close()
        self._descriptor = descriptor
        self._identity = self._identify(os.fstat(descriptor))


class SyslogSink:
    """The local syslog daemon's datagram socket; connected again after the daemon's restart."""

    def __init__(self, path: str = "/dev/log") -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._pending: list[bytes] = []
        self._octets = 0
        self._losses = _Losses()

    @property
    def is_behind(self) -> bool:
        return bool(self._pending)

    def write(self, lines: Sequence[str]) -> None:
        for line in lines:
            octets = line.encode("utf-8", "replace")
            self._pending.append(octets)
            self._octets += len(octets)
        sent = 0
        why: object = "syslog is too slow"
        try:
            while sent < len(self._pending):
                self._send(self._pending[sent])
                sent += 1
        except OSError as error:
            why = f"{self._path}: {error.strerror}"
        del self._pending[:sent]
        self._octets = sum(map(len, self._pending))
        if self._octets > PENDING_LIMIT:
            self._losses.add(len(self._pending), why)
            self._pending.clear()
            self._octets = 0

    def _send(self, octets: bytes) -> None:
        if self._socket is not None:
            try:
                self._socket.send(octets)
                return
            except BlockingIOError:
                raise
            except OSError:
                self.reopen()
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            channel.setblocking(False)
            channel.connect(self._path)
            channel.send(octets)
        except OSError:
            channel.close()
            raise
        self._socket = channel

    def take_losses(self) -> str:
        return self._losses.take()

    def reopen(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    close = reopen
