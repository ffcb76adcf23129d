"""From a reference in main.cf, ``type:name``, to a table."""

from __future__ import annotations

from collections.abc import Callable

from gatewayd.errors import ConfigError, ConfigProblem
from gatewayd.interfaces import ILookupTable
from gatewayd.tables.cidr import cidr_table
from gatewayd.tables.expressions import pcre_table, regexp_table
from gatewayd.tables.indexed import IndexedTable
from gatewayd.tables.memory import FailTable, inline_table, static_table, texthash_table
from gatewayd.tables.unix_accounts import unix_table

__all__ = ["FILE_TYPES", "INDEXED_TYPES", "TYPES", "open_table"]

TYPES: dict[str, Callable[[str, str], ILookupTable]] = {
    "btree": IndexedTable,
    "cidr": cidr_table,
    "fail": FailTable,
    "hash": IndexedTable,
    "inline": inline_table,
    "lmdb": IndexedTable,
    "pcre": pcre_table,
    "regexp": regexp_table,
    "static": static_table,
    "texthash": texthash_table,
    "unix": unix_table,
}
"""Each takes the whole reference and what follows the type's colon. Add a type here."""

INDEXED_TYPES = frozenset(("btree", "hash", "lmdb"))
FILE_TYPES = INDEXED_TYPES | {"cidr", "pcre", "regexp", "texthash"}


def open_table(reference: str, setting: str = "") -> ILookupTable:
    """The table that ``type:name`` names; ``setting`` is the parameter that says so, for errors.

    A file that cannot be read gives a table whose look-ups raise TableError. Raises ConfigError
    for an unknown type, a relative path, or rules that make no sense (with file and line).
    """
    kind, colon, name = reference.partition(":")
    if not colon:
        raise _bad(setting, reference, "expected type:name")
    if kind == "proxy":
        return open_table(name, setting)
    maker = TYPES.get(kind)
    if maker is None:
        raise _bad(
            setting, reference, f'unknown table type "{kind}"; known: {", ".join(sorted(TYPES))}'
        )
    if kind in FILE_TYPES and not name.startswith("/"):
        raise _bad(setting, reference, "the file's path must be absolute (try $config_directory/…)")
    return maker(reference, name)


def _bad(setting: str, reference: str, text: str) -> ConfigError:
    where = f"{setting}: {reference[:80]}" if setting else reference[:80]
    return ConfigError([ConfigProblem("main.cf", 0, f"{where}: {text}")])
