"""What the table of parameters is made of."""

from __future__ import annotations

from dataclasses import dataclass

from gatewayd.config.values import Kind

__all__ = ["Parameter", "choice", "flag", "number", "seconds", "text", "words"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One setting of main.cf.

    ``default`` is unexpanded; None means that it is computed from the machine. ``unit`` is what a
    time without unit means. ``supported`` is False for Postfix's parameters that gatewayd knows
    but does not act on yet; setting one gives a warning.
    """

    name: str
    kind: Kind
    default: str | None
    meaning: str
    area: str = ""
    minimum: int | None = None
    maximum: int | None = None
    unit: str = "s"
    choices: tuple[str, ...] = ()
    supported: bool = True


def text(name: str, default: str | None, meaning: str) -> Parameter:
    """A row whose value is text."""
    return Parameter(name, Kind.TEXT, default, meaning)


def words(name: str, default: str | None, meaning: str) -> Parameter:
    """A row whose value is a list: of names, patterns, tables."""
    return Parameter(name, Kind.WORDS, default, meaning)


def flag(name: str, default: str, meaning: str) -> Parameter:
    """A row whose value is yes or no."""
    return Parameter(name, Kind.FLAG, default, meaning)


def number(
    name: str, default: str, meaning: str, minimum: int | None = 0, maximum: int | None = None
) -> Parameter:
    """A row whose value is a whole number."""
    return Parameter(name, Kind.NUMBER, default, meaning, minimum=minimum, maximum=maximum)


def seconds(name: str, default: str, meaning: str, unit: str = "s") -> Parameter:
    """A row whose value is a time."""
    return Parameter(name, Kind.SECONDS, default, meaning, unit=unit)


def choice(name: str, default: str, meaning: str, choices: tuple[str, ...]) -> Parameter:
    """A row whose value is one of some words."""
    return Parameter(name, Kind.CHOICE, default, meaning, choices=choices)
