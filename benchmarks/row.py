"""A line of the table, and how long a work may take."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BOUND", "Row"]

BOUND = 300.0
"""Seconds after which a work has failed."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. ``ours`` and ``theirs`` are in ``unit``."""

    work: str
    unit: str
    ours: float
    theirs: float | None
    goal: str
    reached: bool

    @property
    def ratio(self) -> str:
        return f"{self.ours / self.theirs:.2f}" if self.theirs else "-"
