"""The pid file, locked for as long as the process lives: two gateways never share a queue."""

from __future__ import annotations

import errno
import fcntl
import os
from dataclasses import dataclass, field

from gatewayd.errors import GatewayError

__all__ = ["AlreadyRunning", "PidFile", "running_pid"]


class AlreadyRunning(GatewayError):
    """Another gateway holds the lock."""

    def __init__(self, path: str, pid: int) -> None:
        super().__init__(f"another gatewayd is running (pid {pid}, {path})")
        self.pid = pid


@dataclass(slots=True)
class PidFile:
    """A file with our process ID, under an exclusive lock.

    The lock, not the file's presence, says that a gateway runs: a file left by a crash is no
    obstacle.
    """

    path: str
    _descriptor: int = field(default=-1, init=False)

    def acquire(self) -> None:
        """Take the lock and write our ID. Raises AlreadyRunning, or OSError."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid = _read_pid(descriptor)
            os.close(descriptor)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise AlreadyRunning(self.path, pid) from None
            raise
        self._descriptor = descriptor
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back; the file stays, empty."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1


def running_pid(path: str) -> int | None:
    """The process that holds the lock, or None if none does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _read_pid(descriptor) or None
    else:
        return None
    finally:
        os.close(descriptor)


def _read_pid(descriptor: int) -> int:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else 0
