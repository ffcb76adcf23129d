"""The default of mynetworks: from our interfaces, by mynetworks_style."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

__all__ = ["listening", "networks_by_style"]

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface

_CLASSES = ((0x80, 8), (0xC0, 16), (0xE0, 24), (0x100, 32))


def listening(
    interfaces: Iterable[Interface], inet_interfaces: Iterable[str], inet_protocols: Iterable[str]
) -> list[Interface]:
    """Those of the machine's interfaces that main.cf has us listen on.

    A name in inet_interfaces adds nothing, but for localhost: who isn't listed must not count as
    one of us.
    """
    wanted = {word.strip("[]").lower() for word in inet_interfaces}
    protocols = set(inet_protocols)
    versions = {version for version in (4, 6) if {f"ipv{version}", "all"} & protocols}
    loopback = bool({"loopback-only", "localhost"} & wanted)
    return [
        each
        for each in interfaces
        if each.version in versions
        and ("all" in wanted or str(each.ip) in wanted or (loopback and each.is_loopback))
    ]


def networks_by_style(style: str, interfaces: Iterable[Interface]) -> str:
    """A mynetworks value: hosts, subnets, or the old classes A, B and C (subnets for IPv6)."""
    found: dict[str, None] = {}
    for interface in interfaces:
        network = _network(style, interface)
        if interface.version == 6:
            found[f"[{network.network_address}]/{network.prefixlen}"] = None
        else:
            found[str(network)] = None
    return " ".join(found)


def _network(style: str, interface: Interface) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    if style == "subnet" or (style == "class" and interface.version == 6):
        return interface.network
    if style == "class":
        first = interface.packed[0]
        length = next(length for below, length in _CLASSES if first < below)
        return ipaddress.ip_network((interface.packed, length), strict=False)
    return ipaddress.ip_network(interface.ip)
