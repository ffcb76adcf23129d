"""Building and changing indexed files: what postmap does."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress

import lmdb

from gatewayd.errors import GatewayError
from gatewayd.tables.address_keys import fold
from gatewayd.tables.indexed import index_path
from gatewayd.tables.lmdb_file import DamagedFile, SharedFile, seal
from gatewayd.tables.source import Entry

__all__ = ["BuildError", "Builder", "Duplicate"]

_FIRST_SIZE = 1 << 20


class BuildError(GatewayError):
    """The indexed file could not be written or read."""


class Duplicate(GatewayError):
    """A key that is there already; the old value was kept."""


class Builder:
    """Writes the indexed file of one source. ``folded``: keys are kept in lower case.

    A new file gets the source's mode (or 0644, without ``keep_mode``) and, if root builds it,
    the source's owner (without ``keep_owner``: root).
    """

    def __init__(
        self, source: str, *, folded: bool = True, keep_mode: bool = True, keep_owner: bool = True
    ) -> None:
        self.source = source
        self.path = index_path(source)
        self._fold = fold if folded else str
        self._keep_mode = keep_mode
        self._keep_owner = keep_owner

    def build(self, entries: Iterable[Entry], *, replace: bool = False) -> list[Entry]:
        """Write a new file and put it in the old one's place; gives the duplicates.

        Of a key given twice the first value counts, or with ``replace`` the last.
        Raises BuildError.
        """
        pairs: dict[bytes, bytes] = {}
        duplicates: list[Entry] = []
        for entry in entries:
            key = self._key(entry.key)
            if key in pairs and not replace:
                duplicates.append(entry)
                continue
            pairs[key] = entry.value.encode("utf-8", "surrogateescape")
        self._replace(pairs)
        return duplicates

    def add(self, entries: Iterable[Entry], *, replace: bool = False) -> list[Entry]:
        """Add to what is there; gives the entries whose key was there already."""
        pairs = dict(self._pairs()) if os.path.exists(self.path) else {}
        duplicates: list[Entry] = []
        for entry in entries:
            key = self._key(entry.key)
            if key in pairs and not replace:
                duplicates.append(entry)
                continue
            pairs[key] = entry.value.encode("utf-8", "surrogateescape")
        self._replace(pairs)
        return duplicates

    def delete(self, keys: Iterable[str]) -> list[str]:
        """Remove keys; gives those that were there."""
        pairs = dict(self._pairs())
        gone = [key for key in keys if pairs.pop(self._key(key), None) is not None]
        if gone:
            self._replace(pairs)
        return gone

    def get(self, key: str) -> str | None:
        """One key's value, the key folded or not as given. Raises BuildError."""
        wanted = self._key(key)
        return next((v.decode("utf-8", "replace") for k, v in self._pairs() if k == wanted), None)

    def entries(self) -> Iterator[tuple[str, str]]:
        """All keys and values, in the file's order."""
        for key, value in self._pairs():
            yield key.decode("utf-8", "replace"), value.decode("utf-8", "replace")

    def _key(self, key: str) -> bytes:
        octets = self._fold(key).encode("utf-8", "surrogateescape")
        if not octets or len(octets) > 511:
            raise BuildError(f'{self.source}: key "{key[:60]}…" is empty or over 511 octets')
        return octets

    def _pairs(self) -> Iterator[tuple[bytes, bytes]]:
        try:
            file = SharedFile.acquire(self.path)
        except OSError as error:
            raise BuildError(f"open {self.path}: {error.strerror}") from None
        except DamagedFile as error:
            raise BuildError(f"{self.path}: {error}") from None
        try:
            yield from file.pairs()
        finally:
            file.release()

    def _replace(self, pairs: dict[bytes, bytes]) -> None:
        """A new file beside the old one, synced, then renamed over it; owner and mode kept."""
        folder = os.path.dirname(self.path)
        try:
            descriptor, name = tempfile.mkstemp(dir=folder, prefix=".postmap-")
            os.close(descriptor)
        except OSError as error:
            raise BuildError(f"{folder}: {error.strerror}") from None
        try:
            _write(name, pairs)
            self._adopt_owner(name)
            os.rename(name, self.path)
            _sync_folder(folder)
        except (OSError, lmdb.Error) as error:
            raise BuildError(f"{self.path}: {error}") from None
        finally:
            for leftover in (name, f"{name}-lock"):
                with suppress(FileNotFoundError):
                    os.unlink(leftover)

    def _adopt_owner(self, name: str) -> None:
        """Mode and owner as the file had before, or else as its source has them."""
        for model, is_new in ((self.path, False), (self.source, True)):
            with suppress(FileNotFoundError):
                status = os.stat(model)
                keep_mode = self._keep_mode or not is_new
                os.chmod(name, status.st_mode & 0o777 if keep_mode else 0o644)
                if os.geteuid() == 0 and (self._keep_owner or not is_new):
                    os.chown(name, status.st_uid, status.st_gid)
                return


def _write(name: str, pairs: dict[bytes, bytes]) -> None:
    size = _FIRST_SIZE
    while True:
        try:
            os.truncate(name, 0)
            with (
                lmdb.open(name, subdir=False, map_size=size, lock=False, sync=False) as environment,
                environment.begin(write=True) as transaction,
            ):
                for key in sorted(pairs):
                    transaction.put(key, pairs[key])
            seal(name)
            return
        except lmdb.MapFullError:
            size *= 4


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
