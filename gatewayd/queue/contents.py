"""Contents on their way in and at rest: small ones in memory and the database, large in files.

A file is written while its message arrives, by threads, and is on stable storage before the
commit that makes the message exist. A file whose message doesn't exist is removed at start.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from zope.interface import implementer

from gatewayd.errors import StoreError, StoreFull
from gatewayd.interfaces import IIncomingContent
from gatewayd.maillog import MailLog
from gatewayd.message import Content, MemoryContent

__all__ = ["ContentFiles", "FileContent", "IncomingContent", "StoredContent"]

log = MailLog("queue")

_UNWRITTEN_LIMIT = 1 << 18
"""Octets that may wait for the disk before the client is made to wait."""
_NAME = re.compile(r"[0-9a-z][0-9a-z-]*\Z")
_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT)


class ContentFiles:
    """The folder of large contents. Nothing here blocks the reactor but ``path``."""

    def __init__(self, folder: str, reactor: Any) -> None:
        self.folder = folder
        self.reactor = reactor

    def path(self, name: str) -> str:
        """Where a content's file lies. Raises OSError if no file of ours has such a name."""
        if not _NAME.match(name):
            raise OSError(errno.EINVAL, "no name of a content")
        return os.path.join(self.folder, name)

    def in_thread(self, work: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Do blocking work in one of the reactor's threads."""
        return deferToThreadPool(self.reactor, self.reactor.getThreadPool(), work, *arguments)

    def remove(self, name: str) -> None:
        """Delete a content's file. Blocks."""
        with suppress(FileNotFoundError):
            os.unlink(self.path(name))

    def remove_when_possible(self, name: str) -> None:
        """Delete what belongs to nobody any more; if it can't be now, the next start does it."""
        try:
            self.remove(name)
        except OSError as error:
            log.warning(f"{_trouble(name, error)}; left for the next start")

    def sync_folder(self) -> None:
        """Make created and removed names durable. Blocks."""
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class FileContent:
    """A content in a file of its own."""

    __slots__ = ("_files", "flushed", "name", "size")

    def __init__(
        self,
        files: ContentFiles,
        name: str,
        size: int,
        flushed: Callable[[], Deferred[None]] = lambda: succeed(None),
    ) -> None:
        self._files = files
        self.name = name
        self.size = size
        self.flushed = flushed

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        """A piece, read in a thread."""
        return self._files.in_thread(_read_piece, self._files, self.name, offset, length)


def _read_piece(files: ContentFiles, name: str, offset: int, length: int) -> bytes:
    try:
        descriptor = os.open(files.path(name), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            return os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _trouble(name, error) from None


def _trouble(name: str, error: OSError) -> StoreError:
    kind = StoreFull if error.errno in _FULL_ERRORS else StoreError
    return kind(f"content file {name!r}: {error.strerror}")


class StoredContent:
    """A content in the database, fetched whole when it's first read."""

    __slots__ = ("_fetch", "size")

    def __init__(self, size: int, fetch: Callable[[], Deferred[bytes]]) -> None:
        self.size = size
        self._fetch = fetch

    async def read(self, offset: int, length: int) -> bytes:
        """A piece. Nothing is kept between reads: memory is the caller's to bound."""
        octets = await self._fetch()
        if offset == 0 and length >= len(octets):
            return octets
        return octets[offset : offset + length]


@implementer(IIncomingContent)
class IncomingContent:
    """A content that grows: in memory up to a threshold, then in a file.

    ``check_room`` raises StoreFull when there's none for more in files.
    """

    def __init__(
        self, files: ContentFiles, name: str, threshold: int, check_room: Callable[[], None]
    ) -> None:
        self.size = 0
        self._files = files
        self._name = name
        self._threshold = threshold
        self._check_room = check_room
        self._pieces: list[bytes] = []
        self._waiting = 0
        self._descriptor = -1
        self._is_begun = False
        self._writing = False
        self._failure: StoreError | None = None
        self._drained: list[Deferred[None]] = []
        self._discarded = False

    @property
    def in_file(self) -> bool:
        """Whether it has outgrown memory."""
        return self.size > self._threshold

    def write(self, octets: bytes) -> Deferred[None] | None:
        """Add octets; a Deferred if the disk doesn't keep up. Raises StoreError."""
        if self._failure is not None:
            raise self._failure
        self._pieces.append(octets)
        self.size += len(octets)
        self._waiting += len(octets)
        if not self.in_file:
            return None
        self._check_room()
        self._is_begun = True
        self._begin_writing()
        if self._waiting <= _UNWRITTEN_LIMIT:
            return None
        waiter: Deferred[None] = Deferred()
        self._drained.append(waiter)
        return waiter

    def finish(self) -> Content:
        """What has come in. A file is flushed by the store, before the commit."""
        if not self.in_file:
            return MemoryContent(b"".join(self._pieces))
        return FileContent(self._files, self._name, self.size, self.flushed)

    def flushed(self) -> Deferred[None]:
        """Fires when the file is on stable storage."""
        if not self.in_file:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        if self._failure is None:
            self._drained.append(waiter)
            self._begin_writing()
        else:
            waiter.errback(Failure(self._failure))
        return waiter.addCallback(lambda _: self._files.in_thread(self._sync))

    def discard(self) -> None:
        """Forget it; the file goes, whether it is being written, or done and synced."""
        self._discarded = True
        self._pieces.clear()
        if self._is_begun and not self._writing:
            self._files.in_thread(self._remove)

    def _begin_writing(self) -> None:
        if self._writing or self._discarded:
            return
        self._writing = True
        pieces, self._pieces = self._pieces, []
        written = self._files.in_thread(self._write_out, pieces)
        written.addCallbacks(lambda _: self._written(pieces), self._failed)

    def _write_out(self, pieces: list[bytes]) -> None:
        """In a thread: append to the file."""
        if self._descriptor < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(self._files.path(self._name), flags, 0o600)
        octets = memoryview(b"".join(pieces))
        while octets:
            octets = octets[os.write(self._descriptor, octets) :]

    def _sync(self) -> None:
        """In a thread: what is written is on stable storage, and so is the file's name."""
        try:
            os.fsync(self._descriptor)
            self._files.sync_folder()
        except OSError as error:
            raise _trouble(self._name, error) from None
        finally:
            self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _remove(self) -> None:
        """In a thread."""
        self._close()
        self._files.remove_when_possible(self._name)

    def _written(self, pieces: list[bytes]) -> None:
        self._writing = False
        self._waiting -= sum(map(len, pieces))
        if self._discarded:
            self.discard()
        elif self._pieces:
            self._begin_writing()
        else:
            waiting, self._drained = self._drained, []
            for waiter in waiting:
                waiter.callback(None)

    def _failed(self, failure: Failure) -> None:
        self._writing = False
        error = failure.value
        if isinstance(error, OSError):
            error = _trouble(self._name, error)
        self._failure = error if isinstance(error, StoreError) else StoreError(str(error))
        waiting, self._drained = self._drained, []
        for waiter in waiting:
            waiter.errback(Failure(self._failure))
        self._files.in_thread(self._remove)
