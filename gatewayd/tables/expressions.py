"""regexp and pcre: ``/pattern/flags result``; patterns ignore case unless ``i`` is given.

Any sign may stand for the slashes. Each flag turns its meaning over:

    regexp  i ignore case (on)   m ^ and $ at lines, . not at line ends   x extended syntax (on)
    pcre    i ignore case (on)   m ^ and $ at lines   s . at line ends too (on)   x blanks ignored
            A at the start only  E $ at the very end only   U lazy repetition   X no effect
"""

from __future__ import annotations

import re
import warnings

from gatewayd.interfaces import ILookupTable
from gatewayd.tables import perl_expression, posix_expression
from gatewayd.tables.posix_expression import ExpressionError
from gatewayd.tables.rules import Pattern, RuleError, open_rules

__all__ = ["pcre_pattern", "pcre_table", "regexp_pattern", "regexp_table"]

_FLAGS_AND_RESULT = re.compile(r"(\S*)\s*(.*)", re.DOTALL)


def regexp_table(reference: str, path: str) -> ILookupTable:
    """POSIX expressions. Raises ConfigError with file and line."""
    return open_rules(reference, path, regexp_pattern)


def pcre_table(reference: str, path: str) -> ILookupTable:
    """Perl's expressions, as far as Python has them. Raises ConfigError with file and line."""
    return open_rules(reference, path, pcre_pattern)


def regexp_pattern(text: str) -> tuple[Pattern, str]:
    """(pattern, result) of a rule. Raises RuleError."""
    expression, letters, result = _split(text, "imx")
    newline, extended = "m" in letters, "x" not in letters
    flags = re.ASCII | (re.NOFLAG if newline else re.DOTALL)
    if "i" not in letters:
        flags |= re.IGNORECASE
    try:
        translated = posix_expression.translate(expression, extended=extended, newline=newline)
    except ExpressionError as error:
        raise _bad(expression, error) from None
    return _compiled(expression, translated, flags), result


def pcre_pattern(text: str) -> tuple[Pattern, str]:
    """(pattern, result) of a rule. Raises RuleError."""
    expression, letters, result = _split(text, "imsxAEUX")
    flags = re.ASCII
    for letter, flag, is_on in (
        ("i", re.IGNORECASE, True),
        ("s", re.DOTALL, True),
        ("m", re.MULTILINE, False),
        ("x", re.VERBOSE, False),
    ):
        if (letter in letters) is not is_on:
            flags |= flag
    try:
        translated = perl_expression.translate(
            expression, ungreedy="U" in letters, dollar_end_only="E" in letters
        )
    except ExpressionError as error:
        raise _bad(expression, error) from None
    if "A" in letters:
        translated = rf"\A(?:{translated})"
    return _compiled(expression, translated, flags), result


def _split(text: str, known: str) -> tuple[str, set[str], str]:
    """(pattern, flags given an odd number of times, what follows)."""
    if not text or text[0].isalnum() or text[0].isspace() or text[0] == "\\":
        raise RuleError('expected "/pattern/flags result"')
    end = _pattern_end(text)
    match = _FLAGS_AND_RESULT.match(text, end + 1)
    assert match is not None
    letters, result = match.groups()
    for letter in letters:
        if letter not in known:
            raise RuleError(f'unknown flag "{letter}" after the pattern: one of {known}')
    odd = {letter for letter in letters if letters.count(letter) % 2}
    return text[1:end], odd, result.strip()


def _pattern_end(text: str) -> int:
    at = 1
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == text[0]:
            return at
        at += 1
    raise RuleError(f'no closing "{text[0]}" after the pattern')


def _compiled(expression: str, translated: str, flags: re.RegexFlag | int) -> Pattern:
    try:
        with warnings.catch_warnings():
            # What Python may give another meaning some day is no pattern to rely on.
            warnings.simplefilter("error", FutureWarning)
            compiled = re.compile(translated, flags)
    except (re.error, OverflowError, RecursionError, FutureWarning) as error:
        raise _bad(expression, error) from None
    return Pattern(compiled.search, compiled.groups)


def _bad(expression: str, error: Exception) -> RuleError:
    return RuleError(f'pattern "{expression[:80]}": {error}')
