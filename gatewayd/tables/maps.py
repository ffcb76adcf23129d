"""Several tables asked one after another, as a parameter like transport_maps lists them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gatewayd.interfaces import ILookupTable
from gatewayd.tables.address_keys import Key
from gatewayd.tables.open import open_table
from gatewayd.tables.rules import RuleTable

__all__ = ["Found", "Maps"]


@dataclass(frozen=True, slots=True)
class Found:
    """A value, with the key and the table that gave it."""

    value: str
    key: str
    table: str


class Maps:
    """Tables in order. Empty ones are false."""

    def __init__(self, tables: Sequence[ILookupTable]) -> None:
        self._tables = tuple(tables)
        self._fixed = tuple(table for table in self._tables if table.fixed_string)

    @classmethod
    def open(
        cls, references: Iterable[str], setting: str = "", *, substitution: bool = True
    ) -> Maps:
        """The tables that a parameter names. Raises ConfigError naming the parameter.

        Without ``substitution``, rules whose results hold parts of the key are ignored with a
        warning, as for transport_maps: who writes an address must not choose its route.
        """
        tables = [open_table(reference, setting) for reference in references]
        if not substitution:
            tables = [
                table.without_substitution() if isinstance(table, RuleTable) else table
                for table in tables
            ]
        return cls(tables)

    def __bool__(self) -> bool:
        return bool(self._tables)

    async def find(self, key: str) -> Found | None:
        """The first table's answer to one full key. Raises TableError."""
        for table in self._tables:
            value = await table.lookup(key)
            if value is not None:
                return Found(value, key, table.name)
        return None

    async def find_first(self, keys: Iterable[Key]) -> Found | None:
        """The first hit, going key by key, and table by table for each. Raises TableError."""
        for key in keys:
            for table in self._fixed if key.partial else self._tables:
                value = await table.lookup(key.text)
                if value is not None:
                    return Found(value, key.text, table.name)
        return None

    def close(self) -> None:
        """Close all."""
        for table in self._tables:
            table.close()
