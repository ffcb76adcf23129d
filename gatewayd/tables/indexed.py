"""hash, btree, lmdb: an indexed file, ``SOURCE.lmdb``, that postmap builds from SOURCE.

The file is replaced as a whole (renamed into place), never changed in place while it may be
read. A look-up sees a replacement without any reload: it compares the file's identity.
"""

from __future__ import annotations

import os
from typing import Any

import lmdb
from zope.interface import implementer

from gatewayd.errors import TableError
from gatewayd.interfaces import ILookupTable
from gatewayd.tables.address_keys import fold

__all__ = ["IndexedTable", "index_path"]

_Identity = tuple[int, int, int]


def index_path(source: str) -> str:
    """The indexed file of a table's source."""
    return f"{source}.lmdb"


@implementer(ILookupTable)
class IndexedTable:
    """An indexed file, opened at the first look-up."""

    fixed_string = True

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.path = index_path(source)
        self._environment: Any = None
        self._identity: _Identity | None = None

    async def lookup(self, key: str) -> str | None:
        """The value. Raises TableError if the file is missing or damaged."""
        octets = fold(key).encode("utf-8", "surrogateescape")
        if not octets or len(octets) > 511:
            return None
        try:
            value = self._current().get(octets)
        except lmdb.Error as error:
            self.close()
            raise TableError(f"{self.name}: {self.path}: {error}") from None
        return value.decode("utf-8", "replace") if value is not None else None

    def _current(self) -> Any:
        """A read transaction on the file as it is now."""
        try:
            status = os.stat(self.path)
        except OSError as error:
            self.close()
            reason = error.strerror
            raise TableError(f"{self.name}: {self.path}: {reason}; was postmap run?") from None
        identity = (status.st_dev, status.st_ino, status.st_mtime_ns)
        if identity != self._identity:
            self.close()
            self._environment = lmdb.open(
                self.path, subdir=False, readonly=True, lock=False, max_dbs=0, create=False
            )
            self._transaction = self._environment.begin(buffers=False)
            self._identity = identity
        return self._transaction

    def close(self) -> None:
        """Close the file."""
        self._identity = None
        if self._environment is not None:
            self._transaction.abort()
            self._environment.close()
            self._environment = None
