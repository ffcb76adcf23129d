"""regexp, pcre and cidr rules: as Postfix reads them where it can be asked, bad ones by line."""

from __future__ import annotations

import contextlib
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.errors import ConfigError, TableError
from gatewayd.interfaces import ILookupTable
from gatewayd.maillog import capture
from gatewayd.tables import perl_expression, posix_expression
from gatewayd.tables.maps import Maps
from gatewayd.tables.open import open_table
from tests.libc_expressions import Expression
from tests.peers import require

# A rule and keys to ask it with; ours and Postfix's postmap must agree on each, also that a
# rule is bad: postmap then warns and skips it, we refuse the file.
_REGEXP = r"""
/a**b/ x|aab|b
/a*?b/ x|aab
/a*+b/ x|aab
/*a/ x|a
/a{2}/ x|aa|a
/a{,3}b/ x|aab|b
/a{2/ x|a{2
/a{x}/ x|a{x}
/a{1,2}{2}/ x|aaa|a
/[]a]/ x|]|a|b
/[^]a]/ x|]|b
/[a\]/ x|\|a
/[a\]]/ x|a]|\]
/[[.a.]]/ x|a
/[[=a=]]/ x|a
/[[:foo:]]/ x|a
/[[:alpha:][:digit:]]+$/ x|a1|_
/a)/ x|a)
/(a/ x|a
/()/ x|a
/(a)(b)?c/ [$1,$2]|ac|abc
/\w+@/ x|ab@
/\ba/ x|a|ba
/\<a/ x|a|ba
/a\>/ x|ab|a
/\`a/ x|ba|ab
/a\'/ x|ab|ba
/(a)\1/ x|aa|ab
/\.com$/ x|a.com|acom
/a\/b/ x|a/b
/^a$b/ x|a
/(^a)b?/ x|ab|cb
/a.b/ x|a.b
/a\+b/ x|a+b|aab
/(?:a)/ x|a
/[a--]/ x|a
/[z-a]/ x|a
/x/i y|x|X
/x/x y|x|X
/a\(b\)/x [$1]|ab|a(b)
/a+b/x p|a+b|aab
/a\+b/x p|aab
/a\{2\}/x p|aa
/*a/x p|*a|a
/(a)/ $2|a
/(a)/ $a|a
/(a)/ a$|a
/(a)/ ${1}b$(1)|a
/(a)/ ${1}b$$c|a
/(a)/ ${1|a
!/a/ $1|b
!/(a)/ x|b|a
/a/z x|a
/a/im x|a
/a/|a
/a|a
a x|a
/a b/ x|a b
/[[:upper:]]/ up|a|A
/[[:upper:]]/i up|a|A
/a{99999}/ x|a
/a{2,1}/ x|a
/[[=a=]-c]/ x|b
/[a-[=c=]]/ x|b
/[[:digit:]-z]/ x|b
/[[.a.]-c]/ x|b
/a\?b/x p|?b
/\?b/x p|?b|b
/\+/x p|+
/\(*a\)/x p|*a
/a*\{2\}/x p|aa
/a\{2\}*/x p|aa
/\Ba/ x|ba|a
/[a/ x|a
#a# x|a
,a,b , x|a
"""
_PCRE = r"""
/^(?<n>a)b/ ${1}x|ab
/\d+/ x|12|a
/\h/ x|a b|ab
/a\z/ x|a
/[[:alpha:]]+\d/ x|a1
/[[:word:]]/ x|_
/\Qa.b\E/ x|a.b|axb
/a++b/ x|aab
/(?>a+)b/ x|aab
/(?i)A/ x|a
/A/i x|a|A
/a.+?b(.*)c/U [$1]|axbyc
/b/A x|ab|ba
/a b/x x|ab|a b
/(?=a)ab/ x|ab
/(?<!x)ab/ x|xab|ab
/[]a]/ x|]
/[\]a]/ x|]
/[&&a]/ x|&
/\x{61}/ x|a
/a{,2}b/ x|a{,2}b|aab
/a{x}/ x|a{x}
/(a/ x|a
/a)/ x|a)
/(a)\g{1}/ x|aa
/(?<q>a)\k<q>/ x|aa
/(?P<q>a)(?P=q)/ x|aa
/a$/E x|a
/\bfoo\b/ x|a foo|afoo
/(\w+)@\w/ [$1]|a@b
/\Ba/ x|ba|a
/(a)?b/ [$1]|b
"""


def _cases(rules: str, kind: str) -> list[tuple[str, str, list[str]]]:
    rows = [line.split("|") for line in rules.strip().split("\n")]
    return [(kind, row[0], row[1:]) for row in rows]


def ask(table: ILookupTable, key: str) -> str | None:
    with pytest.raises(StopIteration) as end:
        table.lookup(key).send(None)
    value: str | None = end.value.value
    return value


def _postfix(reference: str, key: str) -> str | None:
    """Postfix's answer; "bad" if it doesn't like the rule."""
    program = require("postmap", "postfix")
    done = subprocess.run(
        [program, "-q", key, reference], capture_output=True, text=True, check=False
    )
    if "unsupported dictionary type: pcre" in done.stderr:
        pytest.skip("needs Debian's package postfix-pcre")
    if "warning" in done.stderr:
        return "bad"
    return done.stdout.removesuffix("\n") if done.returncode == 0 else None


def _ours(reference: str, key: str) -> str | None:
    try:
        return ask(open_table(reference), key)
    except ConfigError:
        return "bad"


@pytest.mark.parametrize(
    ("kind", "rule", "keys"), [*_cases(_REGEXP, "regexp"), *_cases(_PCRE, "pcre")]
)
def test_as_postfix(tmp_path: Path, kind: str, rule: str, keys: list[str]) -> None:
    """The same rule and key give the same answer."""
    path = tmp_path / "rules"
    path.write_text(f"{rule}\n")
    for key in keys:
        assert _ours(f"{kind}:{path}", key) == _postfix(f"{kind}:{path}", key), key


def _table(tmp_path: Path, kind: str, text: str) -> ILookupTable:
    path = tmp_path / "rules"
    path.write_text(text)
    return open_table(f"{kind}:{path}")


_NESTED = """\
if /a/
if !/b/
/c/ a and c, not b
endif
/d/
   a and d
endif
!/q/ no q
"""


def test_nested_ifs(tmp_path: Path) -> None:
    """Rules between if and endif count only where the if holds."""
    table = _table(tmp_path, "regexp", _NESTED)
    answers = {key: ask(table, key) for key in ("ac", "abc", "abd", "c", "q", "aq", "")}
    assert answers == {
        "ac": "a and c, not b",
        "abc": "no q",
        "abd": "a and d",
        "c": "no q",
        "q": None,
        "aq": None,
        "": None,
    }


def test_every_bad_line_is_named(tmp_path: Path) -> None:
    """One error for each bad line, with file and line, and none is lost."""
    bad = "/a/ x\n/b\n/(c/ x\nendif\n/d/ $1\n\n/\\d/ x\nif /e/\n"
    with pytest.raises(ConfigError) as error:
        _table(tmp_path, "regexp", bad)
    problems = error.value.problems
    assert [problem.line for problem in problems] == [2, 3, 4, 5, 7, 8]
    for kind in ("cidr", "pcre", "regexp"):
        with pytest.raises(ConfigError, match=r"rules:2: .*"):
            _table(tmp_path, kind, "# an operator alone\n!\n")
    assert all(problem.file == str(tmp_path / "rules") for problem in problems)
    with pytest.raises(ConfigError, match=r"rules:2: .*10\.0\.0\.0/8 is meant"):
        _table(tmp_path, "cidr", "10.0.0.0/8 x\n10.0.0.1/8 x\n")


@pytest.mark.parametrize("kind", ["regexp", "pcre", "cidr"])
def test_octets_that_are_no_text(tmp_path: Path, kind: str) -> None:
    """A result in Latin-1 would get into routes and replies, which are text."""
    path = tmp_path / "rules"
    path.write_bytes(b"# \xfc is fine here\n/x/ OK\n/y/ error:5.1.1 ung\xfcltig\n")
    with pytest.raises(ConfigError, match="rules:3: non-UTF-8 input"):
        open_table(f"{kind}:{path}")


def test_missing_file(tmp_path: Path) -> None:
    """A file that isn't there is an answer to nobody."""
    table = open_table(f"regexp:{tmp_path}/none")
    with pytest.raises(TableError, match="none: No such file"):
        table.lookup("a").send(None)


def test_substitution_forbidden(tmp_path: Path) -> None:
    """For transports, results with parts of the address are ignored; ifs stay as they are."""
    path = tmp_path / "rules"
    path.write_text("if /x/\n/(.*)@x/ smtp:$1\n/^a@/ smtp:fixed\nendif\n/./ last\n")
    with capture() as lines:
        maps = Maps.open([f"regexp:{path}"], "transport_maps", substitution=False)
    assert "not allowed" in str(lines)
    for key, value in (("a@x", "smtp:fixed"), ("b@x", "last"), ("c@y", "last")):
        with pytest.raises(StopIteration) as end:
            maps.find(key).send(None)
        assert end.value.value.value == value


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("10.1.2.3", "in"),
        ("10.2.0.1", None),
        ("10.3.1.1", "low $1"),
        ("192.168.1.1", "private"),
        ("2001:DB8:0::1", "six"),
        ("::ffff:10.1.2.3", None),
        ("010.1.2.3", None),
        ("host", None),
    ],
)
def test_cidr(tmp_path: Path, key: str, value: str | None) -> None:
    """Networks of one IP version say nothing about addresses of the other, even with "!"."""
    rules = (
        "if 10.0.0.0/8\n10.1.0.0/16 in\nif !10.2.0.0/16\n10.0.0.0/8 low $1\nendif\nendif\n"
        "if !10.0.0.0/8\n192.168.0.0/16 private\n2001:db8::/32 never\nendif\n[2001:db8::]/32 six\n"
    )
    assert ask(_table(tmp_path, "cidr", rules), key) == value


_SIGNS = st.text(alphabet="ab01^$.[]()|*+?{},\\-:=<>&!/ \n", max_size=24)


@given(_SIGNS, st.booleans(), st.booleans())
def test_any_posix_pattern(pattern: str, extended: bool, newline: bool) -> None:
    """Any pattern is translated to what Python takes, or refused."""
    with contextlib.suppress(posix_expression.ExpressionError):
        translated = posix_expression.translate(pattern, extended=extended, newline=newline)
        re.compile(translated, re.ASCII | re.DOTALL)


@given(_SIGNS, st.booleans())
def test_any_perl_pattern(pattern: str, ungreedy: bool) -> None:
    """No pattern brings out another error than those declared."""
    with contextlib.suppress(posix_expression.ExpressionError, re.error, OverflowError):
        re.compile(perl_expression.translate(pattern, ungreedy=ungreedy), re.ASCII)


@given(st.text(alphabet="ab.@", max_size=12))
def test_translated_means_the_same(text: str) -> None:
    """Where both notations agree, translating changes nothing."""
    for pattern in (r"^(a|b)+@", r"\.b$", r"[^@.]@[ab]*$", r"a{1,2}b?"):
        translated = re.compile(posix_expression.translate(pattern), re.ASCII | re.DOTALL)
        assert bool(translated.search(text)) == bool(re.search(pattern, text)), pattern


_ATOMS = st.sampled_from(
    ["a", "b", ".", "[ab]", "[^b]", "[[:alpha:]]", r"\.", r"\w", r"\B", r"\b", "^", "$", "()"]
)
_PATTERNS = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("|".join),
        inner.map("({})".format),
        st.tuples(inner.map("({})".format), st.sampled_from(["*", "+", "?", "{2}", "{,2}"])).map(
            "".join
        ),
    ),
    max_leaves=6,
)


@given(_PATTERNS, st.lists(st.text(alphabet="ab. \n", max_size=8), max_size=4), st.booleans())
def test_what_glibc_finds_is_found(pattern: str, subjects: list[str], newline: bool) -> None:
    """Patterns of any structure, beside the library that Postfix's tables are made of."""
    translated = posix_expression.translate(pattern, newline=newline)
    ours = re.compile(translated, re.ASCII | (re.NOFLAG if newline else re.DOTALL))
    theirs = Expression(pattern, extended=True, newline=newline)
    try:
        for subject in ("", "ab", *subjects):
            assert bool(ours.search(subject)) == theirs.matches(subject), (pattern, subject)
    finally:
        theirs.close()
