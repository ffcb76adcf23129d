"""/etc/hosts and /etc/resolv.conf: what the machine itself says of names.

Both are read again when they have changed, as on a machine whose line brings its own name
servers; whether they have is looked at when asked, at most once every few seconds.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from gatewayd.tables.address_keys import fold

__all__ = ["HostsFile", "NameServers", "parse_hosts", "parse_name_servers"]

_CHECK_SECONDS = 5.0
_LARGEST = 4 << 20
_MOST_SERVERS = 3


class _WatchedFile:
    """A file's text, until it changes. ``seconds`` is a clock that never goes back."""

    def __init__(self, path: str, seconds: Callable[[], float]) -> None:
        self._path = Path(path)
        self._seconds = seconds
        self._checked = float("-inf")
        self._stamp: tuple[int, int, int] | None = None

    def changed(self) -> str | None:
        """The new text if there is one, "" if the file is gone; None if nothing changed."""
        now = self._seconds()
        if now - self._checked < _CHECK_SECONDS:
            return None
        first = self._checked == float("-inf")
        self._checked = now
        try:
            status = self._path.stat()
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            if stamp == self._stamp:
                return None
            with self._path.open("rb") as file:
                text = file.read(_LARGEST).decode("utf-8", "replace")
        except OSError:
            gone = first or self._stamp is not None
            self._stamp = None
            return "" if gone else None
        self._stamp = stamp
        return text


class NameServers:
    """The name servers of resolv.conf(5): none if there is no such file."""

    def __init__(
        self, path: str = "/etc/resolv.conf", seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._file = _WatchedFile(path, seconds)
        self._servers: tuple[tuple[str, int], ...] = ()

    def __call__(self) -> tuple[tuple[str, int], ...]:
        """(address, port) of each, in order."""
        text = self._file.changed()
        if text is not None:
            self._servers = tuple((address, 53) for address in parse_name_servers(text))
        return self._servers


def parse_name_servers(text: str) -> tuple[str, ...]:
    """The addresses that resolv.conf(5) names, as many as the C library takes."""
    lines = [line.split() for line in text.split("\n")]
    named = [words[1] for words in lines if words[:1] == ["nameserver"] and words[1:]]
    return tuple(address for each in named if (address := _numeric(each)))[:_MOST_SERVERS]


class HostsFile:
    """hosts(5)."""

    def __init__(
        self, path: str = "/etc/hosts", seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._file = _WatchedFile(path, seconds)
        self._addresses: dict[str, list[str]] = {}
        self._names: dict[str, str] = {}

    def addresses(self, host: str, families: Iterable[str]) -> tuple[str, ...]:
        """The host's addresses of these families ("ipv4", "ipv6")."""
        self._refresh()
        wanted = set(families)
        found = self._addresses.get(fold(host.removesuffix(".")), [])
        return tuple(a for a in found if ("ipv6" if ":" in a else "ipv4") in wanted)

    def name(self, address: str) -> str:
        """The first name that the file gives an address, or ""."""
        self._refresh()
        return self._names.get(_numeric(address), "")

    def _refresh(self) -> None:
        text = self._file.changed()
        if text is None:
            return
        self._addresses, self._names = {}, {}
        for address, names in parse_hosts(text):
            for name in names:
                self._names.setdefault(address, name)
                known = self._addresses.setdefault(fold(name), [])
                if address not in known:
                    known.append(address)


def parse_hosts(text: str) -> Iterator[tuple[str, list[str]]]:
    """(address, names) of each line of hosts(5) that is one."""
    for line in text.split("\n"):
        words = line.partition("#")[0].split()
        address = _numeric(words[0]) if words else ""
        if address:
            yield address, words[1:]


def _numeric(text: str) -> str:
    """An IP address in its standard text, or ""."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""
