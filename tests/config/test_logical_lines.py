"""Logical lines: continuation, comments, numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gatewayd.config.logical_lines import LogicalLine, logical_lines


def _lines(text: str) -> list[tuple[str, int]]:
    return [(line.text, line.number) for line in logical_lines(text)]


def test_white_space_continues_the_line_before() -> None:
    assert _lines("a = 1\n  2\n\t3\nb = 4\n") == [("a = 1  2\t3", 1), ("b = 4", 4)]


def test_comments_and_empty_lines_end_nothing() -> None:
    text = "# first\n\na = 1\n# between\n\n   # indented\n  2\nb = 3"
    assert _lines(text) == [("a = 1  2", 3), ("b = 3", 8)]


def test_a_hash_after_text_is_text() -> None:
    assert _lines("a = 1 # no comment") == [("a = 1 # no comment", 1)]


def test_carriage_returns_are_white_space_at_the_end() -> None:
    assert _lines("a = 1\r\n  2\r\n") == [("a = 1  2", 1)]


def test_a_first_line_with_white_space_continues_nothing() -> None:
    first, second = logical_lines("  a = 1\nb = 2")
    assert first == LogicalLine("a = 1", 1, orphan=True)
    assert (second.text, second.orphan) == ("b = 2", False)


def test_other_line_ends_of_unicode_are_text() -> None:
    assert _lines("a = 1\x0b2\x852\u20283\n") == [("a = 1\x0b2\x852\u20283", 1)]


def test_a_place_in_the_text_has_the_number_of_its_own_line() -> None:
    (line,) = logical_lines("one\n# comment\n two\n\n three\n")
    assert line.text == "one two three"
    assert [line.number_at(line.text.index(word)) for word in ("one", "two", "three")] == [1, 3, 5]


def test_what_is_no_text_is_noticed() -> None:
    octets = b"a = \xff\nb = fine \xc3\xa9\nc = \0\n"
    found = logical_lines(octets.decode("utf-8", "surrogateescape"))
    assert [line.garbled for line in found] == [True, False, True]


@given(st.text(alphabet="ab=# \t\r\n\\", max_size=60))
def test_no_word_is_lost_and_none_is_invented(text: str) -> None:
    kept = [line.strip() for line in text.split("\n") if line.strip() and line.strip()[0] != "#"]
    joined = "".join(line.text for line in logical_lines(text))
    assert "".join(joined.split()) == "".join("".join(kept).split())
