"""cidr: ``network/length result``, asked with IP addresses; other keys match nothing."""

from __future__ import annotations

import ipaddress
import re

from gatewayd.interfaces import ILookupTable
from gatewayd.tables.rules import Pattern, RuleError, open_rules

__all__ = ["cidr_pattern", "cidr_subject", "cidr_table", "parse_network"]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_FORM = re.compile(r"(\[?)([0-9A-Fa-f.:]+)(\]?)(?:/([0-9]{1,3}))?\Z")


def cidr_table(reference: str, path: str) -> ILookupTable:
    """Networks. Raises ConfigError with file and line."""
    return open_rules(reference, path, cidr_pattern, cidr_subject)


def parse_network(text: str) -> _Network:
    """``192.0.2.0/24``, ``2001:db8::/32``, ``[2001:db8::]/32``, or an address alone.

    Raises ValueError saying what's wrong.
    """
    match = _FORM.match(text)
    if match is None or bool(match[1]) is not bool(match[3]):
        raise ValueError(f'"{text}" is neither an address nor network/length')
    address = ipaddress.ip_address(match[2])
    length = int(match[4]) if match[4] else address.max_prefixlen
    if length > address.max_prefixlen:
        raise ValueError(f'"{text}": a length over {address.max_prefixlen}')
    network = ipaddress.ip_network((address, length), strict=False)
    if network.network_address != address:
        raise ValueError(f'"{text}": address bits beyond the length; {network} is meant, perhaps')
    return network


def cidr_pattern(text: str) -> tuple[Pattern, str]:
    """(pattern, result) of a rule. Raises RuleError."""
    first, *rest = text.split(None, 1) or [""]
    try:
        network = parse_network(first)
    except ValueError as error:
        raise RuleError(str(error)) from None

    def differs(address: _Address) -> bool:
        """Of the other IP version, an address is neither in the network nor out of it."""
        return address.version == network.version and address not in network

    return Pattern(network.__contains__, None, differs), "".join(rest).strip()


def cidr_subject(key: str) -> _Address | None:
    """What rules are asked about for a key; None for what is no address."""
    try:
        return ipaddress.ip_address(key)
    except ValueError:
        return None
