"""Typed values: what is accepted, and what the refusal says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.config.values import (
    ValueProblem,
    check_networks,
    check_path,
    parse_flag,
    parse_number,
    parse_seconds,
    split_words,
)


def test_flags() -> None:
    assert parse_flag("yes")
    assert parse_flag(" YES ")
    assert not parse_flag("No")
    for text in ("", "true", "1", "y", "yes no", "ye\u017f"):
        with pytest.raises(ValueProblem, match="yes or no expected"):
            parse_flag(text)


def test_numbers_and_their_bounds() -> None:
    assert parse_number(" 42 ", 0, 42) == 42
    assert parse_number("-1") == -1
    with pytest.raises(ValueProblem, match="at least 1 expected"):
        parse_number("0", 1)
    with pytest.raises(ValueProblem, match="at most 599 expected"):
        parse_number("600", 400, 599)


@pytest.mark.parametrize("text", ["", "1_000", "+1", "1.5", "0x10", "٣", "1 2", "9" * 19, "1\n2"])
def test_what_python_takes_for_a_number_is_none(text: str) -> None:
    with pytest.raises(ValueProblem, match="a whole number expected"):
        parse_number(text)


@pytest.mark.parametrize(
    ("text", "unit", "seconds"),
    [
        *(("5", "s", 5), ("5", "d", 432000), ("5s", "d", 5), ("2m", "s", 120), ("1h", "s", 3600)),
        *(("1D", "s", 86400), ("1w", "s", 604800), ("0", "h", 0), (" 7s ", "s", 7)),
    ],
)
def test_times_and_their_units(text: str, unit: str, seconds: float) -> None:
    assert parse_seconds(text, unit) == seconds


@pytest.mark.parametrize("text", ["", "s", "5 s", "5x", "-5s", "1.5h", "5ss", "5\u017f"])
def test_no_times(text: str) -> None:
    with pytest.raises(ValueProblem, match="a number with a unit of s, m, h, d or w expected"):
        parse_seconds(text)


def test_times_have_bounds() -> None:
    with pytest.raises(ValueProblem, match="at most"):
        parse_seconds("9999999999w")
    with pytest.raises(ValueProblem, match="at least 1s expected"):
        parse_seconds("0", minimum=1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ()),
        (" , ,, ", ()),
        ("a, b\tc,d\n e", ("a", "b", "c", "d", "e")),
        ("{a, b} c", ("{a, b}", "c")),
        ("inline:{{x y}=1, z=2} b", ("inline:{{x y}=1, z=2}", "b")),
        ("a}b c", ("a}b", "c")),
        ("{a}{b c},d", ("{a}{b c}", "d")),
        ("{} x", ("{}", "x")),
    ],
)
def test_lists(text: str, words: tuple[str, ...]) -> None:
    assert split_words(text) == words


def test_only_ascii_blanks_part_words_or_stand_around_values() -> None:
    assert split_words("a\xa0b c\x1fd") == ("a\xa0b", "c\x1fd")
    assert split_words("{x}\xa0b c") == ("{x}\xa0b", "c")
    for parse in (parse_number, parse_seconds):
        assert parse("\t8\v") == 8
        for text in ("8\x1d", "\xa08", "8\u2003"):
            with pytest.raises(ValueProblem):
                parse(text)


def test_a_group_without_end_is_refused() -> None:
    with pytest.raises(ValueProblem, match=r'no closing "\}" in "\{b c"'):
        split_words("a {b c")


@given(st.lists(st.text(alphabet="ab:/$.[]", min_size=1, max_size=5), max_size=8))
def test_words_come_back_however_they_are_parted(words: list[str]) -> None:
    assert split_words(" ,".join(words)) == tuple(words)
    assert split_words("\t".join([*words, "{x, y}"])) == (*words, "{x, y}")


@given(st.text(alphabet="{} ,ab", max_size=30))
def test_any_text_is_a_list_or_is_refused(text: str) -> None:
    try:
        words = split_words(text)
    except ValueProblem:
        assert text.count("{") > 0
    else:
        assert "".join(words).replace(" ", "").replace(",", "") == "".join(
            char for char in text if char not in " ,"
        )


@pytest.mark.parametrize(
    "word",
    [
        *("127.0.0.0/8", "!10.0.0.1", "[::1]/128", "[::1]", "[2001:db8::]/32", "/etc/file"),
        *("cidr:/etc/x", "host.example", ".example", "hash:/a", "3com.example", "10.0.0.0/8"),
    ],
)
def test_what_may_stand_in_a_list_of_networks(word: str) -> None:
    check_networks((word,))


@pytest.mark.parametrize(
    "word", ["127.0.0.0/33", "1.2.3", "[::1", "[::1]x", "[1.2.3.4.5]", "10.0.0.0/", "[]"]
)
def test_what_looks_like_a_network_must_be_one(word: str) -> None:
    with pytest.raises(ValueProblem, match="expected"):
        check_networks((word,))


def test_bits_behind_the_length_are_refused_with_the_right_network() -> None:
    with pytest.raises(ValueProblem, match=r"10\.0\.0\.0/8 expected"):
        check_networks(("10.0.0.1/8",))


def test_paths_are_absolute() -> None:
    check_path("")
    check_path("/var/spool")
    with pytest.raises(ValueProblem, match="an absolute path expected"):
        check_path("var")
    with pytest.raises(ValueProblem, match="NUL"):
        check_path("/a\0b")
