"""Perl's regular expressions (PCRE) in Python's notation.

Python's come from the same family; what is only written differently is rewritten here, and what
Python doesn't have (recursion, ``\\K``, conditions on more than groups) is an error of re.compile.
"""

from __future__ import annotations

import re

from gatewayd.tables.posix_expression import ExpressionError

__all__ = ["translate"]

_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": r"\x21-\x7e",
    "lower": "a-z",
    "print": r"\x20-\x7e",
    "punct": r"!-/:-@\[-`{-~",
    "space": r" \t\r\n\f\v",
    "upper": "A-Z",
    "word": r"\w",
    "xdigit": "0-9A-Fa-f",
}
_ESCAPES = {
    "z": r"\Z",
    "Z": r"(?=\n?\Z)",
    "h": r"[ \t]",
    "H": r"[^ \t]",
    "N": r"[^\n]",
    "R": r"(?:\r\n|[\n\v\f\r])",
    "e": r"\x1b",
    "G": r"\A",
    "B": r"(?!\b)",  # unlike Python's, it's true of an empty text
}
_IN_SET = {"h": r" \t", "e": r"\x1b", "b": r"\x08"}
_HEX = re.compile(r"x\{([0-9A-Fa-f]{1,6})\}")
_REPETITION = re.compile(r"\{[0-9]+(?:,[0-9]*)?\}")
_QUANTIFIER = re.compile(r"[*+?]|" + _REPETITION.pattern)
_NUMBERED = re.compile(r"g(?:\{([1-9][0-9]?)\}|([1-9][0-9]?))")
_BACK = re.compile(r"k(?:<(\w+)>|\{(\w+)\}|'(\w+)')|g\{([A-Za-z_]\w*)\}")
_NAMED = re.compile(r"\(\?(?:<(?![=!])|')([A-Za-z_]\w*)[>']")
_CLASS = re.compile(r"\[:(\^?)([a-z]+):\]")


def translate(pattern: str, *, ungreedy: bool = False, dollar_end_only: bool = False) -> str:
    """The pattern for re.compile. Raises ExpressionError."""
    out: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            piece, at = _escape(pattern, at + 1)
        elif char == "[":
            piece, at = _bracket(pattern, at + 1)
        elif match := _NAMED.match(pattern, at):
            piece, at = f"(?P<{match[1]}>", match.end()
        elif char == "$" and dollar_end_only:
            piece, at = r"\Z", at + 1
        elif char == "{" and not _REPETITION.match(pattern, at):
            piece, at = r"\{", at + 1
        elif ungreedy and (match := _QUANTIFIER.match(pattern, at)) and out and out[-1] != "(":
            piece, at = _swapped(pattern, match)
        else:
            piece, at = char, at + 1
        out.append(piece)
    return "".join(out)


def _swapped(pattern: str, match: re.Match[str]) -> tuple[str, int]:
    """A greedy quantifier made lazy, a lazy one greedy."""
    following = pattern[match.end() : match.end() + 1]
    if following == "?":
        return match[0], match.end() + 1
    if following == "+":
        return match[0] + "+", match.end() + 1
    return match[0] + "?", match.end()


def _escape(pattern: str, at: int) -> tuple[str, int]:
    """(what the escape is in Python, the place after it); ``at`` is behind the backslash."""
    if at >= len(pattern):
        raise ExpressionError("a backslash at the end")
    char = pattern[at]
    if char == "Q":
        end = pattern.find(r"\E", at)
        quoted = pattern[at + 1 : end] if end >= 0 else pattern[at + 1 :]
        return re.escape(quoted), end + 2 if end >= 0 else len(pattern)
    if char == "E":
        return "", at + 1
    if match := _HEX.match(pattern, at):
        return _code_point(match[1]), match.end()
    if match := _NUMBERED.match(pattern, at):
        return f"(?:\\{match[1] or match[2]})", match.end()
    if match := _BACK.match(pattern, at):
        return f"(?P={match[match.lastindex or 0]})", match.end()
    if char in _ESCAPES:
        return _ESCAPES[char], at + 1
    return f"\\{char}", at + 1


def _code_point(digits: str) -> str:
    number = int(digits, 16)
    if number > 0x10FFFF:
        raise ExpressionError(f"\\x{{{digits}}}: no such sign")
    return re.escape(chr(number))


def _bracket(pattern: str, at: int) -> tuple[str, int]:
    out = ["["]
    if pattern.startswith("^", at):
        out.append("^")
        at += 1
    if pattern.startswith("]", at):
        out.append(r"\]")
        at += 1
    while at < len(pattern):
        char = pattern[at]
        if char == "]":
            return "".join(out) + "]", at + 1
        if char == "\\":
            following = pattern[at + 1 : at + 2]
            if following in _IN_SET:
                piece, at = _IN_SET[following], at + 2
            else:
                piece, at = _escape(pattern, at + 1)
        elif match := _CLASS.match(pattern, at):
            piece, at = _class(match), match.end()
        else:
            piece, at = f"\\{char}" if char in "[&|~" else char, at + 1
        out.append(piece)
    raise ExpressionError('a "[" without "]"')


def _class(match: re.Match[str]) -> str:
    if match[2] not in _CLASSES or match[1]:
        raise ExpressionError(f'unknown character class "{match[0]}"')
    return _CLASSES[match[2]]
