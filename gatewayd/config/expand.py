"""``$name`` and its relatives in values (postfix.md §2).

    $name  ${name}  $(name)      the value; nothing if there is none
    $$                           a dollar sign
    ${name?text}                 text if the value is not empty
    ${name:text}                 text if it is
    ${name?{text}:{text}}        the one or the other
    ${{a} == {b}?{text}:{text}}  likewise; == != < <= >= > compare numbers as numbers,
                                 ==level <level … compatibility levels such as 3.6
    ${domain_to_ascii{text}}     a domain in its ASCII form; ${domain_to_utf8{text}} back

Texts may hold all of these again. Without a choice, a comparison is "true" or nothing.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

from gatewayd.errors import GatewayError

__all__ = ["ExpandError", "expand", "references"]

_DEPTH = 100
_FORMS = 50_000
_SIZE = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9_]+")
_BRACKETS = {"{": re.compile("[{}]"), "(": re.compile("[()]")}
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
_LONGEST_DOMAIN = 1000
_FUNCTIONS = ("domain_to_ascii", "domain_to_utf8")


class ExpandError(GatewayError):
    """A value whose ``$`` forms make no sense."""


def expand(text: str, lookup: Callable[[str], str | None]) -> str:
    """``text`` with every ``$`` form replaced; ``lookup`` gives a name's unexpanded value.

    Bounded: 100 levels, 50000 forms, 1 MB. Raises ExpandError.
    """
    if "$" not in text:
        return text
    try:
        return _Expansion(lookup).text(text, 0)
    except RecursionError:
        raise ExpandError("references go too deep") from None


def references(text: str) -> set[str]:
    """The names that ``text`` speaks of, in any branch. Raises ExpandError."""
    if "$" not in text:
        return set()
    asked: set[str] = set()

    def note(name: str) -> None:
        asked.add(name)

    try:
        _EveryBranch(note).text(text, 0)
    except RecursionError:
        raise ExpandError("references go too deep") from None
    return asked


class _Expansion:
    def __init__(self, lookup: Callable[[str], str | None]) -> None:
        self._lookup = lookup
        self._size = 0
        self._forms = 0

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
            self._forms += 1
            if self._size > _SIZE or self._forms > _FORMS:
                raise ExpandError("the value is too large once it's expanded")
            out.append(value)
        return "".join(out)

    def _form(self, text: str, at: int, depth: int) -> tuple[str, int]:
        """What stands after a dollar sign at ``at - 1``: its value, and where it ends."""
        following = text[at : at + 1]
        if following == "$":
            return "$", at + 1
        if following in _BRACKETS:
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
        name, rest = match[0], stripped[match.end() :].lstrip()
        if rest.startswith("{") and name in _FUNCTIONS:
            return self._function(name, rest, depth)
        value = self._value(name, depth)
        return self._choice(bool(value), rest, inside, depth) if rest else value

    def _function(self, name: str, rest: str, depth: int) -> str:
        argument, end = _balanced(rest, 0)
        if rest[end:].strip():
            raise ExpandError(f'text after the closing brace in "{_shown(name + rest)}"')
        return _convert(name, self.text(argument, depth + 1))

    def _relation(self, text: str, depth: int) -> str:
        left, at = _balanced(text, 0)
        match = _RELATION.match(text, at)
        if match is None or text[match.end() : match.end() + 1] != "{":
            raise ExpandError(f'no comparison of {{…}} and {{…}} in "{_shown(text)}"')
        right, end = _balanced(text, match.end())
        sides = (self.text(left, depth + 1), self.text(right, depth + 1))
        holds = self._compare(match[1], bool(match[2]), *sides)
        rest = text[end:].lstrip()
        if not rest:
            return "true" if holds else ""
        return self._choice(holds, rest, text, depth)

    def _compare(self, sign: str, as_levels: bool, left: str, right: str) -> bool:
        relation = _RELATIONS[sign]
        if as_levels:
            return relation(_level(left), _level(right))
        if _DIGITS.match(left) and _DIGITS.match(right):
            return relation(int(left), int(right))
        return relation(left, right)

    def _choice(self, holds: bool, rest: str, whole: str, depth: int) -> str:
        """The one of the texts in ``rest`` that counts, expanded."""
        return self.text(_branches(rest, whole)[not holds], depth + 1)


class _EveryBranch(_Expansion):
    """Looks at both texts of a choice, whatever the values are."""

    def _choice(self, holds: bool, rest: str, whole: str, depth: int) -> str:
        for branch in _branches(rest, whole):
            self.text(branch, depth + 1)
        return ""

    def _compare(self, sign: str, as_levels: bool, left: str, right: str) -> bool:
        return False


def _branches(rest: str, whole: str) -> tuple[str, str]:
    """``?yes``, ``:no``, ``?{yes}``, ``:{no}`` or ``?{yes}:{no}``: the texts for true and false."""
    sign, payload = rest[0], rest[1:]
    if sign not in "?:":
        raise ExpandError(f'"?" or ":" expected after the name in "{_shown(whole)}"')
    braced = payload.lstrip()
    if not braced.startswith("{"):
        return (payload, "") if sign == "?" else ("", payload)
    first, end = _balanced(braced, 0)
    tail = braced[end:].strip()
    if sign == ":":
        if tail:
            raise ExpandError(f'"{_shown(tail)}" after a closing brace in "{_shown(whole)}"')
        return "", first
    return first, _second(tail, whole) if tail else ""


def _second(tail: str, whole: str) -> str:
    braced = tail[1:].lstrip()
    if tail[0] != ":" or not braced.startswith("{"):
        raise ExpandError(f'"{_shown(tail)}" after a closing brace in "{_shown(whole)}"')
    second, end = _balanced(braced, 0)
    if braced[end:].strip():
        raise ExpandError(f'text after the last brace in "{_shown(whole)}"')
    return second


def _balanced(text: str, at: int) -> tuple[str, int]:
    """The text between the bracket at ``at`` and its partner, and the place after that."""
    opening = text[at]
    depth = 0
    for match in _BRACKETS[opening].finditer(text, at):
        depth += 1 if match[0] == opening else -1
        if not depth:
            return text[at + 1 : match.start()], match.end()
    raise ExpandError(f'no closing "{_CLOSING[opening]}" in "{_shown(text[max(0, at - 1) :])}"')


def _level(text: str) -> tuple[int, ...]:
    parts = text.strip().split(".")
    if len(parts) > 3 or not all(_DIGITS.match(part) for part in parts):
        raise ExpandError(f'"{_shown(text)}" is no compatibility level such as 3.6')
    return (*map(int, parts), *([0] * (3 - len(parts))))


def _convert(name: str, domain: str) -> str:
    if len(domain) > _LONGEST_DOMAIN:
        raise ExpandError(f'{name}: "{_shown(domain)}" is too long for a domain')
    if domain.isascii() and name == "domain_to_ascii":
        return domain
    try:
        if name == "domain_to_ascii":
            return domain.encode("idna").decode("ascii")
        return domain.encode("ascii").decode("idna") if domain.isascii() else domain
    except UnicodeError:
        raise ExpandError(f'{name}: "{_shown(domain)}" is no domain') from None


def _shown(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
