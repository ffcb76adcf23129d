"""Logical lines of main.cf, master.cf and table sources (postfix.md §2).

A line that starts with white space continues the one before. Empty lines and comments, also
indented ones, are skipped wherever they stand and end nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["LogicalLine", "logical_lines"]


@dataclass(frozen=True, slots=True)
class LogicalLine:
    """Joined text, trailing blanks removed, and the number of its first physical line.

    ``orphan``: it starts with white space, though there was nothing to continue.
    """

    text: str
    number: int
    orphan: bool = False


def logical_lines(text: str) -> Iterator[LogicalLine]:
    """The logical lines of a whole file."""
    parts: list[str] = []
    start = 0
    orphan = False
    for number, line in enumerate(text.split("\n"), 1):
        bare = line.strip(" \t\r\f\v")
        if not bare or bare.startswith("#"):
            continue
        if line[0] in " \t\r\f\v" and parts:
            parts.append(line.rstrip())
            continue
        if parts:
            yield LogicalLine("".join(parts), start, orphan)
        orphan = line[0] in " \t\r\f\v"
        parts, start = [line.strip() if orphan else line.rstrip()], number
    if parts:
        yield LogicalLine("".join(parts), start, orphan)
