"""Tables held in memory: texthash (a file read once), inline, static, fail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from zope.interface import implementer

from gatewayd.config.values import ValueProblem, split_words
from gatewayd.errors import ConfigError, ConfigProblem, TableError
from gatewayd.interfaces import ILookupTable
from gatewayd.maillog import MailLog
from gatewayd.tables.address_keys import fold
from gatewayd.tables.source import parse_source

__all__ = ["FailTable", "MappingTable", "StaticTable", "inline_table", "texthash_table"]

log = MailLog("tables")


@implementer(ILookupTable)
class MappingTable:
    """A dictionary as a table; keys are in lower case."""

    fixed_string = True

    def __init__(self, name: str, entries: Mapping[str, str]) -> None:
        self.name = name
        self._entries = entries

    async def lookup(self, key: str) -> str | None:
        """The value of the key, whatever its case."""
        return self._entries.get(fold(key))

    def entries(self) -> Iterable[tuple[str, str]]:
        """All keys and values."""
        return self._entries.items()

    def close(self) -> None:
        """Nothing is open."""


@implementer(ILookupTable)
class StaticTable:
    """The same value for every key."""

    fixed_string = False

    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self._value = value

    async def lookup(self, key: str) -> str | None:
        """The value."""
        return self._value

    def close(self) -> None:
        """Nothing is open."""


@implementer(ILookupTable)
class FailTable:
    """A table that never can answer: for trying out what then happens."""

    fixed_string = True

    def __init__(self, name: str, reason: str = "") -> None:
        self.name = name
        self._reason = reason

    async def lookup(self, key: str) -> str | None:
        """Raises TableError."""
        raise TableError(
            f"{self.name} is unavailable" + (f": {self._reason}" if self._reason else "")
        )

    def close(self) -> None:
        """Nothing is open."""


def texthash_table(reference: str, path: str) -> ILookupTable:
    """The file as it is now; a change is seen at the next reload."""
    try:
        text = Path(path).read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        reason = f"open {path}: {error.strerror}"
        log.warning(f"{reference} is unavailable. {reason}")
        return FailTable(reference, reason)
    source = parse_source(text, path)
    for warning in source.warnings:
        log.warning(str(warning))
    entries: dict[str, str] = {}
    for entry in source.entries:
        key = fold(entry.key)
        if key in entries:
            log.warning(f'{path}:{entry.line}: duplicate entry: "{key}"')
        entries.setdefault(key, entry.value)
    return MappingTable(reference, entries)


def static_table(reference: str, value: str) -> ILookupTable:
    """static:value or static:{value with blanks}."""
    if value.startswith("{") and value.endswith("}"):
        value = value[1:-1].strip()
    return StaticTable(reference, value)


def inline_table(reference: str, text: str) -> ILookupTable:
    """inline:{key=value, {key = value with blanks}}. Raises ConfigError."""
    if not (text.startswith("{") and text.endswith("}")):
        raise _bad(reference, "expected inline:{key=value, …}")
    entries: dict[str, str] = {}
    try:
        words = split_words(text[1:-1])
    except ValueProblem as problem:
        raise _bad(reference, str(problem)) from None
    for word in words:
        pair = word[1:-1] if word.startswith("{") and word.endswith("}") else word
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise _bad(reference, f'"{word}": expected key=value')
        entries.setdefault(fold(key.strip()), value.strip())
    return MappingTable(reference, entries)


def _bad(reference: str, text: str) -> ConfigError:
    return ConfigError([ConfigProblem(f"table {reference[:60]}", 0, text)])
