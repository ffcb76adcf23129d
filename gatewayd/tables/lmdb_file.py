"""An indexed file as LMDB holds it: opened safely, shared within the process, sealed when built.

LMDB maps the file into memory and believes what it finds there: a file cut short, or damaged in
the middle, would end the process instead of raising an error. So a file is looked over before
it's mapped, and a seal at its end, which LMDB doesn't see, tells whether it's as postmap wrote it:

    LMDB's pages … ‖ "gatewayd-table-1 " CRC-32 of the pages in 8 hex digits "\\n"

A file without a seal is someone else's (Postfix's postmap makes such files, too): its length is
checked, and its keys may end in a zero octet.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from typing import Any, ClassVar

import lmdb

__all__ = ["DamagedFile", "SharedFile", "seal"]

_MAGIC = b"gatewayd-table-1 "
_SEAL = re.compile(rb"gatewayd-table-1 ([0-9a-f]{8})\n\Z")
_SEAL_SIZE = len(_MAGIC) + 9
_PIECE = 1 << 20
_LONGEST_KEY = 511
_Identity = tuple[int, int]


class DamagedFile(Exception):
    """Not an indexed file, or one that isn't whole."""


def seal(path: str) -> None:
    """Write the seal at the end of a finished file, and bring all of it to the disk."""
    with open(path, "r+b") as file:
        checksum = _checksum(file.fileno(), os.fstat(file.fileno()).st_size)
        file.seek(0, os.SEEK_END)
        file.write(_MAGIC + b"%08x\n" % checksum)
        file.flush()
        os.fsync(file.fileno())


def _checksum(descriptor: int, size: int) -> int:
    checksum, at = 0, 0
    while at < size:
        piece = os.pread(descriptor, min(_PIECE, size - at), at)
        if not piece:
            break
        checksum = zlib.crc32(piece, checksum)
        at += len(piece)
    return checksum


class SharedFile:
    """A file opened for reading. LMDB allows a process one mapping of a file: users share it.

    ``acquire()`` and ``release()`` it; get() and pairs() are good as long as the file's status
    is what it was, so ask is_current() first.
    """

    _open: ClassVar[dict[_Identity, SharedFile]] = {}

    def __init__(self, identity: _Identity) -> None:
        self._identity = identity
        self._users = 0
        self._environment: Any = None
        self._transaction: Any = None
        self._stamp: tuple[int, int] = (-1, -1)
        self._is_ours = False

    @classmethod
    def acquire(cls, path: str) -> SharedFile:
        """The file that is there now. Raises OSError, DamagedFile."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            identity = (status.st_dev, status.st_ino)
            shared = cls._open.get(identity)
            if shared is None:
                shared = cls(identity)
                shared._map(descriptor, status)
                cls._open[identity] = shared
            elif not shared.is_current(status):
                shared._map(descriptor, status)
            shared._users += 1
            return shared
        finally:
            os.close(descriptor)

    def release(self) -> None:
        """One user less; the last one closes it."""
        self._users -= 1
        if not self._users:
            self._unmap()
            self._open.pop(self._identity, None)

    def is_current(self, status: os.stat_result) -> bool:
        """Whether the file of this status is this one, unchanged."""
        return (
            self._stamp == (status.st_mtime_ns, status.st_size)
            and self._identity[1] == status.st_ino
            and self._identity[0] == status.st_dev
        )

    def get(self, key: bytes) -> bytes | None:
        """The value of a key. Raises DamagedFile."""
        if not key or len(key) >= _LONGEST_KEY:
            return None
        try:
            value: bytes | None = self._transaction.get(key)
            if value is None and not self._is_ours:
                value = self._transaction.get(key + b"\0")
        except lmdb.Error as error:
            raise DamagedFile(str(error)) from None
        return value if value is None or self._is_ours else value.removesuffix(b"\0")

    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        """All keys and values, by key. Raises DamagedFile."""
        try:
            for key, value in self._transaction.cursor():
                if self._is_ours:
                    yield key, value
                else:
                    yield key.removesuffix(b"\0"), value.removesuffix(b"\0")
        except lmdb.Error as error:
            raise DamagedFile(str(error)) from None

    def _map(self, descriptor: int, status: os.stat_result) -> None:
        self._unmap()
        self._is_ours = _is_sealed(descriptor, status.st_size)
        try:
            # By descriptor: this very file, even if the name means another one by now.
            self._environment = lmdb.open(
                f"/proc/self/fd/{descriptor}",
                subdir=False,
                readonly=True,
                lock=False,
                create=False,
                max_dbs=0,
            )
            pages = self._environment.info()["last_pgno"] + 1
            if pages * self._environment.stat()["psize"] > status.st_size:
                raise DamagedFile("the file is cut short")
            self._transaction = self._environment.begin()
        except lmdb.Error as error:
            self._unmap()
            raise DamagedFile(str(error).replace(f"/proc/self/fd/{descriptor}: ", "")) from None
        except DamagedFile:
            self._unmap()
            raise
        self._stamp = (status.st_mtime_ns, status.st_size)

    def _unmap(self) -> None:
        self._stamp = (-1, -1)
        if self._transaction is not None:
            self._transaction.abort()
            self._transaction = None
        if self._environment is not None:
            self._environment.close()
            self._environment = None


def _is_sealed(descriptor: int, size: int) -> bool:
    """Whether there's a seal. Raises DamagedFile if it doesn't fit."""
    end = max(0, size - _SEAL_SIZE)
    match = _SEAL.match(os.pread(descriptor, _SEAL_SIZE, end))
    if match is None:
        return False
    if _checksum(descriptor, end) != int(match[1], 16):
        raise DamagedFile("the file is damaged: its checksum is wrong")
    return True
