"""The default of mynetworks (postfix.md §6): from our interfaces, by mynetworks_style."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

__all__ = ["networks_by_style"]

_CLASSES = ((0x80, 8), (0xC0, 16), (0x100, 24))


def networks_by_style(
    style: str, interfaces: Iterable[ipaddress.IPv4Interface | ipaddress.IPv6Interface]
) -> str:
    """A mynetworks value: hosts, subnets, or classes A, B and C. Loopback counts as a net."""
    found: dict[str, None] = {}
    for interface in interfaces:
        network = _network(style, interface)
        if interface.version == 6:
            found[f"[{network.network_address}]/{network.prefixlen}"] = None
        else:
            found[str(network)] = None
    return " ".join(found)


def _network(
    style: str, interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface
) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    if interface.is_loopback and interface.version == 4:
        return ipaddress.IPv4Network("127.0.0.0/8")
    if style == "subnet":
        return interface.network
    if style == "class" and isinstance(interface, ipaddress.IPv4Interface):
        first = interface.packed[0]
        length = next(length for below, length in _CLASSES if first < below)
        return ipaddress.IPv4Network((int(interface.ip), length), strict=False)
    return ipaddress.ip_network(interface.ip)
