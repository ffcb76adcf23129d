"""Sources of key-value tables: what postmap and texthash read (postmap(1), postfix.md §9)."""

from __future__ import annotations

from dataclasses import dataclass

from gatewayd.config.logical_lines import logical_lines
from gatewayd.errors import ConfigProblem

__all__ = ["Entry", "Source", "parse_source"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A key and its value, with the line they stand in."""

    key: str
    value: str
    line: int


@dataclass(frozen=True, slots=True)
class Source:
    """A whole file's entries, and the lines that were skipped."""

    entries: tuple[Entry, ...]
    warnings: tuple[ConfigProblem, ...]


def parse_source(text: str, file: str) -> Source:
    """Read a table's source. A key that begins with a quote goes on to the closing one."""
    entries: list[Entry] = []
    warnings: list[ConfigProblem] = []
    for line in logical_lines(text):
        if line.orphan:
            problem = "the line starts with white space, but continues nothing: ignored"
            warnings.append(ConfigProblem(file, line.number, problem))
            continue
        key, value = _split(line.text)
        if not value:
            problem = f'"{line.text[:60]}": expected a key, white space and a value: ignored'
            warnings.append(ConfigProblem(file, line.number, problem))
            continue
        if key.endswith(":") and not key.startswith("["):
            problem = f'"{key}": a key that ends with a colon; is this an aliases file?'
            warnings.append(ConfigProblem(file, line.number, problem))
        entries.append(Entry(key, value, line.number))
    return Source(tuple(entries), tuple(warnings))


def _split(text: str) -> tuple[str, str]:
    end = _key_end(text)
    return text[:end], text[end:].strip()


def _key_end(text: str) -> int:
    """Where the key ends: at white space outside its quoted start."""
    quoted = text.startswith('"')
    place = 1 if quoted else 0
    while place < len(text):
        char = text[place]
        if quoted and char == "\\":
            place += 1
        elif quoted and char == '"':
            quoted = False
        elif not quoted and char.isspace():
            return place
        place += 1
    return len(text) if not quoted else len(text.split(None, 1)[0])
