"""pcre tables: rules or a named line, and look-ups that end in time whatever key is asked."""

from __future__ import annotations

from gatewayd.tables.expressions import pcre_pattern
from tests.fuzz.targets.regexp_table import WORDS as EXPRESSION_WORDS
from tests.fuzz.targets.regexp_table import check_rules

SEEDS = (
    b"/^(?<user>[^@+]+)\\+\\w*@(example\\.(com|org))$/ smtp:${1}@$2\n\0joe+x@example.org",
    b"/\\Qa.b\\E\\h\\x{61}(?>a+)b++(?!c)/xU OK\nif /\\d{3}\\z/A\n/(?i)A(?:b)\\R/s n\nendif\n"
    b"\0a.b a",
    b"/(?=a)(?<!b)[[:word:]\\-&&~~]{2,}?\\g{1}(x)\\k<n>/E y\n\0axx",
)
WORDS = (
    *EXPRESSION_WORDS,
    *(b"(?:", b"(?=", b"(?!", b"(?<=", b"(?<n>", b"(?P<n>", b"(?>", b"(?i)", b"(?i:", b"(?#"),
    *(b"\\Q", b"\\E", b"\\x{", b"\\d", b"\\D", b"\\b", b"\\A", b"\\z", b"\\Z", b"\\h", b"\\R"),
    *(b"\\k<n>", b"\\g{1}", b"\\g1", b"(?(1)", b"*?", b"++", b"[^", b"&&", b"--", b"[:word:]"),
    *(b"/U x\n", b"/x y\n", b"/AE z\n", b"\\N", b"\\p{L}", b"\\K", b"(*SKIP)"),
)


def target(data: bytes) -> bool:
    """Raises ConfigError with lines for bad rules, TableError for a slow look-up, or nothing."""
    return check_rules(data, pcre_pattern)
