"""A command as a process: pipes to it, its output, its end. As ourselves, or by the launcher."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.fdesc import setNonBlocking

from gatewayd.errors import TransportBroken
from gatewayd.plugins.pipe.exits import OUTPUT_LIMIT

__all__ = ["Command", "CommandFailed", "Place", "start_command"]

_GRACE = 2.0
"""Seconds that output is waited for after the command has ended: its children may hold it."""


class CommandFailed(Exception):
    """The command could not be started."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where, as whom and with what environment a command runs."""

    user: tuple[int, int]
    folder: str
    root: str
    environment: Mapping[str, str]


class _Runner(Protocol):
    """A started process: when it ends, and how to end it."""

    @property
    def ended(self) -> Deferred[int]: ...

    def kill(self) -> None: ...


class _Launched:
    """A process that the launcher runs."""

    def __init__(self, launcher: Any, launched: Any) -> None:
        self._launcher = launcher
        self._launched = launched
        self.ended: Deferred[int] = launched.ended

    def kill(self) -> None:
        self._launcher.kill(self._launched)


class _Child(FileDescriptor):
    """A process of our own; its pidfd becomes readable when it ends."""

    def __init__(self, process: subprocess.Popen[bytes], reactor: Any) -> None:
        super().__init__(reactor)
        self._process = process
        self._descriptor = os.pidfd_open(process.pid)
        self.ended: Deferred[int] = Deferred()
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._descriptor

    def doRead(self) -> None:
        status = self._process.poll()
        if status is not None:
            self.reactor.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1
            self.ended.callback(status)

    def kill(self) -> None:
        with suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)


async def start_command(argv: Sequence[str], place: Place, launcher: Any, reactor: Any) -> Command:
    """Start it. Raises CommandFailed, or TransportBroken if that user is out of reach."""
    stdin, feed = os.pipe()
    reading, output = os.pipe()
    try:
        runner = await _started(argv, place, launcher, reactor, stdin, output)
    except BaseException:
        os.close(feed)
        os.close(reading)
        raise
    finally:
        os.close(stdin)
        os.close(output)
    return Command(runner, feed, reading, reactor)


async def _started(
    argv: Sequence[str], place: Place, launcher: Any, reactor: Any, stdin: int, output: int
) -> _Runner:
    if launcher is not None and launcher.may_run_as(place.user):
        launched = launcher.run(
            argv,
            place.user,
            folder=place.folder,
            root=place.root,
            environment=place.environment,
            stdin=stdin,
            output=output,
        )
        try:
            await launched.started
        except TransportBroken as error:
            raise CommandFailed(str(error)) from None
        return _Launched(launcher, launched)
    if place.user[0] != os.geteuid():
        raise TransportBroken(f"commands as user {place.user[0]} need a start as root")
    if place.root:
        raise TransportBroken("chroot= needs a start as root")
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=stdin,
            stdout=output,
            stderr=output,
            cwd=place.folder,
            env=dict(place.environment),
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise CommandFailed(f"{argv[0]}: {error}") from None
    return _Child(process, reactor)


class _Input(FileDescriptor):
    """The writing end of the command's standard input: one piece at a time."""

    def __init__(self, descriptor: int, reactor: Any) -> None:
        super().__init__(reactor)
        self._descriptor = descriptor
        setNonBlocking(descriptor)
        self._waiting = b""
        self._taken: Deferred[None] | None = None

    @property
    def is_open(self) -> bool:
        return self._descriptor >= 0

    def fileno(self) -> int:
        return self._descriptor

    def feed(self, octets: bytes) -> Deferred[None]:
        """Fires when all has been taken, or nothing more will be."""
        self._waiting = octets
        taken: Deferred[None] = Deferred()
        self._taken = taken
        if self.is_open:
            self.reactor.addWriter(self)
        else:
            self._done()
        return taken

    def doWrite(self) -> None:
        try:
            written = os.write(self._descriptor, self._waiting)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        self._waiting = self._waiting[written:]
        if not self._waiting:
            self.reactor.removeWriter(self)
            self._done()

    def connectionLost(self, reason: Any) -> None:
        """The reactor found the other end closed."""
        self.close()

    def close(self) -> None:
        if self.is_open:
            self.reactor.removeWriter(self)
            os.close(self._descriptor)
            self._descriptor = -1
        self._done()

    def _done(self) -> None:
        taken, self._taken = self._taken, None
        if taken is not None:
            taken.callback(None)


class _Output(FileDescriptor):
    """The reading end of the command's output: kept up to a limit, read to the end."""

    def __init__(self, descriptor: int, reactor: Any) -> None:
        super().__init__(reactor)
        self._descriptor = descriptor
        setNonBlocking(descriptor)
        self.kept = b""
        self.finished: Deferred[None] = Deferred()
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._descriptor

    def doRead(self) -> None:
        try:
            octets = os.read(self._descriptor, 65536)
        except BlockingIOError:
            return
        except OSError:
            octets = b""
        if octets:
            self.kept += octets[: OUTPUT_LIMIT - len(self.kept)]
        else:
            self.end()

    def connectionLost(self, reason: Any) -> None:
        """The reactor found that nobody has the other end, and nothing is left to read."""
        self.end()

    def end(self) -> None:
        """No more is read."""
        if self._descriptor >= 0:
            self.reactor.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1
            self.finished.callback(None)


class Command:
    """A running command."""

    def __init__(self, runner: _Runner, feed: int, reading: int, reactor: Any) -> None:
        self._runner = runner
        self._reactor = reactor
        self._input = _Input(feed, reactor)
        self._output = _Output(reading, reactor)
        self._is_over = False

    @property
    def is_reading(self) -> bool:
        """Whether it still may take input."""
        return self._input.is_open

    async def write(self, octets: bytes) -> None:
        """Input; returns when the command has taken it, or will take no more."""
        if octets and self._input.is_open:
            await self._input.feed(octets)

    def end_input(self) -> None:
        """End of file."""
        self._input.close()

    async def ended(self) -> tuple[int, bytes]:
        """(exit status, output) once it's over."""
        status = await self._runner.ended
        self._is_over = True
        timer = self._reactor.callLater(_GRACE, self._output.end)
        await self._output.finished
        if timer.active():
            timer.cancel()
        return status, self._output.kept

    def kill(self) -> None:
        """End its process group."""
        self._runner.kill()

    def close(self) -> None:
        """Give everything back; a command that still runs is killed."""
        if not self._is_over:
            self._runner.kill()
        self.end_input()
        self._output.end()
