"""postmap: build, change and ask lookup tables (postfix.md §9).

postmap [-fiNnoprsuvw] [-c DIR] [-q KEY | -d KEY | -s] [type:]file …

-i add from standard input; -r replace, or -w keep, without a warning what is there already;
-f don't fold keys; -o root stays the owner; -p mode 0644 whatever the source's; - for KEY:
keys from standard input. -N, -n, -u and -v are taken and change nothing.
"""

from __future__ import annotations

import getopt
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gatewayd.cli.place import default_folder, fail, settings_in
from gatewayd.errors import ConfigError, TableError
from gatewayd.tables.build import Builder, BuildError
from gatewayd.tables.memory import FailTable, MappingTable
from gatewayd.tables.open import FILE_TYPES, INDEXED_TYPES, TYPES, open_table
from gatewayd.tables.source import Entry, Source, parse_source

__all__ = ["main"]

_USAGE = "usage: postmap [-fiNnoprsuvw] [-c config_dir] [-d key] [-q key] [map_type:]file..."


@dataclass(frozen=True, slots=True)
class _Table:
    """``type:path`` as given; the indexed types have a builder."""

    kind: str
    path: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.path}"

    def builder(self, given: dict[str, str]) -> Builder:
        if self.kind not in TYPES:
            raise BuildError(f"unsupported dictionary type: {self.kind}")
        if self.kind not in INDEXED_TYPES:
            raise BuildError(f"{self}: a table of this type is not built or changed by postmap")
        return Builder(
            self.path,
            folded="-f" not in given,
            keep_mode="-p" not in given,
            keep_owner="-o" not in given,
        )

    def entries(self, given: dict[str, str]) -> Iterable[tuple[str, str]]:
        """All keys and values."""
        if self.kind in INDEXED_TYPES:
            return self.builder(given).entries()
        table = open_table(str(self))
        if isinstance(table, FailTable):
            _now(table.lookup(""))
        if not isinstance(table, MappingTable):
            raise BuildError(f"table {self}: sequence operation is not supported")
        return table.entries()


def main(arguments: list[str]) -> int:
    """The command; exit status 0, or 1: not found, failed, or used wrongly."""
    try:
        options, names = getopt.gnu_getopt(arguments, "Nc:d:finoprq:suvw", ["help"])
    except getopt.GetoptError as error:
        print(f"postmap: {error}", file=sys.stderr)
        return fail("postmap", _USAGE, 1)
    given = dict(options)
    if "--help" in given:
        print(_USAGE)
        return 0
    if not names:
        return fail("postmap", _USAGE, 1)
    try:
        tables = [_table(name, given.get("-c")) for name in names]
        return _run(given, tables)
    except (BuildError, TableError, ConfigError) as error:
        return fail("postmap", str(error), 1)


def _table(name: str, folder: str | None) -> _Table:
    kind, colon, path = name.partition(":")
    if not colon:
        kind, path = _default_kind(folder), name
    if kind in FILE_TYPES:
        path = os.path.abspath(path)
    return _Table(kind, path)


def _default_kind(folder: str | None) -> str:
    """default_database_type; without a configuration, what it is by default."""
    if not os.path.exists(os.path.join(folder or default_folder(), "main.cf")):
        return "hash"
    return settings_in(folder).text("default_database_type")


def _run(given: dict[str, str], tables: list[_Table]) -> int:
    if "-q" in given:
        ask = _question(tables, given)
        return _query_many(ask) if given["-q"] == "-" else _query(ask, given["-q"])
    if "-d" in given:
        return _delete(tables, given)
    if "-s" in given:
        for table in tables:
            for key, value in table.entries(given):
                print(f"{key}\t{value}")
        return 0
    for table in tables:
        _build(table, given)
    return 0


_Question = Callable[[str], str | None]


def _question(tables: list[_Table], given: dict[str, str]) -> _Question:
    """What asks the tables, opened once, in their order."""
    asked: list[_Question] = []
    for table in tables:
        if "-f" in given and table.kind in INDEXED_TYPES:
            asked.append(table.builder(given).get)
        else:
            opened = open_table(str(table))
            asked.append(lambda key, opened=opened: _now(opened.lookup(key)))  # type: ignore[misc]
    return lambda key: next((v for ask in asked if (v := ask(key)) is not None), None)


def _query(ask: _Question, key: str) -> int:
    value = ask(key)
    if value is None:
        return 1
    print(value)
    return 0


def _query_many(ask: _Question) -> int:
    found = False
    for line in sys.stdin:
        key = line.rstrip("\r\n")
        value = ask(key)
        if value is not None:
            found = True
            print(f"{key}\t{value}")
    return 0 if found else 1


def _now(answer: object) -> str | None:
    """What a look-up gives that doesn't wait for anything: all of the types here."""
    try:
        answer.send(None)  # type: ignore[attr-defined]
    except StopIteration as done:
        value: str | None = done.value
        return value
    raise TableError("the table does not answer at once")


def _delete(tables: list[_Table], given: dict[str, str]) -> int:
    key = given["-d"]
    keys = [line.rstrip("\r\n") for line in sys.stdin] if key == "-" else [key]
    gone = [each for table in tables for each in table.builder(given).delete(keys)]
    return 0 if gone else 1


def _build(table: _Table, given: dict[str, str]) -> None:
    builder = table.builder(given)
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
        return parse_source(
            sys.stdin.buffer.read().decode("utf-8", "surrogateescape"), "standard input"
        )
    try:
        octets = Path(table.path).read_bytes()
    except OSError as error:
        raise BuildError(f"open {table.path}: {error.strerror}") from None
    return parse_source(octets.decode("utf-8", "surrogateescape"), table.path)
