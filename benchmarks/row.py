"""A line of the table: what was measured of both systems, and what was to be reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median

__all__ = ["BOUND", "Goal", "Measured", "Row", "at_least", "at_most", "like_postfix", "times"]

BOUND = 300.0
"""Seconds after which a step of a work has failed."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A system's figures, one a round; ``cpu`` is what a message took it, in CPU seconds."""

    values: tuple[float, ...]
    cpu: float | None = None

    @classmethod
    def of(cls, values: Sequence[float], cpu: float | None = None) -> Measured:
        """From any sequence."""
        return cls(tuple(values), cpu)

    @property
    def median(self) -> float:
        """The figure to tell."""
        return median(self.values)


@dataclass(frozen=True, slots=True)
class Row:
    """Both systems' figures in ``unit``, and the goal if there is one.

    ``in_turn``: the rounds alternated, so that the one's first belongs to the other's first.
    """

    work: str
    unit: str
    ours: Measured
    theirs: Measured | None = None
    goal: Goal | None = None
    in_turn: bool = False

    @property
    def ratios(self) -> tuple[float, ...]:
        """gatewayd's figures by Postfix's, in ascending order."""
        if self.theirs is None:
            return ()
        both = self.ours.values, self.theirs.values
        pairs = zip(*both, strict=True) if self.in_turn else product(*both)
        return tuple(sorted(ours / theirs for ours, theirs in pairs))

    @property
    def is_missed(self) -> bool:
        """Whether there is a goal that isn't reached."""
        return self.goal is not None and not self.goal.is_reached(self)


@dataclass(frozen=True, slots=True)
class Goal:
    """What is to be reached: in words, and as a test of the row."""

    text: str
    is_reached: Callable[[Row], bool]


def times(factor: float) -> Goal:
    """So many times as much as Postfix."""
    return Goal(f"≥ {factor:g} × Postfix", lambda row: median(row.ratios) >= factor)


def like_postfix(qualification: str = "") -> Goal:
    """No more than Postfix."""
    return Goal(f"≤ Postfix{qualification}", lambda row: median(row.ratios) <= 1)


def at_most(limit: float, unit: str) -> Goal:
    """No more than a fixed figure."""
    return Goal(f"≤ {limit:g} {unit}", lambda row: row.ours.median <= limit)


def at_least(limit: float, unit: str) -> Goal:
    """No less than a fixed figure."""
    return Goal(f"≥ {limit:g} {unit}", lambda row: row.ours.median >= limit)
