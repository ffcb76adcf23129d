"""What the table of parameters is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from gatewayd.config.values import Kind

__all__ = [
    "Parameter",
    "Support",
    "accepted",
    "choice",
    "flag",
    "networks",
    "number",
    "path",
    "planned",
    "seconds",
    "text",
    "words",
]


class Support(Enum):
    """What gatewayd makes of a parameter."""

    SUPPORTED = "supported"
    PLANNED = "planned"
    """Known, but not acted on yet: setting it gives a warning."""
    ACCEPTED = "accepted"
    """Known, and nothing to act on here: setting it is in order."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One setting of main.cf.

    ``default`` is unexpanded; None means that it is computed from the machine. ``minimum`` and
    ``maximum`` bound a number or a time in seconds; of a text, ``minimum`` is the least length.
    ``unit`` is what a time without unit means.
    """

    name: str
    kind: Kind
    default: str | None
    meaning: str
    minimum: int | None = None
    maximum: int | None = None
    unit: str = "s"
    choices: tuple[str, ...] = ()
    support: Support = Support.SUPPORTED

    @property
    def supported(self) -> bool:
        """Whether gatewayd acts on it."""
        return self.support is Support.SUPPORTED


def text(name: str, default: str | None, meaning: str, minimum: int = 0) -> Parameter:
    """A row whose value is text."""
    return Parameter(name, Kind.TEXT, default, meaning, minimum=minimum)


def path(name: str, default: str | None, meaning: str, minimum: int = 1) -> Parameter:
    """A row whose value is an absolute path; minimum=0 lets it be empty."""
    return Parameter(name, Kind.PATH, default, meaning, minimum=minimum)


def words(name: str, default: str | None, meaning: str) -> Parameter:
    """A row whose value is a list: of names, patterns, tables."""
    return Parameter(name, Kind.WORDS, default, meaning)


def networks(name: str, default: str | None, meaning: str) -> Parameter:
    """A row whose value is a list of networks, names, files and tables."""
    return Parameter(name, Kind.NETWORKS, default, meaning)


def flag(name: str, default: str, meaning: str) -> Parameter:
    """A row whose value is yes or no."""
    return Parameter(name, Kind.FLAG, default, meaning)


def number(
    name: str, default: str, meaning: str, minimum: int | None = 0, maximum: int | None = None
) -> Parameter:
    """A row whose value is a whole number."""
    return Parameter(name, Kind.NUMBER, default, meaning, minimum=minimum, maximum=maximum)


def seconds(
    name: str, default: str, meaning: str, unit: str = "s", minimum: int | None = None
) -> Parameter:
    """A row whose value is a time."""
    return Parameter(name, Kind.SECONDS, default, meaning, unit=unit, minimum=minimum)


def choice(name: str, default: str, meaning: str, choices: tuple[str, ...]) -> Parameter:
    """A row whose value is one of some words."""
    return Parameter(name, Kind.CHOICE, default, meaning, choices=choices)


def planned(*rows: Parameter) -> tuple[Parameter, ...]:
    """Rows that nothing acts on yet."""
    return tuple(replace(row, support=Support.PLANNED) for row in rows)


def accepted(*rows: Parameter) -> tuple[Parameter, ...]:
    """Rows that need nothing here."""
    return tuple(replace(row, support=Support.ACCEPTED) for row in rows)
