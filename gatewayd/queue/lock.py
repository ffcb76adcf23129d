"""One process at a time has the queue open: the daemon, or a command while the daemon is down."""

from __future__ import annotations

import errno
import fcntl
import os
import time

from gatewayd.errors import StoreError

__all__ = ["QueueLock"]

_PATIENCE = 5.0
"""Seconds that a command may take which the daemon's start meets, or the other way round."""
_PAUSE = 0.05


class QueueLock:
    """A lock on a folder of the queue, which ends with the process at the latest.

    Without it a second process would void the leases of the first.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._descriptor = -1

    def acquire(self) -> None:
        """Wait for the lock for a moment. Blocks; raises StoreError."""
        try:
            self._descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            end = time.monotonic() + _PATIENCE
            while not self._try():
                if time.monotonic() > end:
                    self.release()
                    raise StoreError(f"{self._folder}: the queue is in use by another process")
                time.sleep(_PAUSE)
        except OSError as error:
            raise StoreError(f"{self._folder}: {error.strerror}") from None

    def _try(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise
        return True

    def release(self) -> None:
        """Let others have it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
