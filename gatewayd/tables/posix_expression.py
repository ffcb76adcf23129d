"""POSIX regular expressions, extended and basic (IEEE 1003.1 §9), in Python's notation.

Both say the same of most texts; they differ in brackets (a backslash is an ordinary sign there),
repeated repetitions (Python's ``*?`` and ``*+`` are something else), anchors, and what escapes
mean. GNU's additions (``\\w \\W \\s \\S \\b \\B \\< \\> \\` \\'`` and back-references) are kept.

One difference stays: of alternatives that both match, POSIX takes the longest and Python the
first. That changes no match, but it may change what a group holds.
"""

from __future__ import annotations

import re

__all__ = ["ExpressionError", "translate"]

_CLASSES = {
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
_GNU = {"<": r"\b(?=\w)", ">": r"\b(?<=\w)", "`": r"\A", "'": r"\Z", "b": r"\b", "B": r"(?!\b)"}
_INTERVAL = re.compile(r"([0-9]*)(,?)([0-9]*)")
_MOST = 32767
_SIMPLE = frozenset("*+?")


class ExpressionError(Exception):
    """An expression that has no meaning."""


def translate(pattern: str, *, extended: bool = True, newline: bool = False) -> str:
    """The pattern for re.compile, with re.DOTALL unless ``newline`` (REG_NEWLINE).

    Raises ExpressionError.
    """
    return _Translation(pattern, extended, newline).run()


class _Translation:
    """A walk over one pattern. ``out`` holds finished pieces; ``atom`` is where the last began."""

    def __init__(self, pattern: str, extended: bool, newline: bool) -> None:
        self.pattern = pattern
        self.extended = extended
        self.newline = newline
        self.at = 0
        self.out: list[str] = []
        self.atom: int | None = None
        self.quantifier = ""
        self.open: list[int] = []
        self.groups = 0
        self.closed: set[int] = set()
        self.numbers: list[int] = []

    def run(self) -> str:
        while self.at < len(self.pattern):
            char = self.pattern[self.at]
            self.at += 1
            if char == "\\":
                self._escape()
            elif char == "[":
                self._add(self._bracket())
            elif char == ".":
                self._add(r"[^\n]" if self.newline else ".")
            elif char == "^" and (self.extended or self._is_at_start()):
                self._assert("(?m:^)" if self.newline else r"\A")
            elif char == "$" and (self.extended or self._is_at_end()):
                self._assert(r"(?=\n|\Z)" if self.newline else r"\Z")
            elif char == "*" or (self.extended and char in "+?{()|"):
                self._operator(char)
            else:
                self._add(re.escape(char))
        if self.open:
            raise ExpressionError('a "(" without ")"')
        return "".join(self.out)

    def _escape(self) -> None:
        if self.at >= len(self.pattern):
            raise ExpressionError("a backslash at the end")
        char = self.pattern[self.at]
        self.at += 1
        if char in "123456789":
            if int(char) not in self.closed:
                raise ExpressionError(f"\\{char}: there's no such group before it")
            self._add(f"(?:\\{char})")
        elif char in _GNU:
            self._assert(_GNU[char])
        elif char in "wWsS":
            self._add(f"\\{char}")
        elif not self.extended and char in "(){|+?":
            self._operator(char)
        elif char.isalnum():
            raise ExpressionError(
                f"\\{char} means nothing in POSIX expressions (there are classes like "
                "[[:digit:]], and tables of type pcre)"
            )
        else:
            self._add(re.escape(char))

    def _operator(self, char: str) -> None:
        if char == "(":
            self._group()
        elif char == ")":
            self._end_group()
        elif char == "|":
            self._add("|")
            self.atom = None
        elif char == "{":
            self._repeat(self._interval())
        else:
            self._repeat(char)

    def _add(self, piece: str) -> None:
        self.atom = len(self.out)
        self.quantifier = ""
        self.out.append(piece)

    def _assert(self, piece: str) -> None:
        self.out.append(piece)
        self.atom = None

    def _group(self) -> None:
        self.groups += 1
        self.numbers.append(self.groups)
        self.open.append(len(self.out))
        self.out.append("(")
        self.atom = None

    def _end_group(self) -> None:
        if not self.open:
            if not self.extended:
                raise ExpressionError(r'a "\)" without "\("')
            self._add(r"\)")
            return
        self.closed.add(self.numbers.pop())
        self.out.append(")")
        self.atom = self.open.pop()
        self.quantifier = ""

    def _repeat(self, quantifier: str) -> None:
        if self.atom is None:
            if not self.extended and quantifier in _SIMPLE:
                self._add(f"\\{quantifier}")  # nothing to repeat: an ordinary sign
                return
            raise ExpressionError(f'"{quantifier}" with nothing to repeat before it')
        if not self.extended and self.quantifier and quantifier[0] in "*{":
            raise ExpressionError(f'"{quantifier}" after another repetition')
        if not self.quantifier:
            self.quantifier = quantifier
            self.out.append(quantifier)
        elif self.quantifier in _SIMPLE and quantifier in _SIMPLE:
            # Nested, they'd mean the same, but take exponential time.
            self.quantifier = quantifier if quantifier == self.quantifier else "*"
            self.out[-1] = self.quantifier
        else:
            self.out.insert(self.atom, "(?:")
            self.out.append(")" + quantifier)
            self.quantifier = ")" + quantifier

    def _interval(self) -> str:
        match = _INTERVAL.match(self.pattern, self.at)
        assert match is not None
        low, comma, high = match.groups()
        closing = "}" if self.extended else "\\}"
        if not self.pattern.startswith(closing, match.end()) or not (low or comma):
            raise ExpressionError('expected "{n}", "{n,}" or "{n,m}"')
        if len(low) > 5 or len(high) > 5 or max(int(low or 0), int(high or 0)) > _MOST:
            raise ExpressionError(f"repeated more than {_MOST} times")
        if high and int(low or 0) > int(high):
            raise ExpressionError(f"{{{low},{high}}}: from more to less")
        self.at = match.end() + len(closing)
        return f"{{{low or 0}{comma}{high}}}"

    def _is_at_start(self) -> bool:
        before = self.pattern[: self.at - 1]
        return not before or before.endswith(("\\(", "\\|"))

    def _is_at_end(self) -> bool:
        after = self.pattern[self.at :]
        return not after or after.startswith(("\\)", "\\|"))

    def _bracket(self) -> str:
        """A bracket expression: ``]`` first and a backslash anywhere are ordinary signs."""
        negated = self.pattern.startswith("^", self.at)
        self.at += negated
        out: list[str] = []
        first = True
        while True:
            if self.at >= len(self.pattern):
                raise ExpressionError('a "[" without "]"')
            if self.pattern[self.at] == "]" and not first:
                self.at += 1
                break
            first = False
            out.append(self._bracket_member())
        if negated and self.newline:
            out.append(r"\n")
        return f"[{'^' if negated else ''}{''.join(out)}]"

    def _bracket_member(self) -> str:
        """A class, or a sign, or a range of signs."""
        if self.pattern.startswith("[:", self.at):
            name = self._named(":")
            if name not in _CLASSES:
                raise ExpressionError(f'unknown character class "[:{name}:]"')
            return self._not_in_range(_CLASSES[name])
        if self.pattern.startswith("[=", self.at):
            return self._not_in_range(_in_set(self._collating("=")))
        low = self._sign()
        if not self._is_range():
            return _in_set(low)
        self.at += 1
        if self.pattern.startswith(("[=", "[:"), self.at):
            raise ExpressionError(f'"{low}-[": a range ends with a sign')
        high = self._sign()
        if high < low or self._is_range():
            raise ExpressionError(f'"{low}-{high}": no range')
        return f"{_in_set(low)}-{_in_set(high)}"

    def _not_in_range(self, members: str) -> str:
        if self._is_range():
            raise ExpressionError('"[: :]-" or "[= =]-": a range begins with a sign')
        return members

    def _is_range(self) -> bool:
        """Whether a ``-`` that isn't the last sign of the bracket comes next."""
        following = self.pattern[self.at : self.at + 2]
        return len(following) == 2 and following[0] == "-" and following[1] != "]"

    def _sign(self) -> str:
        """One sign, also as ``[.-.]``."""
        if self.pattern.startswith("[.", self.at):
            return self._collating(".")
        if self.at >= len(self.pattern):
            raise ExpressionError('a "[" without "]"')
        self.at += 1
        return self.pattern[self.at - 1]

    def _collating(self, mark: str) -> str:
        name = self._named(mark)
        if len(name) != 1:
            raise ExpressionError(f'unknown collating element "{name}"')
        return name

    def _named(self, mark: str) -> str:
        end = self.pattern.find(f"{mark}]", self.at + 2)
        if end < 0:
            raise ExpressionError(f'a "[{mark}" without "{mark}]"')
        name = self.pattern[self.at + 2 : end]
        self.at = end + 2
        return name


def _in_set(char: str) -> str:
    return f"\\{char}" if char in "[]\\^-&|~" else char
