"""A next hop as transport maps and relayhost write it (postfix.md §1).

host   host:port        by MX, or the host's own address if it has none
[host]   [host]:port    that host itself
[192.0.2.1]   [ipv6:2001:db8::1]:port
unix:path   inet:host:port      LMTP
several of them, parted by commas or blanks: tried in order
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

__all__ = ["BadNexthop", "Hop", "parse_lmtp_nexthop", "parse_nexthop"]

_FORM = re.compile(r"(?:\[([^\[\]\s]+)\]|([^\[\]\s:]+))(?::([0-9A-Za-z_-]+))?\Z")
_HOST = re.compile(r"[^\x00-\x20\x7f:/@<>()]+\Z")


class BadNexthop(Exception):
    """Text that names no next hop; says what's wrong."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One destination of a list. ``address``: a numeric address, else ``host`` is looked up.

    ``port`` is a number or a service's name, "" for the default. ``path``: a Unix socket.
    """

    host: str = ""
    port: str = ""
    by_mx: bool = False
    address: str = ""
    path: str = ""


def parse_nexthop(text: str) -> tuple[Hop, ...]:
    """The destinations of an SMTP next hop. Raises BadNexthop."""
    words = text.replace(",", " ").split()
    if not words:
        raise BadNexthop("the next hop is empty")
    return tuple(_hop(word, by_mx=True) for word in words)


def parse_lmtp_nexthop(text: str) -> tuple[Hop, ...]:
    """The destinations of an LMTP next hop: MX records don't count. Raises BadNexthop."""
    words = text.replace(",", " ").split()
    if not words:
        raise BadNexthop("the next hop is empty")
    hops = []
    for word in words:
        if word.startswith("unix:"):
            if len(word) == len("unix:"):
                raise BadNexthop(f'"{word}": no path')
            hops.append(Hop(path=word[len("unix:") :]))
        else:
            hops.append(_hop(word.removeprefix("inet:"), by_mx=False))
    return tuple(hops)


def _hop(word: str, *, by_mx: bool) -> Hop:
    match = _FORM.match(word)
    if match is None:
        raise BadNexthop(f'"{word}": expected host, [host], host:port or [host]:port')
    inside, plain, port = match.groups()
    if inside is None:
        if not _HOST.match(plain):
            raise BadNexthop(f'"{plain}" is no host name')
        # An address that somebody forgot to put in brackets can mean nothing else.
        address = _numeric(plain)
        return Hop(plain, port or "", by_mx and not address, address)
    address = _numeric(inside)
    if not address and not _HOST.match(inside):
        raise BadNexthop(f'"{inside}" is neither a host name nor an address')
    return Hop(inside, port or "", False, address)


def _numeric(text: str) -> str:
    bare = text[5:] if text[:5].lower() == "ipv6:" else text
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return ""
