"""Values as main.cf writes them: yes and no, numbers, times with units, lists, networks."""

from __future__ import annotations

import re
from enum import Enum

from gatewayd.errors import GatewayError

__all__ = [
    "Kind",
    "ValueProblem",
    "check_networks",
    "check_path",
    "parse_flag",
    "parse_number",
    "parse_seconds",
    "split_words",
]

_NUMBER = re.compile(r"-?[0-9]{1,18}\Z")
_TIME = re.compile(r"([0-9]{1,10})([smhdwSMHDW]?)\Z")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_LONGEST = 2**31 - 1
_BLANKS = " \t\r\n\f\v"
_WORD = re.compile(f"[^,{_BLANKS}]+")
_SEPARATORS = f",{_BLANKS}"
_PLAIN_ADDRESS = re.compile(r"[0-9.]+(?:/[0-9]*)?\Z")


class Kind(Enum):
    """What a parameter's value is."""

    TEXT = "text"
    RAW = "text, $ kept"
    PATH = "path"
    FLAG = "yes/no"
    NUMBER = "number"
    SECONDS = "time"
    WORDS = "list"
    NETWORKS = "list of networks"
    CHOICE = "choice"


class ValueProblem(GatewayError):
    """A value that its kind doesn't allow; says what would be right."""


def parse_flag(text: str) -> bool:
    """yes or no, any case. Raises ValueProblem."""
    word = text.strip(_BLANKS).lower()
    if word not in ("yes", "no"):
        raise ValueProblem(f'"{text}": yes or no expected')
    return word == "yes"


def parse_number(text: str, minimum: int | None = None, maximum: int | None = None) -> int:
    """A whole number within its bounds. Raises ValueProblem."""
    word = text.strip(_BLANKS)
    if not _NUMBER.match(word):
        raise ValueProblem(f'"{text}": a whole number expected')
    number = int(word)
    if minimum is not None and number < minimum:
        raise ValueProblem(f"{number}: at least {minimum} expected")
    if maximum is not None and number > maximum:
        raise ValueProblem(f"{number}: at most {maximum} expected")
    return number


def parse_seconds(text: str, unit: str = "s", minimum: int | None = None) -> float:
    """A time: a number and a unit (s m h d w), ``unit`` if none is given; at most 2**31-1 s.

    Raises ValueProblem.
    """
    match = _TIME.match(text.strip(_BLANKS))
    if match is None:
        raise ValueProblem(f'"{text}": a number with a unit of s, m, h, d or w expected')
    seconds = int(match[1]) * _UNITS[(match[2] or unit).lower()]
    if seconds > _LONGEST:
        raise ValueProblem(f'"{text}": at most {_LONGEST}s expected')
    if minimum is not None and seconds < minimum:
        raise ValueProblem(f'"{text}": at least {minimum}s expected')
    return float(seconds)


def split_words(text: str) -> tuple[str, ...]:
    """A list's members: parted by commas and white space, ``{…}`` groups kept whole.

    Raises ValueProblem for a group without end.
    """
    if "{" not in text:
        return tuple(_WORD.findall(text))
    words: list[str] = []
    start, depth = -1, 0
    for at, char in enumerate(text):
        if not depth and char in _SEPARATORS:
            if start >= 0:
                words.append(text[start:at])
            start = -1
            continue
        if start < 0:
            start = at
        if char == "{":
            depth += 1
        elif char == "}" and depth:
            depth -= 1
    if depth:
        raise ValueProblem(f'no closing "}}" in "{text[start : start + 60]}"')
    if start >= 0:
        words.append(text[start:])
    return tuple(words)


def check_networks(words: tuple[str, ...]) -> None:
    """Whether those of a list that look like networks are some. Raises ValueProblem.

    Names, /file and type:table are left to those who use the list.
    """
    for word in words:
        bare = word.lstrip("!")
        if bare.startswith("["):
            inside, bracket, rest = bare[1:].partition("]")
            if not bracket or (rest and rest[0] != "/"):
                raise ValueProblem(f'"{word}": [address] or [address]/length expected')
            _check_network(word, inside + rest)
        elif _PLAIN_ADDRESS.match(bare):
            _check_network(word, bare)


def _check_network(word: str, text: str) -> None:
    import ipaddress

    try:
        ipaddress.ip_network(text)
    except ValueError:
        pass
    else:
        return
    try:
        right = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueProblem(f'"{word}": an IP address or address/length expected') from None
    raise ValueProblem(f'"{word}": bits set behind the length; {right} expected') from None


def check_path(text: str) -> None:
    """Whether it's an absolute path, or nothing. Raises ValueProblem."""
    if text and not text.startswith("/"):
        raise ValueProblem(f'"{text}": an absolute path expected')
    if "\0" in text:
        raise ValueProblem("a NUL in a path")
