"""docs/benchmarks.md, from what was measured."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.row import Measured, Row
from benchmarks.works import Work

__all__ = ["Done", "page", "table"]

_INTRODUCTION = """\
# Benchmarks

Written by `make bench`: gatewayd and Debian's Postfix in turn, in the same run, on the same disk,
with default settings (logging and access checks on, relay_recipient_maps and transport_maps in
use), as they are installed. Python {python}, {cores} cores. `python -m benchmarks WORK` measures
one work.

Figures are medians of several rounds. The ratio is gatewayd's figure by Postfix's, as least,
median and most of the rounds: above 1 gatewayd is faster, or uses more of the line; for seconds and
megabytes, less is better. CPU is what a message takes all processes of a system, and tells more
than the rate where others use the machine, too.

"""
_HEAD = """\
| work | of `make bench` | unit | gatewayd | Postfix | ratio | CPU ms a message | goal | reached |
|---|---|---|---:|---:|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Done:
    """A work with its rows, or with why it could not be measured."""

    work: Work
    rows: tuple[Row, ...] = ()
    trouble: str = ""


def page(done: Sequence[Done]) -> str:
    """The whole page."""
    parts = [
        _INTRODUCTION.format(python=platform.python_version(), cores=os.cpu_count()),
        table(done),
        *_bounds(done),
        *_troubles(done),
    ]
    return "".join(parts)


def table(done: Sequence[Done]) -> str:
    """A line for each row of each work."""
    lines = [_line(each.work, row) for each in done for row in each.rows]
    return _HEAD + "".join(lines)


def _line(work: Work, row: Row) -> str:
    goal = row.goal.text if row.goal is not None else ""
    reached = "" if row.goal is None else "**no**" if row.is_missed else "yes"
    cells = [
        *(row.work, f"`{work.name}`", row.unit),
        *(_figure(row.ours), _figure(row.theirs), _ratio(row.ratios)),
        *(_cpu(row), goal, reached),
    ]
    return f"| {' | '.join(cells)} |\n"


def _figure(measured: Measured | None) -> str:
    return f"{measured.median:.3g}" if measured is not None else "–"


def _ratio(ratios: tuple[float, ...]) -> str:
    if not ratios:
        return "–"
    if len(ratios) == 1:
        return f"{ratios[0]:.2f}"
    return f"{ratios[0]:.2f} / {median(ratios):.2f} / {ratios[-1]:.2f}"


def _cpu(row: Row) -> str:
    if row.ours.cpu is None or row.theirs is None or row.theirs.cpu is None:
        return "–"
    return f"{1000 * row.ours.cpu:.2f} : {1000 * row.theirs.cpu:.2f}"


def _bounds(done: Sequence[Done]) -> list[str]:
    missed = [each.work for each in done if any(row.is_missed for row in each.rows)]
    if not missed:
        return []
    lines = [f"- `{work.name}`: {work.bound}\n" for work in missed]
    return ["\nWhat bounds those that don't reach their goal:\n", *lines]


def _troubles(done: Sequence[Done]) -> list[str]:
    failed = [each for each in done if each.trouble]
    if not failed:
        return []
    lines = [f"- `{each.work.name}`: {each.trouble}\n" for each in failed]
    return ["\nNot measured:\n", *lines]
