"""main.cf: assignments, and what is said about other lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.config.main_cf import Assignment, parse, split_assignment


def test_assignments_with_their_places() -> None:
    found = parse("a = 1\n\nb=2 x\n  y\nc =\n", "main.cf")
    assert found.errors == found.warnings == ()
    assert list(found.assignments.values()) == [
        Assignment("a", "1", "main.cf", 1),
        Assignment("b", "2 x  y", "main.cf", 3),
        Assignment("c", "", "main.cf", 5),
    ]


def test_the_last_of_a_name_wins_and_both_lines_are_named() -> None:
    found = parse("a = 1\na = 2\n", "main.cf")
    assert found.assignments["a"].value == "2"
    assert [str(each) for each in found.warnings] == [
        "main.cf:2: a overrides the setting in line 1"
    ]


@pytest.mark.parametrize("line", ["noequals", "= 1", "a b = 1", "a"])
def test_other_lines_are_errors(line: str) -> None:
    found = parse(f"x = 1\n{line}\n", "main.cf")
    assert [str(each) for each in found.errors] == [f'main.cf:2: not "name = value": "{line}"']
    assert set(found.assignments) == {"x"}


def test_all_errors_are_named_not_the_first() -> None:
    assert [each.line for each in parse("one\na = 1\ntwo\n", "f").errors] == [1, 3]


def test_a_line_that_continues_nothing_is_ignored_with_a_warning() -> None:
    found = parse("  a = 1\nb = 2\n", "f")
    assert set(found.assignments) == {"b"}
    assert [each.line for each in found.warnings] == [1]


def test_a_line_that_is_no_text_is_an_error_but_in_a_comment() -> None:
    text = b"# caf\xe9\na = caf\xe9\nb = \xc3\xa9\n".decode("utf-8", "surrogateescape")
    found = parse(text, "f")
    assert [(each.line, each.text) for each in found.errors] == [(2, "the line is not UTF-8")]
    assert found.assignments["b"].value == "é"


def test_names_and_values_of_a_single_assignment() -> None:
    assert split_assignment(" a = b = c ") == ("a", "b = c")
    assert split_assignment("a=") == ("a", "")
    assert split_assignment("=b") is None
    assert split_assignment("a b") is None


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    found = parse(text, "f")
    for name, each in found.assignments.items():
        assert name == each.name
        assert 1 <= each.line <= text.count("\n") + 1
        assert name in text


def test_only_ascii_blanks_are_blanks() -> None:
    """As for Postfix: what else Unicode calls white space is part of names and values."""
    assert split_assignment("\x85a\xa0 = \u2003b\x1f") == ("\x85a\xa0", "\u2003b\x1f")
    found = parse("\xa0a = 1\na = 2\n", "f")
    assert [(each.name, each.value) for each in found.assignments.values()] == [
        ("\xa0a", "1"),
        ("a", "2"),
    ]
