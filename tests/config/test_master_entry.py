"""A service's line as postconf shows and changes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.config.master_cf import parse
from gatewayd.config.master_entry import FIELDS, EntryError, MasterEntry

_LINE = "smtp inet n - y 1000? - smtpd -v -o a=1 -o { b = x  y } -ob2=3"
_COMMAND = "smtpd -v -o a=1 -o {b=x  y} -o b2=3"


def test_columns_are_aligned() -> None:
    assert MasterEntry.parse(_LINE).lines(folded=False) == (
        f"smtp       inet  n       -       y       1000?   -       {_COMMAND}"
    )


def test_a_long_column_moves_only_what_it_must() -> None:
    line = "a_very_long_service_name_here inet n - y - - smtpd"
    assert MasterEntry.parse(line).lines(folded=False) == (
        "a_very_long_service_name_here inet n - y -       -       smtpd"
    )


def test_folded_each_override_has_its_line() -> None:
    assert MasterEntry.parse(_LINE).lines(folded=True) == (
        "smtp       inet  n       -       y       1000?   -       smtpd -v\n"
        "    -o a=1\n    -o {b=x  y}\n    -o b2=3"
    )


@pytest.mark.parametrize(("extra", "lines"), [("c", 1), ("cc", 2)])
def test_lines_are_79_wide_at_the_most(extra: str, lines: int) -> None:
    entry = MasterEntry.parse(f"ab3 unix n - y - - pipe aaaa bbbbbbbb {extra} d")
    assert len(entry.lines(folded=True).split("\n")) == lines


def test_fields() -> None:
    entry = MasterEntry.parse(_LINE)
    values = [entry.field(name) for name in FIELDS]
    assert values == ["smtp", "inet", "n", "-", "y", "1000?", "-", _COMMAND]
    assert entry.key == ("smtp", "inet")
    assert entry.overrides == {"a": "1", "b": "x  y", "b2": "3"}


def test_changes() -> None:
    entry = MasterEntry.parse(_LINE)
    assert entry.with_field("chroot", "n").field("chroot") == "n"
    assert entry.with_field("command", "lmtp -o x=y z").field("command") == "lmtp -o x=y z"
    assert entry.with_override("a", "5").field("command") == _COMMAND.replace("a=1", "a=5")
    assert entry.with_override("new", "5").field("command") == f"{_COMMAND} -o new=5"
    assert entry.with_override("new", "a b").field("command") == f"{_COMMAND} -o {{new=a b}}"
    assert entry.without_override("b").field("command") == "smtpd -v -o a=1 -o b2=3"
    assert entry.without_override("nosuch") == entry


def test_an_override_set_twice_is_replaced_as_one() -> None:
    entry = MasterEntry.parse("x unix - - n - - smtp -o a=1 -o b=2 -o a=3")
    assert entry.with_override("a", "9").field("command") == "smtp -o a=9 -o b=2"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("private", "q"), ("type", "unit"), ("wakeup", "-1"), ("process_limit", "x")),
        *(
            ("chroot", ""),
            ("service", "a b"),
            ("command", ""),
            ("wakeup", "5??"),
            ("chroot", "n\n"),
        ),
    ],
)
def test_wrong_fields_are_refused(name: str, value: str) -> None:
    with pytest.raises(EntryError):
        MasterEntry.parse(_LINE).with_field(name, value)


@pytest.mark.parametrize("line", ["x unix", "x unix - - n - - smtp -o", "x unix - - n - - p {a"])
def test_what_is_no_line_is_refused(line: str) -> None:
    with pytest.raises(EntryError):
        MasterEntry.parse(line)


@pytest.mark.parametrize("arguments", ["{}}", "- -ox=", "{-o}", "#}", "# -v", "{# x}", "a {b c}}"])
@pytest.mark.parametrize("options", ["", "-o a=b ", "-o {a=b  c} "])
@pytest.mark.parametrize("folded", [False, True])
def test_odd_arguments_are_shown_as_they_are_read(
    arguments: str, options: str, folded: bool
) -> None:
    """Braces that don't pair, words that look like options or comments."""
    line = f"x unix - - n - - pipe {options}{arguments}"
    (service,) = parse(line, "f").services
    (again,) = parse(MasterEntry.parse(line).lines(folded), "f").services
    assert again.arguments == service.arguments
    assert [each[:2] for each in again.overrides] == [each[:2] for each in service.overrides]


def test_options_end_at_the_first_word_that_is_none() -> None:
    entry = MasterEntry.parse("x unix - - n - - pipe -v -o a=b - -o c=d")
    assert entry.options == (("-v", ""), ("-o", "a=b"))
    assert entry.arguments == ("-", "-o", "c=d")


_WORD = st.text(alphabet="ab=/$.", min_size=1, max_size=6).filter(lambda w: w[0] not in "-=")
_ARGUMENT = _WORD | st.lists(_WORD, max_size=3).map(lambda words: f"{{{'  '.join(words)}}}")
_OPTION = st.tuples(st.sampled_from("abc"), _ARGUMENT).map(lambda p: f"-o {{{p[0]}={p[1]}}}")


@given(st.lists(_OPTION, max_size=3), st.lists(_ARGUMENT, max_size=4), st.booleans())
def test_what_is_shown_means_what_was_read(
    options: list[str], arguments: list[str], folded: bool
) -> None:
    line = " ".join(["x unix - - n - - pipe", *options, *arguments])
    (service,) = parse(line, "f").services
    (again,) = parse(MasterEntry.parse(line).lines(folded), "f").services
    assert again.arguments == service.arguments
    assert [(name, value) for name, value, _ in again.overrides] == [
        (name, value) for name, value, _ in service.overrides
    ]
