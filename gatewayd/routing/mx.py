"""Which hosts are tried for a domain, in which order (RFC 5321 §5.1, postfix.md §7).

Pure: the answers of the DNS come in, the order or the refusal comes out.

Loops: when one of our own addresses is among the MX hosts, it and all hosts that are not more
preferred are no good; with none left, the mail has come back to us for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from gatewayd.tables.address_keys import fold

if TYPE_CHECKING:
    from random import Random

__all__ = ["Candidate", "Loop", "MxRecord", "OwnIdentity", "arrange", "is_null_mx", "without_loops"]


@dataclass(frozen=True, slots=True)
class MxRecord:
    """An MX record: preference (lower is better) and host name."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A host's address that might be tried."""

    preference: int
    host: str
    address: str

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.address


@dataclass(frozen=True, slots=True)
class OwnIdentity:
    """What is ourselves: addresses in standard text, and our names in lower case."""

    addresses: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()

    def has_address(self, address: str) -> bool:
        return str(_unmapped(address)) in self.addresses

    def is_mx(self, candidate: Candidate) -> bool:
        """Whether an MX host is this gateway.

        Also by its name, since behind a NAT our public address may be known to nobody here; and
        by an address that means "this machine" wherever it's used, to which no stranger's DNS
        has any reason to send us.
        """
        if fold(candidate.host) in self.names or self.has_address(candidate.address):
            return True
        address = _unmapped(candidate.address)
        return address.is_loopback or address.is_unspecified


class Loop(Exception):
    """Nothing more preferred than ourselves is left.

    ``unreachable``: there was something, but it has no address.
    """

    def __init__(self, *, unreachable: bool) -> None:
        super().__init__()
        self.unreachable = unreachable


def is_null_mx(records: Sequence[MxRecord]) -> bool:
    """Whether the only MX record names the root (RFC 7505 §3)."""
    return len(records) == 1 and records[0].host in ("", ".")


def without_loops(
    candidates: Sequence[Candidate], records: Iterable[MxRecord], own: OwnIdentity
) -> tuple[Candidate, ...]:
    """The candidates more preferred than the best that is ourselves. Raises Loop."""
    records = tuple(records)
    ours = [each.preference for each in candidates if own.is_mx(each)]
    ours += [record.preference for record in records if fold(record.host) in own.names]
    if not ours:
        return tuple(candidates)
    best = min(ours)
    kept = tuple(each for each in candidates if each.preference < best)
    if kept:
        return kept
    raise Loop(unreachable=any(record.preference < best for record in records))


def arrange(
    candidates: Sequence[Candidate],
    *,
    random: Random | None,
    limit: int,
    preferred: str = "any",
    balance: bool = True,
) -> tuple[Candidate, ...]:
    """By preference, shuffled within one (with ``random``), one address family before the other
    if ``preferred`` says so, each address once, and at most ``limit`` of them (0: all).

    ``balance``: where the limit cuts, both families keep a place.
    """
    order = list(candidates)
    if random is not None:
        random.shuffle(order)
    if preferred in ("ipv4", "ipv6"):
        order.sort(key=lambda each: each.is_ipv6 is (preferred == "ipv4"))
    order.sort(key=lambda each: each.preference)
    by_address: dict[str, Candidate] = {}
    for each in order:
        by_address.setdefault(each.address, each)
    order = list(by_address.values())
    if not limit or len(order) <= limit:
        return tuple(order)
    return tuple(_balanced(order, limit) if balance and limit > 1 else order[:limit])


def _balanced(order: Sequence[Candidate], limit: int) -> list[Candidate]:
    """The first of each address family, so that a family without a way out can't take it all."""
    six = sum(each.is_ipv6 for each in order)
    four = len(order) - six
    room = {True: max(limit // 2, limit - four), False: max(limit - limit // 2, limit - six)}
    kept: list[Candidate] = []
    for each in order:
        if room[each.is_ipv6] > 0 and len(kept) < limit:
            room[each.is_ipv6] -= 1
            kept.append(each)
    return kept


def _unmapped(address: str) -> IPv4Address | IPv6Address:
    """An address, an IPv4 one not hidden in IPv6 (RFC 4291 §2.5.5.2)."""
    parsed = ip_address(address.partition("%")[0])
    return (parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None) or parsed
