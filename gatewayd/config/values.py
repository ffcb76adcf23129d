"""Values as main.cf writes them: yes and no, numbers, times with units, lists."""

from __future__ import annotations

import re
from enum import Enum

from gatewayd.errors import GatewayError

__all__ = ["Kind", "ValueProblem", "parse_flag", "parse_number", "parse_seconds", "split_words"]

_NUMBER = re.compile(r"-?[0-9]{1,18}\Z")
_TIME = re.compile(r"(-?[0-9]{1,12})([smhdw]?)\Z", re.I)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Kind(Enum):
    """What a parameter's value is."""

    TEXT = "text"
    FLAG = "yes/no"
    NUMBER = "number"
    SECONDS = "time"
    WORDS = "list"
    CHOICE = "choice"


class ValueProblem(GatewayError):
    """A value that its kind doesn't allow; says what would be right."""


def parse_flag(text: str) -> bool:
    """yes or no, any case. Raises ValueProblem."""
    word = text.strip().lower()
    if word not in ("yes", "no"):
        raise ValueProblem(f'"{text}": yes or no')
    return word == "yes"


def parse_number(text: str, minimum: int | None = None, maximum: int | None = None) -> int:
    """A whole number within its bounds. Raises ValueProblem."""
    if not _NUMBER.match(text.strip()):
        raise ValueProblem(f'"{text}": a whole number')
    number = int(text)
    if minimum is not None and number < minimum:
        raise ValueProblem(f"{number}: at least {minimum}")
    if maximum is not None and number > maximum:
        raise ValueProblem(f"{number}: at most {maximum}")
    return number


def parse_seconds(text: str, unit: str = "s") -> float:
    """A time: a number and a unit (s m h d w), ``unit`` if none is given. Raises ValueProblem."""
    match = _TIME.match(text.strip())
    if match is None:
        raise ValueProblem(f'"{text}": a number with a unit of s, m, h, d or w')
    if match[1].startswith("-"):
        raise ValueProblem(f'"{text}": a time is not negative')
    return float(int(match[1]) * _UNITS[(match[2] or unit).lower()])


def split_words(text: str) -> tuple[str, ...]:
    """A list's members: parted by commas and white space, ``{…}`` groups kept whole.

    Raises ValueProblem for a group without end.
    """
    if "{" not in text:
        return tuple(text.replace(",", " ").split())
    words: list[str] = []
    at, size = 0, len(text)
    while at < size:
        if text[at] in ", \t\r\n\f\v":
            at += 1
            continue
        end = at
        depth = 0
        while end < size and (depth or text[end] not in ", \t\r\n\f\v"):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        if depth > 0:
            raise ValueProblem(f'no closing "}}" in "{text[at : at + 60]}"')
        words.append(text[at:end])
        at = end
    return tuple(words)
