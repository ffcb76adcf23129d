"""hash, btree, lmdb: an indexed file, ``SOURCE.lmdb``, that postmap builds from SOURCE.

The file is replaced as a whole (renamed into place), never changed in place while it may be
read. A look-up sees a replacement without any reload: it compares the file's status, which
costs less than the look-up's other half.
"""

from __future__ import annotations

import os

from zope.interface import implementer

from gatewayd.errors import TableError
from gatewayd.interfaces import ILookupTable
from gatewayd.maillog import MailLog
from gatewayd.tables.address_keys import fold
from gatewayd.tables.lmdb_file import DamagedFile, SharedFile

__all__ = ["IndexedTable", "index_path"]

log = MailLog("tables")


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
        self._source = source
        self._file: SharedFile | None = None

    async def lookup(self, key: str) -> str | None:
        """The value. Raises TableError if the file is missing or damaged."""
        octets = fold(key).encode("utf-8", "surrogateescape")
        try:
            status = os.stat(self.path)
            if self._file is None or not self._file.is_current(status):
                self._reopen(status)
            assert self._file is not None
            value = self._file.get(octets)
        except OSError as error:
            self.close()
            text = f"{self.name}: open {self.path}: {error.strerror}"
            if not os.path.exists(self.path):
                text += f" (is there a source file to run postmap {self.name} on?)"
            raise TableError(text) from None
        except DamagedFile as error:
            self.close()
            text = f"{self.name}: {self.path}: {error} (build it anew: postmap {self.name})"
            raise TableError(text) from None
        return value.decode("utf-8", "replace") if value is not None else None

    def _reopen(self, status: os.stat_result) -> None:
        self.close()
        self._file = SharedFile.acquire(self.path)
        try:
            is_older = os.stat(self._source).st_mtime > status.st_mtime
        except OSError:
            return
        if is_older:
            log.warning(f"database {self.path} is older than source file {self._source}")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.release()
            self._file = None
