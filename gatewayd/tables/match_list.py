"""Lists of patterns (postfix.md §1, §2): names, ``.domain``, ``!not``, ``/file``, ``type:table``.

The first pattern that matches decides; ``!`` before it decides no.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gatewayd.errors import ConfigError, ConfigProblem
from gatewayd.interfaces import ILookupTable
from gatewayd.tables.address_keys import domain_keys, fold
from gatewayd.tables.cidr import parse_network
from gatewayd.tables.open import open_table

__all__ = ["MatchList", "NetworkList"]

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_REMEMBERED = 256
_FILE_DEPTH = 10


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A name (folded), a network or a table; ``positive`` False for a ``!`` pattern."""

    positive: bool
    text: str = ""
    network: _Network | None = None
    table: ILookupTable | None = None


def _patterns(words: Iterable[str], parameter: str, depth: int = 0) -> Iterable[tuple[bool, str]]:
    """(positive, word) of all words, files read in place."""
    for word in words:
        bare = word.lstrip("!")
        positive = (len(word) - len(bare)) % 2 == 0
        if not bare.startswith("/"):
            yield positive, bare
            continue
        if depth >= _FILE_DEPTH:
            raise _bad(parameter, f"{bare}: files that name files, too deep")
        try:
            text = Path(bare).read_text("utf-8", "replace")
        except OSError as error:
            raise _bad(parameter, f"{bare}: {error.strerror}") from None
        lines = [line.partition("#")[0] for line in text.split("\n")]
        inner = [each for line in lines for each in line.replace(",", " ").split()]
        for inner_positive, each in _patterns(inner, parameter, depth + 1):
            yield inner_positive is positive, each


def _bad(parameter: str, text: str) -> ConfigError:
    return ConfigError([ConfigProblem("main.cf", 0, f"{parameter}: {text}")])


def _is_table(word: str) -> bool:
    """Whether it is ``type:name``; an IPv6 address in a list has brackets."""
    return ":" in word and not word.startswith("[")


class MatchList:
    """Names or domains, in any case.

    With ``parents``, a domain stands for its subdomains too, and ``.domain`` for nothing;
    without, ``.domain`` stands for the subdomains only.
    """

    def __init__(self, patterns: Sequence[_Pattern], parents: bool) -> None:
        self._patterns = tuple(patterns)
        self._parents = parents
        # Without tables and negation, order doesn't matter: one set answers.
        simple = all(each.positive and each.table is None for each in patterns)
        self._names = frozenset(each.text for each in patterns) if simple else None

    @classmethod
    def open(cls, words: Iterable[str], parameter: str, *, parents: bool = False) -> MatchList:
        """The list that a parameter gives. Raises ConfigError naming the parameter."""
        patterns = []
        for positive, word in _patterns(words, parameter):
            if _is_table(word):
                patterns.append(_Pattern(positive, table=open_table(word, parameter)))
            else:
                patterns.append(_Pattern(positive, fold(word)))
        return cls(patterns, parents)

    def __bool__(self) -> bool:
        return bool(self._patterns)

    async def matches(self, name: str) -> bool:
        """Whether the list holds the name. Raises TableError."""
        name = fold(name)
        if self._names is not None:
            if name in self._names:
                return True
            keys = domain_keys(name, self._parents)
            return any(key in self._names for key in keys if key != name)
        keys_in_order = tuple(domain_keys(name, self._parents))
        for pattern in self._patterns:
            if pattern.table is not None:
                hit = await self._asked(pattern.table, keys_in_order)
            else:
                hit = pattern.text in keys_in_order
            if hit:
                return pattern.positive
        return False

    @staticmethod
    async def _asked(table: ILookupTable, keys: Sequence[str]) -> bool:
        for key in keys if table.fixed_string else keys[:1]:
            if await table.lookup(key) is not None:
                return True
        return False


class NetworkList:
    """Addresses and networks: ``192.0.2.0/24``, ``[2001:db8::]/32``, tables of addresses."""

    def __init__(self, patterns: Sequence[_Pattern]) -> None:
        self._patterns = tuple(patterns)
        self._has_tables = any(each.table is not None for each in patterns)
        self._remembered: dict[str, bool] = {}

    @classmethod
    def open(cls, words: Iterable[str], parameter: str) -> NetworkList:
        """The list that a parameter gives. Raises ConfigError naming the parameter."""
        patterns = []
        for positive, word in _patterns(words, parameter):
            if _is_table(word):
                patterns.append(_Pattern(positive, table=open_table(word, parameter)))
                continue
            try:
                network = parse_network(word)
            except ValueError as error:
                raise _bad(parameter, str(error)) from None
            patterns.append(_Pattern(positive, network=network))
        return cls(patterns)

    async def matches(self, address: str) -> bool:
        """Whether the list holds the address (numeric). Raises TableError."""
        remembered = self._remembered.get(address)
        if remembered is not None:
            return remembered
        found = await self._decide(address)
        if not self._has_tables:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            self._remembered[address] = found
        return found

    async def _decide(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
            # An IPv4 client on a socket for both (RFC 4291 §2.5.5.2).
            return await self._decide(str(parsed.ipv4_mapped))
        for pattern in self._patterns:
            if pattern.table is not None:
                hit = await pattern.table.lookup(address) is not None
            else:
                hit = pattern.network is not None and parsed in pattern.network
            if hit:
                return pattern.positive
        return False
