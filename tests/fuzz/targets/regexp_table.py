"""regexp tables: rules or a named line, and look-ups that end in time whatever key is asked."""

from __future__ import annotations

from gatewayd.errors import ConfigError, TableError
from gatewayd.maillog import capture
from gatewayd.tables.expressions import regexp_pattern
from gatewayd.tables.rules import PatternParser, RuleTable, parse_rules
from tests.fuzz.inputs import answer, split, text

SEEDS = (
    b"/^(.*)@example\\.com$/ smtp:$1\n!/x/ y\nif /a/\n/b|c/m OK ${1}\nendif\n\0a@example.com",
    b"/[[:alpha:]_]+@[^.]*\\.(net|org)$/i reject $$\n# c\n/(a)(b)?\\1/\n  $(1)$2\n\0aba@x.org",
    b"/a{2,5}[]x-]\\w\\</x 1\nif !/^$/\n,y, z\nendif\n\0aaa]",
)
WORDS = (
    *(b"/", b"/ x\n", b"if /", b"endif\n", b"!", b"(", b")", b"[", b"]", b"*", b"+", b"?", b"|"),
    *(b"{", b"}", b"1,2", b"^", b"$", b".", b"\\", b"[:alpha:]", b"[=a=]", b"[.-.]", b"a", b"b"),
    *(b"\\1", b"\\w", b"\\<", b" $1", b"${1}", b"$$", b"\n", b"\n ", b"\0", b"@", b"/im x\n", b"-"),
)


def target(data: bytes) -> bool:
    """Raises ConfigError with lines for bad rules, TableError for a slow look-up, or nothing."""
    return check_rules(data, regexp_pattern)


def check_rules(data: bytes, parser: PatternParser) -> bool:
    """Rules before the first NUL, a key after it."""
    payload, decisions = split(data)
    source, _, key = payload.partition(b"\0")
    try:
        rules = parse_rules(text(source), "f", parser)
    except ConfigError as error:
        check_lines(error, source)
        return False
    with capture():
        table = RuleTable("f", rules)
        if decisions.random() < 0.3:
            table = table.without_substitution()
        _look_up(table, key.decode("utf-8", "replace"))
    return bool(rules)


def check_lines(error: ConfigError, source: bytes) -> None:
    """Every problem has its place in the file."""
    for problem in error.problems:
        assert 1 <= problem.line <= source.count(b"\n") + 1


def _look_up(table: RuleTable, key: str) -> None:
    try:
        value = answer(table.lookup(key))
    except TableError:
        return  # it took too long
    assert value is None or isinstance(value, str)
