"""``$`` forms: what each comes to, as Postfix's postconf -x says (see test_postconf_parity)."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.config.expand import ExpandError, expand, references

_VALUES = {"t": "text", "e": "", "n": "5", "m": "10", "chain": "$t-$n", "a": "$b", "b": "$a"}


def _expanded(text: str) -> str:
    return expand(text, _VALUES.get)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("$t ${t} $(t)", "text text text"),
        ("$nope|${nope}|", "||"),
        ("$t.example", "text.example"),
        ("$t-d", "text-d"),
        ("a$$b$${t}", "a$b${t}"),
        ("$chain", "text-5"),
        ("${t?yes}${e?yes}", "yes"),
        ("${t:no}${e:no}${nope:no}", "nono"),
        ("${t?yes:no}", "yes:no"),
        ("${t?{yes}:{no}} ${e?{yes}:{no}}", "yes no"),
        ("${t?{a}}x${e?{a}}x", "axx"),
        ("${t:{a}}x${e:{a}}x", "xax"),
        ("${t? lead trail }x", " lead trail x"),
        ("${ t ? { a } : { b } }x", " a x"),
        ("${t?{a{b}c}:{d}}", "a{b}c"),
        ("${t?}x${e:}x", "xx"),
        ("${t?(}x", "(x"),
        ("$(t?{yes}:{no})", "yes"),
        ("${t?a$(n)b}", "a5b"),
        ("${t?{${e?{1}:{${n?{deep}}}}}:{x}}", "deep"),
        ("${{$n} == {5} ? {eq} : {ne}}", "eq"),
        ("${{$n} < {$m}?{lt}:{ge}}", "lt"),
        ("${{a$n} < {a$m}?{lt}:{ge}}", "ge"),
        ("${{$n} <= {5}:{gt}}x", "x"),
        ("${{$n} >= {$m}}x${{$n} != {$m}}x", "xtruex"),
        ("${{}=={}?{both}:{not}}", "both"),
        ("${{ a } == {a}?{same}:{diff}}", "diff"),
        ("${{05} == {5}?{number}:{text}}", "number"),
        ("${{5 } == {5}?{number}:{text}}", "text"),
        ("${{3.10} > {3.9} ? {new} : {old}}", "old"),
        ("${{3.10} >level {3.9} ? {new} : {old}}", "new"),
        ("${{1} ==level {1.0}?{same}:{diff}}", "same"),
        ("${{3.6.1} <=level {3.6}?{le}:{gt}}", "gt"),
        ("${domain_to_ascii{bücher.example}}", "xn--bcher-kva.example"),
        ("${domain_to_ascii{$t}}", "text"),
        ("${domain_to_utf8{xn--bcher-kva.example}}", "bücher.example"),
    ],
)
def test_value(text: str, value: str) -> None:
    assert _expanded(text) == value


@pytest.mark.parametrize(
    "text",
    [
        *("$", "a$-b", "${}", "$()", "${a", "$(a", "${t?{a}", "${a-b}", "$ {t}", "${-}"),
        *("${t?{a} b}", "${t?{a}:b}", "${t?{a}:{b}c}", "${t:{a}:{b}}", "${t!x}", "${t?{a}{b}}"),
        *("${{a}}", "${{a} = {b}}", "${{a} == b}", "${{a} =! {b}}", "${{a}==level{b}}"),
        *("${{1.2.3.4} ==level {1}}", "${domain_to_ascii{a} b}", "${domain_to_ascii{\xfc..x}}"),
    ],
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ExpandError):
        _expanded(text)


def test_circles_are_refused() -> None:
    with pytest.raises(ExpandError, match="circle"):
        _expanded("$a")


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ExpandError):
        _expanded("${t?{" * 5000 + "}}" * 5000)


def test_what_would_grow_without_end_is_refused() -> None:
    """Each name holds the next one twice: 2 ** 60 forms, or octets."""
    for leaf in ("", "octets"):
        values = {f"v{n}": f"$v{n + 1}$v{n + 1}" for n in range(60)} | {"v60": leaf}
        start = time.monotonic()
        with pytest.raises(ExpandError, match="too large"):
            expand("$v0", values.get)
        assert time.monotonic() - start < 5


def test_a_long_domain_is_refused() -> None:
    with pytest.raises(ExpandError, match="too long"):
        _expanded("${domain_to_ascii{" + "ü" * 100_000 + "}}")


def test_references_are_found_in_every_branch() -> None:
    text = "$a ${b?{$c}:{${d:$e}}} ${{$f} <level {$g}?{$h}:{$i}} $(j) $$k ${domain_to_ascii{$l}}"
    assert references(text) == set("abcdefghijl")


_TEMPLATE = st.recursive(
    st.sampled_from(["$t", "${e}", "$(n)", "$$", "text ", "{x}", "", "$nope"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(st.sampled_from("ten"), inner, inner).map(
            lambda p: f"${{{p[0]}?{{{p[1]}}}:{{{p[2]}}}}}"
        ),
        st.tuples(inner, inner).map(lambda p: f"${{{{{p[0]}}} == {{{p[1]}}}?{{yes}}:{{no}}}}"),
    ),
    max_leaves=12,
)


@given(_TEMPLATE)
def test_well_formed_templates_have_a_value(template: str) -> None:
    assert isinstance(_expanded(template), str)


@given(st.text(alphabet="${}()?:=<> tneab123", max_size=80))
def test_any_text_has_a_value_or_is_refused(text: str) -> None:
    with suppress(ExpandError):
        value = _expanded(text)
        assert "$" in text or value == text
    with suppress(ExpandError):
        references(text)
