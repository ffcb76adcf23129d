"""The maildrop folder as the gateway sees it: names, hostile files, removal. All of it blocks.

Any local user may be able to write there, so nothing is followed, nothing is believed: links,
pipes, devices and folders are no submissions, and who sent a message is who owns the file.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from gatewayd.receive.maildrop import (
    HEAD_LIMIT,
    MaildropError,
    Submission,
    decode_head,
    sync_folder,
    wire_form,
)

__all__ = ["DroppedFile", "MaildropFolder"]

_PIECE = 1 << 16
_ABANDONED_AFTER = 86400.0
"""Seconds after which an unfinished file belongs to a command that was killed."""


@dataclass(frozen=True, slots=True)
class DroppedFile:
    """An open submission. ``pieces`` is the content in wire form; ends with MaildropError if the
    file is shorter than it was. ``modified`` is POSIX seconds."""

    submission: Submission
    file: BinaryIO
    pieces: Iterator[bytes]
    user_id: int
    modified: float


class MaildropFolder:
    """``maildrop`` and ``corrupt`` under the queue directory. Methods raise OSError."""

    def __init__(self, path: str, corrupt: str) -> None:
        self.path = path
        self.corrupt = corrupt

    def names(self, without: Collection[str], limit: int) -> list[str]:
        """Up to so many finished files, but for those in ``without``; sweeps abandoned ones."""
        found: list[str] = []
        with os.scandir(self.path) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    self._sweep(entry)
                elif entry.name not in without:
                    found.append(entry.name)
                    if len(found) >= limit:
                        break
        return found

    @staticmethod
    def _sweep(entry: os.DirEntry[str]) -> None:
        with suppress(OSError):
            age = time.time() - entry.stat(follow_symlinks=False).st_mtime
            if age > _ABANDONED_AFTER:
                os.unlink(entry.path)

    def open(self, name: str) -> DroppedFile | None:
        """The submission of that name; None if it's gone. Raises MaildropError."""
        path = os.path.join(self.path, name)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            # Asked first: opening a device can have effects.
            if not stat.S_ISREG(os.lstat(path).st_mode):
                raise MaildropError("no regular file")
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise MaildropError(f"not for us to read: {error.strerror}") from None
        file = os.fdopen(descriptor, "rb")
        try:
            return self._opened(file, os.fstat(descriptor))
        except BaseException:
            file.close()
            raise

    @staticmethod
    def _opened(file: BinaryIO, status: os.stat_result) -> DroppedFile:
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise MaildropError("no regular file of its own")
        head = file.readline(HEAD_LIMIT + 1)
        if not head.endswith(b"\n"):
            raise MaildropError("no complete first line")
        submission = decode_head(head)
        expected = len(head) + submission.size
        if status.st_size != expected:
            raise MaildropError(f"{status.st_size} octets, not {expected}")
        pieces = wire_form(_exactly(file, submission.size))
        return DroppedFile(submission, file, pieces, status.st_uid, status.st_mtime)

    def remove(self, name: str) -> None:
        """Its message is in the queue."""
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(self.path, name))
            sync_folder(self.path)

    def set_aside(self, name: str) -> None:
        """Keep it for the administrator, out of the way."""
        os.makedirs(self.corrupt, mode=0o700, exist_ok=True)
        target = os.path.join(self.corrupt, name)
        if os.path.lexists(target):
            target = f"{target}.{time.time_ns():x}"
        os.rename(os.path.join(self.path, name), target)


def _exactly(file: BinaryIO, size: int) -> Iterator[bytes]:
    """So many octets; what is appended to the file meanwhile doesn't count."""
    left = size
    while left:
        piece = file.read(min(left, _PIECE))
        if not piece:
            raise MaildropError("became shorter while it was read")
        left -= len(piece)
        yield piece
