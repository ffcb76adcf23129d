"""Logical lines of main.cf, master.cf and table sources (postfix.md §2).

A line that starts with white space continues the one before. Empty lines and comments, also
indented ones, are skipped wherever they stand and end nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["BLANKS", "LogicalLine", "logical_lines"]

BLANKS = " \t\r\f\v"
"""White space within a line: no other sign of Unicode's is any."""
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class LogicalLine:
    """Joined text, trailing blanks removed, and the number of its first physical line.

    ``orphan``: it starts with white space, though there was nothing to continue. ``joints``:
    where in the text each continuation starts, and its line's number.
    """

    text: str
    number: int
    orphan: bool = False
    joints: tuple[tuple[int, int], ...] = ()

    @property
    def garbled(self) -> bool:
        """Whether a NUL is in it, or what was no UTF-8 (read with surrogateescape)."""
        return _NO_TEXT.search(self.text) is not None

    def number_at(self, offset: int) -> int:
        """The number of the physical line that a place in the text comes from."""
        found = self.number
        for start, number in self.joints:
            if start <= offset:
                found = number
        return found


def logical_lines(text: str) -> Iterator[LogicalLine]:
    """The logical lines of a whole file."""
    parts: list[str] = []
    joints: list[tuple[int, int]] = []
    start = size = 0
    orphan = False
    for number, line in enumerate(text.split("\n"), 1):
        bare = line.strip(BLANKS)
        if not bare or bare[0] == "#":
            continue
        kept = line.rstrip(BLANKS)
        if line[0] in BLANKS and parts:
            joints.append((size, number))
        else:
            if parts:
                yield LogicalLine("".join(parts), start, orphan, tuple(joints))
            orphan = line[0] in BLANKS
            kept = bare if orphan else kept
            parts, joints, start, size = [], [], number, 0
        parts.append(kept)
        size += len(kept)
    if parts:
        yield LogicalLine("".join(parts), start, orphan, tuple(joints))
