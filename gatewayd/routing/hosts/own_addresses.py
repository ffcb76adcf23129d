"""Which IP addresses are this machine's, so that mail isn't sent in a circle.

Linux lists all of them, also a name's second and third, under /proc: local IPv4 addresses in
the routing trie, IPv6 ones by interface.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from pathlib import Path

__all__ = ["machine_addresses", "own_addresses"]

_LEAF = re.compile(r"\|-- ([0-9.]+)\s+/32 host LOCAL")


def own_addresses(
    inet_interfaces: Iterable[str], proxy_interfaces: Iterable[str] = ()
) -> frozenset[str]:
    """The addresses that inet_interfaces and proxy_interfaces stand for, in standard text.

    ``all`` is every address of the machine. Names are looked up where the system does (at start
    and reload only); a name that gives nothing adds nothing.
    """
    found: set[str] = set()
    for word in (*inet_interfaces, *proxy_interfaces):
        if word == "all":
            found |= machine_addresses()
        elif word == "loopback-only":
            found |= {"127.0.0.1", "::1"}
        else:
            found.update(_addresses(word.strip("[]")))
    return frozenset(found)


def machine_addresses(proc: Path = Path("/proc/net")) -> set[str]:
    """All addresses of the interfaces that are up."""
    found = set(_LEAF.findall(_text(proc / "fib_trie")))
    for line in _text(proc / "if_inet6").split("\n"):
        digits = line[:32]
        if re.fullmatch("[0-9a-f]{32}", digits):
            found.add(str(ipaddress.IPv6Address(int(digits, 16))))
    return found or set(_addresses(socket.gethostname())) | {"127.0.0.1", "::1"}


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _addresses(word: str) -> list[str]:
    try:
        return [str(ipaddress.ip_address(word))]
    except ValueError:
        pass
    try:
        infos = socket.getaddrinfo(word, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [str(ipaddress.ip_address(str(info[4][0]).partition("%")[0])) for info in infos]
