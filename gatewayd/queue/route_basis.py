"""What the routes in the queue follow from, and whether it has changed while we were down.

Routes are stored with each message, so that the queue can be asked for a transport's or a next
hop's mail. A digest of the configuration and of the tables by which they were looked up lies in
data_directory; a start that finds another one there has them looked up again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gatewayd.maillog import MailLog

if TYPE_CHECKING:
    from gatewayd.config.load import Configuration

__all__ = ["RouteBasis"]

log = MailLog("qmgr")

_TABLES = (
    "mydestination",
    "relay_domains",
    "sender_dependent_default_transport_maps",
    "sender_dependent_relayhost_maps",
    "transport_maps",
    "virtual_alias_domains",
    "virtual_mailbox_domains",
)


class RouteBasis:
    """A configuration as it is now, and whether the queue's routes are known to follow from it."""

    def __init__(self, configuration: Configuration) -> None:
        settings = configuration.settings
        self._path = Path(settings.text("data_directory"), "routes")
        digest = hashlib.sha256(repr(settings.text("myhostname")).encode())
        for name in ("main.cf", "master.cf"):
            with suppress(OSError):
                digest.update(Path(configuration.directory, name).read_bytes())
        for stamp in _stamps(configuration):
            digest.update(repr(stamp).encode())
        self._digest = digest.hexdigest().encode()

    @property
    def is_recorded(self) -> bool:
        """Whether record() was called for the same configuration and tables, the last time."""
        try:
            return self._path.read_bytes() == self._digest
        except OSError:
            return False

    def record(self) -> None:
        """All routes in the queue follow from this. If that can't be noted they're looked up again
        at the next start."""
        fresh = self._path.with_suffix(".new")
        try:
            fresh.write_bytes(self._digest)
            fresh.replace(self._path)
        except OSError as error:
            log.warning(f"{self._path}: {error.strerror}")


def _stamps(configuration: Configuration) -> Iterator[tuple[str, int, int]]:
    """(path, time, size) of each file with a table: its source, and what postmap made of it."""
    for name in _TABLES:
        for word in configuration.settings.words(name):
            path = word[word.find("/") :]
            for each in (path, f"{path}.lmdb") if path.startswith("/") else ():
                with suppress(OSError):
                    status = os.stat(each)
                    yield each, status.st_mtime_ns, status.st_size
