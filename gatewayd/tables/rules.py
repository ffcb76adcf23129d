"""Tables of rules: asked from top to bottom, the first that matches gives its result.

    PATTERN   result          !PATTERN  result (if it doesn't match)
    if PATTERN … endif        if !PATTERN … endif: the rules between count only then

What a pattern is, regexp, pcre and cidr say. Rules are read once; a change is seen at a reload.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zope.interface import implementer

from gatewayd.config.logical_lines import LogicalLine, logical_lines
from gatewayd.errors import ConfigError, ConfigProblem, TableError
from gatewayd.interfaces import ILookupTable
from gatewayd.maillog import MailLog
from gatewayd.tables.memory import FailTable
from gatewayd.tables.time_limit import OutOfTime, ProcessorTimeLimit

__all__ = [
    "Pattern",
    "PatternParser",
    "Rule",
    "RuleError",
    "RuleTable",
    "Template",
    "open_rules",
    "parse_rules",
]

log = MailLog("tables")

_IF = re.compile(r"if(?=[\s!]|[^\w\s])\s*", re.IGNORECASE)
_ENDIF = re.compile(r"endif(?:\s|\Z)", re.IGNORECASE)
_NESTING = 100
_TIME_LIMIT = ProcessorTimeLimit(0.5)
"""For all rules together: thousands of them take a hundredth of that."""


class RuleError(Exception):
    """A rule that has no meaning; says why."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A condition: ``matches`` gives something true, for regular expressions the match.

    ``groups``: how many a result may refer to; None if a dollar sign in it is only that.
    ``differs``: what ``!`` asks for, if it isn't just the opposite.
    """

    matches: Callable[[Any], Any]
    groups: int | None = None
    differs: Callable[[Any], Any] | None = None


_REFERENCE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\}|\((\w+)\))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Template:
    """A result: text, and the numbers of groups between."""

    parts: tuple[str | int, ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """``$1``, ``${1}`` and ``$(1)`` are groups, ``$$`` is a dollar. Raises RuleError."""
        parts: list[str | int] = []
        end = 0
        for match in _REFERENCE.finditer(text):
            parts.append(text[end : match.start()])
            end = match.end()
            parts.append("$" if match[1] else _group(match, text))
        parts.append(text[end:])
        return cls(tuple(part for part in parts if part != ""))

    @property
    def groups(self) -> tuple[int, ...]:
        return tuple(part for part in self.parts if isinstance(part, int))

    def filled(self, match: Any) -> str:
        """The result; a group that took no part is empty."""
        parts = self.parts
        if len(parts) == 1 and isinstance(parts[0], str):
            return parts[0]
        return "".join(part if isinstance(part, str) else match[part] or "" for part in parts)


def _group(match: re.Match[str], text: str) -> int:
    name = match[2] or match[3] or match[4] or ""
    if not name.isdigit() or not 0 < int(name[:9]) < 1000:
        raise RuleError(f'"{text[:80]}": expected $1, ${{1}} or $(1) for a group, $$ for a dollar')
    return int(name)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, or (without a result) the opening of an if; ``end`` is then where it ends.

    ``line`` is where the file has it.
    """

    pattern: Pattern
    negated: bool
    result: Template | None = None
    end: int = 0
    line: int = 0


@implementer(ILookupTable)
class RuleTable:
    """Rules in order. ``subject`` makes of a key what patterns match; None matches nothing."""

    fixed_string = False

    def __init__(
        self, name: str, rules: tuple[Rule, ...], subject: Callable[[str], Any] = str
    ) -> None:
        self.name = name
        self._rules = rules
        self._subject = subject

    async def lookup(self, key: str) -> str | None:
        """The result of the first rule that matches the whole key.

        Raises TableError if that takes too long: for some expressions there are keys that take
        exponential time, and strangers choose keys.
        """
        subject = self._subject(key) if key else None
        if subject is None or not self._rules:
            return None
        at = 0
        try:
            with _TIME_LIMIT:
                while at < len(self._rules):
                    rule = self._rules[at]
                    match = rule.pattern.matches(subject)
                    if bool(match) is rule.negated:
                        at = rule.end or at + 1
                    elif rule.result is not None:
                        return rule.result.filled(match)
                    else:
                        at += 1
        except OutOfTime:
            raise self._too_slow(self._rules[min(at, len(self._rules) - 1)], key) from None
        return None

    def _too_slow(self, rule: Rule, key: str) -> TableError:
        where = f"{self.name}, line {rule.line}"
        log.warning(f'{where}: the pattern takes too long for "{key[:200]}"')
        return TableError(f"{where}: the pattern takes too long")

    def without_substitution(self) -> RuleTable:
        """The table without rules that put parts of the key into the result.

        As Postfix does for transport tables: who writes an address must not choose its route.
        """
        kept = []
        for rule in self._rules:
            if rule.result is not None and rule.result.groups:
                log.warning(f"{self.name}: a rule with $number is not allowed here: ignored")
                # Its place stays, so that the ends of ifs stay true.
                rule = replace(rule, result=None, end=0)
            kept.append(rule)
        return RuleTable(self.name, tuple(kept), self._subject)

    def close(self) -> None:
        """Nothing is open."""


PatternParser = Callable[[str], tuple[Pattern, str]]
"""Takes a line's text from the pattern on; gives the pattern and what follows it."""


def open_rules(
    reference: str, path: str, parser: PatternParser, subject: Callable[[str], Any] = str
) -> ILookupTable:
    """The table of a file of rules. Raises ConfigError naming each bad line.

    A file that cannot be read gives a table whose look-ups raise TableError.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        reason = f"open {path}: {error.strerror}"
        log.warning(f"{reference} is unavailable. {reason}")
        return FailTable(reference, reason)
    return RuleTable(reference, parse_rules(text, path, parser), subject)


def parse_rules(text: str, file: str, parser: PatternParser) -> tuple[Rule, ...]:
    """The rules in a whole file's text. Raises ConfigError naming each bad line."""
    return tuple(_Reading(file, parser).rules(text))


class _Reading:
    """Rules as they come from a file, with the ifs that are open."""

    def __init__(self, path: str, parser: PatternParser) -> None:
        self._path = path
        self._parser = parser
        self._rules: list[Rule] = []
        self._opened: list[tuple[int, int]] = []

    def rules(self, text: str) -> list[Rule]:
        problems = list(self._problems(text))
        problems += [
            ConfigProblem(self._path, line, '"if" without "endif"') for _, line in self._opened
        ]
        if problems:
            raise ConfigError(problems)
        return self._rules

    def _problems(self, text: str) -> Iterator[ConfigProblem]:
        for line in logical_lines(text):
            try:
                self._add(line)
            except RuleError as error:
                yield ConfigProblem(self._path, line.number, str(error))

    def _add(self, line: LogicalLine) -> None:
        text = line.text.strip()
        if line.garbled:
            raise RuleError("non-UTF-8 input")
        if line.orphan:
            raise RuleError("the line starts with white space, but continues nothing")
        if _ENDIF.match(text):
            self._end_if()
            return
        opening = _IF.match(text)
        text = text[opening.end() :] if opening else text
        negated = text.startswith("!")
        pattern, result = self._parser(text[negated:].lstrip())
        if negated and pattern.differs is not None:
            pattern, negated = Pattern(pattern.differs), False
        if opening:
            if len(self._opened) >= _NESTING:
                raise RuleError(f"more than {_NESTING} ifs within each other")
            self._opened.append((len(self._rules), line.number))
            self._rules.append(Rule(pattern, negated, line=line.number))
            return
        if not result:
            raise RuleError("a pattern without a result")
        template = _checked(result, pattern, negated)
        self._rules.append(Rule(pattern, negated, template, line=line.number))

    def _end_if(self) -> None:
        if not self._opened:
            raise RuleError('"endif" without "if"')
        start, _ = self._opened.pop()
        self._rules[start] = replace(self._rules[start], end=len(self._rules))


def _checked(result: str, pattern: Pattern, negated: bool) -> Template:
    if pattern.groups is None:
        return Template((result,))
    template = Template.parse(result)
    for number in template.groups:
        if negated:
            raise RuleError(f"${number} in the result of a negated pattern")
        if number > pattern.groups:
            raise RuleError(f"${number}: the pattern has {pattern.groups} groups")
    return template
