"""Which hosts are tried for a domain, in which order (RFC 5321 §5.1, postfix.md §7).

Pure: the answers of the DNS come in, the order or the refusal comes out.

Loops: when one of our own addresses is among the MX hosts, it and all hosts that are not more
preferred are no good; with none left, the mail has come back to us for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

__all__ = ["Candidate", "Loop", "MxRecord", "NullMx", "arrange", "is_null_mx", "without_loops"]


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


class NullMx(Exception):
    """The domain takes no mail (RFC 7505)."""


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
    candidates: Sequence[Candidate], records: Iterable[MxRecord], own: frozenset[str]
) -> tuple[Candidate, ...]:
    """The candidates more preferred than the best of our own addresses. Raises Loop."""
    ours = [each.preference for each in candidates if each.address in own]
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
    if ``preferred`` says so, and at most ``limit`` of them (0: all).

    ``balance``: where the limit cuts, both families keep a place.
    """
    order = list(candidates)
    if random is not None:
        random.shuffle(order)
    if preferred in ("ipv4", "ipv6"):
        order.sort(key=lambda each: each.is_ipv6 is (preferred == "ipv4"))
    order.sort(key=lambda each: each.preference)
    if not limit or len(order) <= limit:
        return tuple(order)
    kept = order[:limit]
    if balance and limit > 1 and len({each.is_ipv6 for each in kept}) == 1:
        other = next((each for each in order if each.is_ipv6 is not kept[0].is_ipv6), None)
        if other is not None:
            kept[-1] = other
    return tuple(kept)
