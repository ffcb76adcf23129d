"""regexp, pcre and cidr: rules in a file, the first that matches wins.

    /pattern/flags  result        !/pattern/flags  result
    if /pattern/flags             if !/pattern/flags      endif
    network/length  result        !network  result        (cidr)

$1, ${1} and $(1) in a result stand for the pattern's groups, $$ for a dollar sign.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zope.interface import implementer

from gatewayd.config.logical_lines import LogicalLine, logical_lines
from gatewayd.errors import ConfigError, ConfigProblem
from gatewayd.interfaces import ILookupTable
from gatewayd.tables.memory import FailTable

__all__ = ["PatternTable", "cidr_table", "pcre_table", "regexp_table"]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Matches = Callable[[Any], re.Match[str] | bool | None]
_AFTER_PATTERN = re.compile(r"(\S*)\s*(.*)", re.S)
_SUBSTITUTION = re.compile(r"\$(?:(\d)|\{(\d{1,2})\}|\((\d{1,2})\)|(\$)|)")
_POSIX_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": r"\x21-\x7e",
    "lower": "a-z",
    "print": r"\x20-\x7e",
    "punct": r"!-/:-@\[-`{-~",
    "space": r" \t\r\n\f\v",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
_FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE}


class _Bad(Exception):
    pass


@dataclass(frozen=True, slots=True)
class _Rule:
    """A rule, or the opening of an if (``end`` is then the number of the rule after endif)."""

    matches: _Matches
    negated: bool
    result: str | None
    end: int = 0


@implementer(ILookupTable)
class PatternTable:
    """Rules read once; a change is seen at the next reload."""

    fixed_string = False

    def __init__(
        self, name: str, rules: tuple[_Rule, ...], subject: Callable[[str], Any] = str
    ) -> None:
        self.name = name
        self._rules = rules
        self._subject = subject

    async def lookup(self, key: str) -> str | None:
        """The result of the first rule that matches the key."""
        subject = self._subject(key)
        at = 0 if subject is not None else len(self._rules)
        while at < len(self._rules):
            rule = self._rules[at]
            match = rule.matches(subject)
            if bool(match) is rule.negated:
                at = rule.end or at + 1
            elif rule.result is None:
                at += 1
            else:
                return _substituted(rule.result, match)
        return None

    def close(self) -> None:
        """Nothing is open."""


def _substituted(result: str, match: object) -> str:
    if "$" not in result or not isinstance(match, re.Match):
        return result.replace("$$", "$")

    def group(found: re.Match[str]) -> str:
        if found[4]:
            return "$"
        number = found[1] or found[2] or found[3]
        return match.group(int(number)) or "" if number else "$"

    return _SUBSTITUTION.sub(group, result)


def regexp_table(reference: str, path: str) -> ILookupTable:
    """POSIX extended regular expressions. Raises ConfigError with file and line."""
    return _open(reference, path, lambda text, _: _expression(text, _posix_to_python, "imx"))


def pcre_table(reference: str, path: str) -> ILookupTable:
    """Perl's regular expressions, as far as Python has them. Raises ConfigError likewise."""
    return _open(reference, path, lambda text, _: _expression(text, str, "imsxAEUX"))


def cidr_table(reference: str, path: str) -> ILookupTable:
    """Networks, asked with addresses. Raises ConfigError likewise."""
    return _open(reference, path, _network, _address)


_Parser = Callable[[str, bool], tuple[_Matches, str, int]]


def _open(
    reference: str, path: str, parser: _Parser, subject: Callable[[str], Any] = str
) -> ILookupTable:
    try:
        text = Path(path).read_bytes().decode("utf-8", "replace")
    except OSError as error:
        return FailTable(reference, error.strerror or str(error))
    return PatternTable(reference, tuple(_rules(text, path, parser)), subject)


def _rules(text: str, path: str, parser: _Parser) -> list[_Rule]:
    rules: list[_Rule] = []
    opened: list[int] = []
    problems: list[ConfigProblem] = []
    for line in logical_lines(text):
        try:
            _add_rule(rules, opened, line, parser)
        except _Bad as error:
            problems.append(ConfigProblem(path, line.number, str(error)))
    if opened:
        problems.append(ConfigProblem(path, 0, '"if" without "endif"'))
    if problems:
        raise ConfigError(problems)
    return rules


def _add_rule(rules: list[_Rule], opened: list[int], line: LogicalLine, parser: _Parser) -> None:
    text = line.text.strip()
    word = text.split(None, 1)[0].lower()
    if word == "endif":
        if not opened:
            raise _Bad('"endif" without "if"')
        start = opened.pop()
        before = rules[start]
        rules[start] = _Rule(before.matches, before.negated, None, len(rules))
        return
    is_if = word == "if" or text[:3].lower() in ("if/", "if!")
    if is_if:
        text = text[2:].strip()
    negated = text.startswith("!")
    matches, result, groups = parser(text[negated:].lstrip(), negated)
    if is_if:
        opened.append(len(rules))
        rules.append(_Rule(matches, negated, None))
        return
    if not result:
        raise _Bad("a pattern without a result")
    _check_groups(result, groups, negated)
    rules.append(_Rule(matches, negated, result))


def _check_groups(result: str, groups: int, negated: bool) -> None:
    for found in _SUBSTITUTION.finditer(result):
        number = found[1] or found[2] or found[3]
        if number is None and not found[4]:
            raise _Bad(f'"$" without a group\'s number in "{result}"')
        if number is not None and negated:
            raise _Bad(f"${number} in the result of a negated pattern")
        if number is not None and int(number) > groups:
            raise _Bad(f"${number}: the pattern has {groups} groups")


def _expression(
    text: str, translate: Callable[[str], str], known_flags: str
) -> tuple[_Matches, str, int]:
    if not text or text[0].isalnum() or text[0].isspace():
        raise _Bad('expected "/pattern/flags result"')
    delimiter = text[0]
    end = _pattern_end(text, delimiter)
    pattern = text[1:end]
    letters, result = _AFTER_PATTERN.match(text[end + 1 :]).groups()  # type: ignore[union-attr]
    flags = _flags(letters, known_flags)
    try:
        compiled = re.compile(translate(pattern), flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise _Bad(f'pattern "{pattern[:80]}": {error}') from None
    return compiled.search, result.strip(), compiled.groups


def _pattern_end(text: str, delimiter: str) -> int:
    place = 1
    while place < len(text):
        if text[place] == "\\":
            place += 1
        elif text[place] == delimiter:
            return place
        place += 1
    raise _Bad(f'no closing "{delimiter}" after the pattern')


def _flags(letters: str, known: str) -> re.RegexFlag:
    """Patterns ignore case unless ``i`` turns that off; other letters turn their flag over."""
    flags = re.IGNORECASE
    if known.endswith("X"):
        flags |= re.DOTALL
    for letter in letters:
        if letter not in known:
            raise _Bad(f'unknown flag "{letter}": one of {known}')
        flags ^= _FLAGS.get(letter, re.NOFLAG) if letter != "x" or known.endswith("X") else 0
    return flags


def _posix_to_python(pattern: str) -> str:
    """POSIX 1003.2 extended syntax as Python writes it: brackets and their classes differ."""
    return "".join(_translated(pattern))


def _translated(pattern: str) -> Iterator[str]:
    place = 0
    while place < len(pattern):
        char = pattern[place]
        if char == "\\" and place + 1 < len(pattern):
            following = pattern[place + 1]
            yield _escaped(following)
            place += 2
        elif char == "[":
            bracket, place = _bracket(pattern, place)
            yield bracket
        elif char == "(" and pattern.startswith("(?", place):
            raise _Bad('"(?" is not part of POSIX expressions; use pcre')
        elif char == "$":
            yield r"\Z"
            place += 1
        else:
            yield char
            place += 1


def _escaped(char: str) -> str:
    """GNU's word signs as Python has them; an escaped letter of no meaning is that letter."""
    if char in "<>":
        return r"\b"
    return char if char.isalnum() and char not in "bBsSwW" else f"\\{char}"


def _bracket(pattern: str, start: int) -> tuple[str, int]:
    """A bracket expression, and the place after it: a backslash in it is an ordinary sign."""
    place = start + 1
    out = ["["]
    if pattern.startswith("^", place):
        out.append("^")
        place += 1
    first = True
    while place < len(pattern):
        char = pattern[place]
        if char == "]" and not first:
            return "".join(out) + "]", place + 1
        first = False
        if pattern.startswith("[:", place):
            end = pattern.find(":]", place)
            name = pattern[place + 2 : end] if end > 0 else ""
            if name not in _POSIX_CLASSES:
                raise _Bad(f'unknown character class "[:{name}:]"')
            out.append(_POSIX_CLASSES[name])
            place = end + 2
            continue
        out.append(f"\\{char}" if char in "[]\\&~|^" else char)
        place += 1
    raise _Bad('no closing "]" in the pattern')


def _network(text: str, negated: bool) -> tuple[_Matches, str, int]:
    pattern, *rest = text.split(None, 1)
    bare = pattern.replace("[", "").replace("]", "")
    try:
        network = ipaddress.ip_network(bare, strict=True)
    except ValueError as error:
        raise _Bad(f'"{pattern}": {error}') from None

    def matches(address: _Address) -> bool:
        # Neither a rule nor its negation says anything of the other address family.
        return address in network if address.version == network.version else negated

    return matches, "".join(rest).strip(), 0


def _address(key: str) -> _Address | None:
    try:
        return ipaddress.ip_address(key)
    except ValueError:
        return None
