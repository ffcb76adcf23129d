"""POSIX expressions in Python's notation, beside glibc, whose expressions Postfix takes.

What one refuses the other refuses, and what one finds the other finds.
"""

from __future__ import annotations

import re
from collections import Counter

from gatewayd.tables.posix_expression import ExpressionError, translate
from tests.fuzz.inputs import split
from tests.libc_expressions import BadExpression, Expression

SEEDS = (
    b"^(a|b)*c$\nabc\nabab\n",
    b"[[:alpha:]][^]x-z]+\\.(com|net)\nab.com\n",
    b"a\\{2,3\\}\\(b\\)*\naab\n",
    b"a{1,3}?b+|^$\n\naab",
    b"\\<x\\>\\w\\b\n x y\n",
)
WORDS = (
    *(b"a", b"b", b"x", b"0", b"(", b")", b"[", b"]", b"*", b"+", b"?", b"|", b"{", b"}", b","),
    *(b"1", b"2", b"^", b"$", b".", b"\\", b"[:alpha:]", b"[=a=]", b"[.-.]", b"-", b"\n", b"@"),
    *(b"\\w", b"\\W", b"\\<", b"\\>", b"\\b", b"\\B", b"\\`", b"\\'", b"\\(", b"\\)", b"\\{"),
    *(b"\\}", b"\\|", b"\\+", b"\\?", b"[^", b" ", b"A", b"\\.", b"\\s", b"_", b"\\1"),
)
FOUND = (
    b"\\?\xb7\xab\xad!\xc9\xc6s\x91",
    b"}|\\B\n\xa2\xe2\x03\xa7\x86u7\xab",
    b"[.-[=a=]]I\xa2~\xfe\x7f\xf1\x19\x1f",
    b"[[:alpha:]-z]'\xd31\x889\xd9\x0e\xb3",
)
# glibc reads these escapes as if they were none, for no reason that POSIX would know.
_QUIRK = re.compile(r"\{[0-9]*\\[0-9,]|\{[0-9]*,[0-9]*\\[0-9]")
_LARGE = re.compile(r"\{[^}]*[0-9]{2}")
# Of groups in other branches, glibc allows none and Python all; they'd match nothing anyway.
_REFERENCE = re.compile(r"\\[1-9]")


def _is_much(pattern: str) -> bool:
    """Whether glibc, which copies what is repeated, might want gigabytes for it."""
    signs = Counter(pattern)
    repetitions = signs["+"] + 3 * signs["{"]
    return _LARGE.search(pattern) is not None or repetitions > 8 or len(pattern) > 100


def target(data: bytes) -> bool:
    """A pattern in the first line, subjects in the others."""
    payload, decisions = split(data)
    pattern, *subjects = payload[:400].decode("ascii", "ignore").replace("\0", "").split("\n")
    extended, newline = decisions.random() < 0.8, decisions.random() < 0.3
    try:
        translated = translate(pattern, extended=extended, newline=newline)
        ours = re.compile(translated, re.ASCII | (re.NOFLAG if newline else re.DOTALL))
    except (ExpressionError, re.error) as error:
        refusal = error
        ours = None
    if _QUIRK.search(pattern):
        return False
    if _is_much(pattern) or _REFERENCE.search(pattern):
        return ours is not None
    try:
        theirs = Expression(pattern, extended=extended, newline=newline)
    except BadExpression:
        assert ours is None, f"glibc refuses {pattern!r}"
        return False
    try:
        if ours is None:
            assert "means nothing" in str(refusal), f"glibc takes {pattern!r}: {refusal}"
            return False
        for subject in subjects[:5]:
            where = f"{pattern!r} in {subject!r}, as {translated!r}"
            assert bool(ours.search(subject[:80])) == theirs.matches(subject[:80]), where
    finally:
        theirs.close()
    return True
