"""hash, btree, lmdb: an indexed file, ``SOURCE.lmdb``, that postmap builds from SOURCE.

The file is replaced as a whole (renamed into place), never changed in place while it may be
read. A look-up sees a replacement without any reload: it compares the file's status. Answers are
remembered for a moment, since a burst of mail asks for the same few keys again and again; the
mapping itself is never touched without a look at the file's status.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from zope.interface import implementer

from gatewayd.errors import TableError
from gatewayd.interfaces import ILookupTable
from gatewayd.maillog import MailLog
from gatewayd.tables.address_keys import fold
from gatewayd.tables.lmdb_file import DamagedFile, SharedFile

__all__ = ["IndexedTable", "index_path"]

_MEMORY_SECONDS = 0.1
_MEMORY_KEYS = 1000
"""How long answers are remembered, and how many."""

log = MailLog("tables")


def index_path(source: str) -> str:
    """The indexed file of a table's source."""
    return f"{source}.lmdb"


@implementer(ILookupTable)
class IndexedTable:
    """An indexed file, opened at the first look-up. ``clock`` gives any clock's seconds."""

    fixed_string = True

    def __init__(self, name: str, source: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.path = index_path(source)
        self._source = source
        self._clock = clock
        self._file: SharedFile | None = None
        self._answers: dict[str, str | None] = {}
        self._answered = 0.0

    async def lookup(self, key: str) -> str | None:
        """The value, at most a tenth of a second old.

        Raises TableError if the file is missing or damaged.
        """
        answers, now = self._answers, self._clock()
        if not 0 <= now - self._answered < _MEMORY_SECONDS or len(answers) >= _MEMORY_KEYS:
            answers.clear()
            self._answered = now
        elif key in answers:
            return answers[key]
        value = answers[key] = self._read(key)
        return value

    def _read(self, key: str) -> str | None:
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
