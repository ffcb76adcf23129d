"""Sources of key-value tables: what postmap and texthash read (postmap(1), postfix.md §9).

    key   value          white space ends the key, but for white space in "quotes" or behind \\
      continued          a line that starts with white space goes on with the one before
    # comment            also between a line and its continuation
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gatewayd.config.logical_lines import logical_lines
from gatewayd.errors import ConfigProblem

__all__ = ["Entry", "Source", "SourceError", "parse_source", "split_entry"]

# A backslash hides the sign behind it; quotes stay part of the key.
_KEY = re.compile(r'(?:\\.|"(?:\\.|[^"\\])*"|[^\s"\\]|\\\Z)*', re.DOTALL)
_NOT_TEXT = re.compile("[\x00\ud800-\udfff]")


class SourceError(Exception):
    """A line that is no entry; says why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A key and its value, with the line they stand in."""

    key: str
    value: str
    line: int


@dataclass(frozen=True, slots=True)
class Source:
    """A whole file's entries, and what was found wrong with lines; such lines are skipped."""

    entries: tuple[Entry, ...]
    warnings: tuple[ConfigProblem, ...]


def parse_source(text: str, file: str) -> Source:
    """Read a table's source; octets that were no UTF-8 are surrogates in ``text``."""
    entries: list[Entry] = []
    warnings: list[ConfigProblem] = []
    for line in logical_lines(text):
        try:
            if line.orphan:
                raise SourceError("logical line must not start with white space")
            key, value = split_entry(line.text)
        except SourceError as error:
            text = f'{error}: "{line.text[:60]}" -- ignoring this line'
            warnings.append(ConfigProblem(file, line.number, _shown(text)))
            continue
        if key.endswith(":"):
            text = f'"{key}": record is in "key: value" format; is this an alias file?'
            warnings.append(ConfigProblem(file, line.number, text))
        entries.append(Entry(key, value, line.number))
    return Source(tuple(entries), tuple(warnings))


def split_entry(text: str) -> tuple[str, str]:
    """(key, value) of a logical line. Raises SourceError."""
    if _NOT_TEXT.search(text):
        raise SourceError("non-UTF-8 input")
    match = _KEY.match(text)
    assert match is not None
    key, value = match[0], text[match.end() :]
    if value.startswith('"'):
        raise SourceError("unbalanced '\"'")
    value = value.strip()
    if not key or not value:
        raise SourceError("expected format: key whitespace value")
    return key, value


def _shown(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
