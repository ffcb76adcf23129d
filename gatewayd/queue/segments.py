"""Files that hold the contents of many messages, one after another; see segment_use.py.

    content/1f3-1:  content A ‖ content B ‖ content C ‖ …      up to 8 MB, then the next file

A message's row holds the place, ``1f3-1@0``: file and offset.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from gatewayd.errors import StoreError, StoreFull

__all__ = ["SEGMENT_SIZE", "Place", "Segments", "file_of"]

SEGMENT_SIZE = 8 << 20
_PLACE = re.compile(r"([0-9a-f]{1,16}-[0-9a-f]{1,16})@([0-9]{1,12})\Z")
_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a content begins. ``str()`` is what a row holds."""

    segment: str
    offset: int

    def __str__(self) -> str:
        return f"{self.segment}@{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Place | None:
        """The place that a row tells, or None if the content lies elsewhere."""
        found = _PLACE.match(text)
        return cls(found[1], int(found[2])) if found else None


def file_of(text: object) -> str:
    """The name of the file that a row means, be it a segment's or one of its own."""
    return str(text).partition("@")[0]


class Segments:
    """The files of one queue. All of it blocks, and is called in the store's thread.

    ``name`` tells the files of this process from those of all before, in hex digits.
    """

    def __init__(self, folder: str, name: str, limit: int = SEGMENT_SIZE) -> None:
        self._folder = folder
        self._name = name
        self._limit = limit
        self._number = 0
        self._descriptor = -1
        self._size = 0
        self.current = ""
        """The file that is written to."""

    def append(self, contents: Sequence[bytes]) -> list[Place]:
        """Write contents; they are on stable storage when this returns.

        Raises StoreError or StoreFull: then none of them counts, and another file is begun next.
        """
        try:
            if self._descriptor < 0 or self._size >= self._limit:
                self._begin()
            offset, places = self._size, []
            for octets in contents:
                places.append(Place(self.current, offset))
                offset += len(octets)
            rest = memoryview(contents[0] if len(contents) == 1 else b"".join(contents))
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            os.fdatasync(self._descriptor)
        except OSError as error:
            self._cut_off()
            raise self._trouble(self.current, error) from None
        self._size = offset
        return places

    def read(self, place: Place, size: int) -> bytes:
        """A content, whole. Raises StoreError if it isn't there."""
        try:
            descriptor = os.open(self._path(place.segment), os.O_RDONLY | os.O_CLOEXEC)
            try:
                octets = os.pread(descriptor, size, place.offset)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._trouble(place.segment, error) from None
        if len(octets) != size:
            raise StoreError(f"content file {self._path(place.segment)} is cut short")
        return octets

    def length(self, segment: str) -> int:
        """A file's octets. Raises StoreError if there's no such file."""
        try:
            return os.stat(self._path(segment)).st_size
        except OSError as error:
            raise self._trouble(segment, error) from None

    def remove(self, segment: str) -> None:
        """Delete a file; if it can't be now, the next start does it."""
        if segment:
            with suppress(OSError):
                os.unlink(self._path(segment))

    def close(self) -> None:
        """The next content begins another file."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _cut_off(self) -> None:
        """What was written in part isn't wanted, and its room may be."""
        if self._descriptor >= 0:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
        self.close()

    def _begin(self) -> None:
        self.close()
        self._number += 1
        self.current = f"{self._name}-{self._number:x}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._path(self.current), flags, 0o600)
        self._size = 0
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _path(self, segment: str) -> str:
        return os.path.join(self._folder, segment)

    def _trouble(self, segment: str, error: OSError) -> StoreError:
        kind = StoreFull if error.errno in _FULL_ERRORS else StoreError
        return kind(f"content file {self._path(segment)}: {error.strerror}")
