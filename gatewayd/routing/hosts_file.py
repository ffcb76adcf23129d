"""/etc/hosts and /etc/resolv.conf: what the machine itself says of names."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from pathlib import Path

__all__ = ["HostsFile", "system_name_servers"]


def system_name_servers(path: str = "/etc/resolv.conf") -> tuple[tuple[str, int], ...]:
    """The name servers of resolv.conf(5); none if there is no such file."""
    try:
        lines = Path(path).read_text("utf-8", "replace").split("\n")
    except OSError:
        return ()
    servers = []
    for line in lines:
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver" and _is_address(words[1]):
            servers.append((words[1], 53))
    return tuple(servers)


class HostsFile:
    """hosts(5), read again when it has changed."""

    def __init__(self, path: str = "/etc/hosts") -> None:
        self._path = Path(path)
        self._stamp: tuple[int, int] | None = None
        self._addresses: dict[str, list[str]] = {}

    def addresses(self, host: str, families: Iterable[str]) -> tuple[str, ...]:
        """The host's addresses of these families ("ipv4", "ipv6")."""
        self._refresh()
        wanted = set(families)
        found = self._addresses.get(host.lower().rstrip("."), [])
        return tuple(a for a in found if ("ipv6" if ":" in a else "ipv4") in wanted)

    def _refresh(self) -> None:
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            if stamp == self._stamp:
                return
            text = self._path.read_text("utf-8", "replace")
        except OSError:
            self._addresses, self._stamp = {}, None
            return
        self._stamp = stamp
        self._addresses = {}
        for line in text.split("\n"):
            words = line.partition("#")[0].split()
            if words and _is_address(words[0]):
                for name in words[1:]:
                    self._addresses.setdefault(name.lower(), []).append(words[0])


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
