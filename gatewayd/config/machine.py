"""What the configuration takes from the machine: its name and its interfaces' networks.

The only file here that looks outside; everything else is given what this finds.
"""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterator

__all__ = ["Interface", "host_name", "interface_networks"]

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface

# rtnetlink(7): a request for all addresses, answered by messages of attributes.
_RTM_GETADDR, _RTM_NEWADDR, _NLMSG_DONE, _NLMSG_ERROR = 22, 20, 3, 2
_REQUEST_DUMP = 0x301
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_HEADER, _ADDRESS, _ATTRIBUTE = (
    struct.Struct("=IHHII"),
    struct.Struct("=BBBBI"),
    struct.Struct("=HH"),
)
_SIOCGIFFLAGS, _IFF_UP = 0x8913, 1
_FAMILIES = {int(socket.AF_INET): 4, int(socket.AF_INET6): 16}


def host_name() -> str:
    """The machine's name as it's set, with or without a domain."""
    return socket.gethostname().strip(".") or "localhost"


def interface_networks() -> list[Interface]:
    """The addresses of the interfaces that are up, with their networks; IPv4 first."""
    found = [each for each, name in _addresses() if _is_up(name)]
    return sorted(found, key=lambda interface: interface.version)


def _addresses() -> Iterator[tuple[Interface, str]]:
    try:
        messages = list(_dump())
    except OSError:
        return
    for body in messages:
        if len(body) < _ADDRESS.size:
            continue
        family, length, _, _, index = _ADDRESS.unpack_from(body)
        attributes = dict(_attributes(body[_ADDRESS.size :]))
        packed = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS, b"")
        if len(packed) != _FAMILIES.get(family):
            continue
        try:
            name = socket.if_indextoname(index)
        except OSError:
            continue
        yield ipaddress.ip_interface((packed, length)), name


def _dump() -> Iterator[bytes]:
    """The bodies of the kernel's answers."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asking:
        asking.settimeout(5)
        size = _HEADER.size + _ADDRESS.size
        request = _HEADER.pack(size, _RTM_GETADDR, _REQUEST_DUMP, 1, 0) + bytes(_ADDRESS.size)
        asking.send(request)
        while True:
            octets = asking.recv(1 << 16)
            while len(octets) >= _HEADER.size:
                size, kind, _, _, _ = _HEADER.unpack_from(octets)
                if kind in (_NLMSG_DONE, _NLMSG_ERROR) or size < _HEADER.size:
                    return
                if kind == _RTM_NEWADDR:
                    yield octets[_HEADER.size : size]
                octets = octets[(size + 3) & ~3 :]


def _attributes(octets: bytes) -> Iterator[tuple[int, bytes]]:
    while len(octets) >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(octets)
        if size < _ATTRIBUTE.size:
            return
        yield kind, octets[_ATTRIBUTE.size : size]
        octets = octets[(size + 3) & ~3 :]


def _is_up(name: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        request = struct.pack("256s", name.encode()[:15])
        try:
            answer = fcntl.ioctl(asking, _SIOCGIFFLAGS, request)
        except OSError:
            return False
    flags: int = struct.unpack_from("=H", answer, 16)[0]
    return bool(flags & _IFF_UP)
