"""postmap: build, change and ask lookup tables (postfix.md §9).

postmap [-c DIR] [-finoprw] [-q KEY | -d KEY | -s] [type:]file …
"""

from __future__ import annotations

import getopt
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gatewayd.cli.place import configuration, fail
from gatewayd.errors import ConfigError, TableError
from gatewayd.tables.build import Builder, BuildError
from gatewayd.tables.open import INDEXED_TYPES, open_table
from gatewayd.tables.source import Entry, Source, parse_source

__all__ = ["main"]

_USAGE = "usage: postmap [-c DIR] [-finoprvw] [-q KEY|-] [-d KEY|-] [-s] [type:]file …"


@dataclass(frozen=True, slots=True)
class _Table:
    """``type:path`` as given; the indexed types have a builder."""

    kind: str
    path: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.path}"

    def builder(self, folded: bool) -> Builder:
        if self.kind not in INDEXED_TYPES:
            raise BuildError(f"unsupported map type for this operation: {self.kind}")
        return Builder(self.path, folded=folded)


def main(arguments: list[str]) -> int:
    """The command; exit status 0, 1 (not found, or failed) or 64 (usage)."""
    try:
        options, names = getopt.getopt(arguments, "Nbc:d:finoprq:suvw", ["help"])
    except getopt.GetoptError as error:
        print(f"postmap: fatal: {error}\n{_USAGE}", file=sys.stderr)
        return 64
    given = dict(options)
    if "--help" in given:
        print(_USAGE)
        return 0
    if not names:
        print(_USAGE, file=sys.stderr)
        return 64
    try:
        tables = [_table(name, given.get("-c")) for name in names]
        return _run(given, tables)
    except (BuildError, TableError, ConfigError) as error:
        return fail("postmap", str(error), 1)


def _table(name: str, folder: str | None) -> _Table:
    kind, colon, path = name.partition(":")
    if not colon:
        settings = configuration("postmap", folder).settings
        kind, path = settings.text("default_database_type"), name
    if kind in INDEXED_TYPES or kind in ("texthash", "regexp", "pcre", "cidr"):
        path = str(Path(path).absolute())
    return _Table(kind, path)


def _run(given: dict[str, str], tables: list[_Table]) -> int:
    folded = "-f" not in given
    if "-q" in given:
        return _query_many(tables) if given["-q"] == "-" else _query(tables, given["-q"])
    if "-d" in given:
        return _delete(tables, given["-d"], folded)
    if "-s" in given:
        for table in tables:
            for key, value in table.builder(folded).entries():
                print(f"{key}\t{value}")
        return 0
    for table in tables:
        _build(table, given, folded)
    return 0


def _query(tables: list[_Table], key: str) -> int:
    value = _ask(tables, key)
    if value is None:
        return 1
    print(value)
    return 0


def _query_many(tables: list[_Table]) -> int:
    found = False
    for line in sys.stdin:
        key = line.rstrip("\n")
        value = _ask(tables, key)
        if value is not None:
            found = True
            print(f"{key}\t{value}")
    return 0 if found else 1


def _ask(tables: list[_Table], key: str) -> str | None:
    for table in tables:
        opened = open_table(str(table))
        value = _now(opened.lookup(key))
        opened.close()
        if value is not None:
            return value
    return None


def _now(answer: object) -> str | None:
    """What a look-up gives that doesn't wait for anything: all of the types here."""
    try:
        answer.send(None)  # type: ignore[attr-defined]
    except StopIteration as done:
        value: str | None = done.value
        return value
    raise TableError("the table does not answer at once")


def _delete(tables: list[_Table], key: str, folded: bool) -> int:
    keys = [line.rstrip("\n") for line in sys.stdin] if key == "-" else [key]
    gone = [each for table in tables for each in table.builder(folded).delete(keys)]
    return 0 if gone else 1


def _build(table: _Table, given: dict[str, str], folded: bool) -> None:
    builder = table.builder(folded)
    source = _source(table, from_stdin="-i" in given)
    for warning in source.warnings:
        print(f"postmap: warning: {warning}", file=sys.stderr)
    work = builder.add if "-i" in given else builder.build
    duplicates = work(source.entries, replace="-r" in given)
    if "-w" not in given:
        for entry in _unique(duplicates):
            text = f'{table.path}.lmdb: duplicate entry: "{entry.key}"'
            print(f"postmap: warning: {text}", file=sys.stderr)


def _unique(entries: list[Entry]) -> Iterator[Entry]:
    return iter({entry.key: entry for entry in entries}.values())


def _source(table: _Table, *, from_stdin: bool) -> Source:
    if from_stdin:
        return parse_source(sys.stdin.read(), "standard input")
    try:
        octets = Path(table.path).read_bytes()
    except OSError as error:
        raise BuildError(f"open {table.path}: {error.strerror}") from None
    return parse_source(octets.decode("utf-8", "surrogateescape"), table.path)
