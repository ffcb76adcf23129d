"""``$name`` and its relatives in values (postfix.md §2).

    $name  ${name}  $(name)      the value; nothing if there is none
    $$                           a dollar sign
    ${name?text}                 text if the value is not empty
    ${name:text}                 text if it is
    ${name?{text}:{text}}        the one or the other
    ${{a} == {b}?{text}:{text}}  likewise; == != < <= >= > compare numbers as numbers,
                                 ==level <level … compatibility levels such as 3.6

Texts may hold all of these again.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

from gatewayd.errors import GatewayError

__all__ = ["ExpandError", "expand", "references"]

_DEPTH = 100
_SIZE = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9_]+")
_CLOSING = {"{": "}", "(": ")"}
_RELATION = re.compile(r"\s*(==|!=|<=|>=|<|>)(level)?\s*")
_RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">=": operator.ge,
    ">": operator.gt,
}
_DIGITS = re.compile(r"[0-9]{1,18}\Z")


class ExpandError(GatewayError):
    """A value whose ``$`` forms make no sense."""


def expand(text: str, lookup: Callable[[str], str | None]) -> str:
    """``text`` with every ``$`` form replaced; ``lookup`` gives a name's unexpanded value.

    Raises ExpandError.
    """
    return _Expansion(lookup).text(text, 0)


def references(text: str) -> set[str]:
    """The names that expanding ``text`` may ask for. Raises ExpandError."""
    asked: set[str] = set()

    def note(name: str) -> None:
        asked.add(name)

    expand(text, note)
    return asked


class _Expansion:
    def __init__(self, lookup: Callable[[str], str | None]) -> None:
        self._lookup = lookup
        self._size = 0

    def text(self, text: str, depth: int) -> str:
        if "$" not in text:
            return text
        if depth > _DEPTH:
            raise ExpandError("references go in a circle, or too deep")
        out: list[str] = []
        at = 0
        while True:
            dollar = text.find("$", at)
            if dollar < 0:
                out.append(text[at:])
                break
            out.append(text[at:dollar])
            value, at = self._form(text, dollar + 1, depth)
            self._size += len(value)
            if self._size > _SIZE:
                raise ExpandError("the value is too large once it's expanded")
            out.append(value)
        return "".join(out)

    def _form(self, text: str, at: int, depth: int) -> tuple[str, int]:
        """What stands after a dollar sign at ``at - 1``: its value, and where it ends."""
        following = text[at : at + 1]
        if following == "$":
            return "$", at + 1
        if following in _CLOSING:
            inside, end = _balanced(text, at)
            return self._inside(inside, depth), end
        match = _NAME.match(text, at)
        if match is None:
            raise ExpandError(f'no name after the "$" in "{_shown(text[at - 1 :])}"')
        return self._value(match[0], depth), match.end()

    def _value(self, name: str, depth: int) -> str:
        value = self._lookup(name)
        return self.text(value, depth + 1) if value else ""

    def _inside(self, inside: str, depth: int) -> str:
        stripped = inside.lstrip()
        if stripped.startswith("{"):
            return self._relation(stripped, depth)
        match = _NAME.match(stripped)
        if match is None:
            raise ExpandError(f'no name in "${{{_shown(inside)}}}"')
        name, rest = match[0], stripped[match.end() :]
        if not rest.strip():
            return self._value(name, depth)
        value = self._value(name, depth)
        return self._choice(bool(value), rest, inside, depth)

    def _relation(self, text: str, depth: int) -> str:
        left, at = _balanced(text, 0)
        match = _RELATION.match(text, at)
        if match is None or text[match.end() : match.end() + 1] != "{":
            raise ExpandError(f'no comparison of {{…}} and {{…}} in "{_shown(text)}"')
        right, end = _balanced(text, match.end())
        sides = (self.text(left, depth + 1), self.text(right, depth + 1))
        holds = _compare(match[1], bool(match[2]), *sides)
        rest = text[end:]
        if not rest.strip():
            return "bool_true" if holds else ""
        return self._choice(holds, rest, text, depth)

    def _choice(self, holds: bool, rest: str, whole: str, depth: int) -> str:
        """``?yes``, ``:no``, ``?{yes}``, ``:{no}`` or ``?{yes}:{no}`` in ``rest``."""
        rest = rest.lstrip()
        sign, payload = rest[0], rest[1:]
        if sign not in "?:":
            raise ExpandError(f'"?" or ":" expected after the name in "{_shown(whole)}"')
        braced = payload.lstrip()
        if not braced.startswith("{"):
            return self.text(payload, depth + 1) if holds is (sign == "?") else ""
        first, end = _balanced(braced, 0)
        second = ""
        tail = braced[end:].strip()
        if tail:
            if sign != "?" or not tail.startswith(":") or not tail[1:].lstrip().startswith("{"):
                raise ExpandError(f'"{_shown(tail)}" after a closing brace in "{_shown(whole)}"')
            second, end = _balanced(tail[1:].lstrip(), 0)
            if tail[1:].lstrip()[end:].strip():
                raise ExpandError(f'text after the last brace in "{_shown(whole)}"')
        if sign == ":":
            first, second = second, first
        return self.text(first if holds else second, depth + 1)


def _balanced(text: str, at: int) -> tuple[str, int]:
    """The text between the bracket at ``at`` and its partner, and the place after that."""
    opening = text[at]
    closing = _CLOSING[opening]
    depth = 0
    for place in range(at, len(text)):
        if text[place] == opening:
            depth += 1
        elif text[place] == closing:
            depth -= 1
            if not depth:
                return text[at + 1 : place], place + 1
    raise ExpandError(f'no closing "{closing}" in "{_shown(text[max(0, at - 1) :])}"')


def _compare(sign: str, as_levels: bool, left: str, right: str) -> bool:
    relation = _RELATIONS[sign]
    if as_levels:
        return relation(_level(left), _level(right))
    if _DIGITS.match(left) and _DIGITS.match(right):
        return relation(int(left), int(right))
    return relation(left, right)


def _level(text: str) -> tuple[int, ...]:
    parts = text.strip().split(".")
    if len(parts) > 3 or not all(_DIGITS.match(part) for part in parts):
        raise ExpandError(f'"{_shown(text)}" is no compatibility level such as 3.6')
    return (*map(int, parts), *([0] * (3 - len(parts))))


def _shown(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
