"""main.cf: ``name = value``, one a logical line; the last of a name wins."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gatewayd.config.logical_lines import BLANKS, logical_lines
from gatewayd.errors import ConfigProblem

__all__ = ["Assignment", "MainCf", "parse", "split_assignment"]

_ASSIGNMENT = re.compile(r"([^\s=]+)\s*=\s*(.*)\Z", re.S | re.ASCII)
_BLANKS = f"{BLANKS}\n"


@dataclass(frozen=True, slots=True)
class Assignment:
    """A value as written, unexpanded, and where it stands."""

    name: str
    value: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class MainCf:
    """A file's assignments by name, and what was wrong with its lines."""

    assignments: dict[str, Assignment]
    errors: tuple[ConfigProblem, ...] = ()
    warnings: tuple[ConfigProblem, ...] = ()


def split_assignment(text: str) -> tuple[str, str] | None:
    """Name and value of ``name = value``, blanks around both removed; None if it isn't one."""
    match = _ASSIGNMENT.match(text.strip(_BLANKS))
    return (match[1], match[2].strip(_BLANKS)) if match else None


def parse(text: str, file: str) -> MainCf:
    """Read a whole main.cf. Octets that are no UTF-8 are expected as surrogate escapes."""
    assignments: dict[str, Assignment] = {}
    errors: list[ConfigProblem] = []
    warnings: list[ConfigProblem] = []
    for line in logical_lines(text):
        if line.orphan:
            problem = "the line starts with white space, but continues nothing: ignored"
            warnings.append(ConfigProblem(file, line.number, problem))
            continue
        if line.garbled:
            errors.append(ConfigProblem(file, line.number, "the line is not UTF-8"))
            continue
        parts = split_assignment(line.text)
        if parts is None:
            shown = line.text if len(line.text) < 60 else line.text[:57] + "..."
            errors.append(ConfigProblem(file, line.number, f'not "name = value": "{shown}"'))
            continue
        name, value = parts
        if name in assignments:
            problem = f"{name} overrides the setting in line {assignments[name].line}"
            warnings.append(ConfigProblem(file, line.number, problem))
        assignments[name] = Assignment(name, value, file, line.number)
    return MainCf(assignments, tuple(errors), tuple(warnings))
