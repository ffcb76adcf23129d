"""What the configuration takes from the machine: its name and its interfaces' networks.

The only file here that looks outside; everything else is given what this finds.
"""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

__all__ = ["host_name", "interface_networks"]

_SIOCGIFADDR, _SIOCGIFNETMASK = 0x8915, 0x891B
Network = ipaddress.IPv4Interface | ipaddress.IPv6Interface


def host_name() -> str:
    """The machine's name, with a domain: without one, ``localdomain`` as Postfix has it."""
    name = socket.gethostname().strip(".") or "localhost"
    return name if "." in name else f"{name}.localdomain"


def interface_networks() -> list[Network]:
    """The addresses of the interfaces that are up, with their networks."""
    return [*_ipv4(), *_ipv6()]


def _ipv4() -> Iterator[Network]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                address = fcntl.ioctl(asking, _SIOCGIFADDR, request)[20:24]
                mask = fcntl.ioctl(asking, _SIOCGIFNETMASK, request)[20:24]
            except OSError:
                continue
            yield ipaddress.IPv4Interface((int.from_bytes(address), _length(mask)))


def _length(mask: bytes) -> int:
    return int.from_bytes(mask).bit_count()


def _ipv6() -> Iterator[Network]:
    """From /proc: address, index, prefix length, scope, flags, name."""
    try:
        lines = Path("/proc/net/if_inet6").read_text().split("\n")
    except OSError:
        return
    for line in lines:
        columns = line.split()
        if len(columns) == 6:
            address = int(columns[0], 16)
            yield ipaddress.IPv6Interface((address, int(columns[2], 16)))
