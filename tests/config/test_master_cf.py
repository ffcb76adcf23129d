"""master.cf: services, their arguments and overrides, and what is said about other lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.config.master_cf import MasterCf, Service, parse, split_line, ungrouped


def _only(text: str) -> Service:
    found = parse(text, "master.cf")
    assert not found.errors
    (service,) = found.services
    return service


def _errors(text: str) -> list[str]:
    return [str(each) for each in parse(text, "master.cf").errors]


def test_columns() -> None:
    service = _only("smtp inet n n y 60? 7 smtpd\n")
    assert service.name == "smtp"
    assert service.type == "inet"
    assert (service.private, service.unprivileged, service.chroot) == (False, False, True)
    assert (service.wakeup, service.maxproc, service.command) == (60, 7, "smtpd")
    assert (service.file, service.line) == ("master.cf", 1)


def test_a_dash_is_the_default() -> None:
    service = parse("x unix - - - - - smtp", "f", default_process_limit=42).services[0]
    assert (service.private, service.unprivileged, service.chroot) == (True, True, False)
    assert (service.wakeup, service.maxproc) == (0, 42)
    assert not _only("25 inet - - - - - smtpd").private


def test_no_limit_on_processes() -> None:
    assert _only("x unix - - - - 0 smtp").maxproc == 0


def test_overrides_in_every_form_with_their_own_lines() -> None:
    service = _only(
        "x inet n - n - - smtpd\n"
        "  -o a=1 -ob=2\n"
        "# comment\n"
        "  -o { c = three  words }\n"
        "  -v -o d={x y} -o e= -o a=5\n"
    )
    assert service.overrides == (
        *(("a", "1", 2), ("b", "2", 2), ("c", "three  words", 4)),
        *(("d", "{x y}", 5), ("e", "", 5), ("a", "5", 5)),
    )
    assert service.arguments == ()


def test_arguments_end_the_options() -> None:
    service = _only("u unix - n n - - pipe -v flags=Fq user=u argv=uux - -o x=y {a  b} ({c}) {d}e")
    assert service.arguments == (
        *("flags=Fq", "user=u", "argv=uux", "-", "-o", "x=y", "a  b", "({c})", "{d}e"),
    )
    assert service.overrides == ()


def test_macros_in_braces_stay() -> None:
    service = _only("u unix - n n - - pipe argv=x ${user} {${nexthop} is it} {}")
    assert service.arguments == ("argv=x", "${user}", "${nexthop} is it", "")


def test_the_last_of_two_services_wins() -> None:
    found = parse("x unix - - - - - smtp\nx inet - - - - - smtpd\nx unix - - - - 3 lmtp\n", "f")
    assert [(each.name, each.type, each.command) for each in found.services] == [
        ("x", "inet", "smtpd"),
        ("x", "unix", "lmtp"),
    ]
    assert [str(each) for each in found.warnings] == [
        "f:3: service x/unix overrides the one in line 1"
    ]


def test_which_services_mail_can_be_routed_to() -> None:
    text = "".join(
        f"{name} {type_} - - - - - {command}\n"
        for name, type_, command in (
            *(("a", "unix", "smtp"), ("b", "unix", "uucp"), ("c", "unix", "pickup")),
            *(("d", "inet", "smtpd"), ("e", "unix-dgram", "postlogd")),
        )
    )
    assert [each.name for each in parse(text, "f").services if each.is_transport] == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("x unix - - n - -", "a service has eight columns, this line has 7"),
        ("x unit - - n - - y", 'type "unit": one of inet, unix, fifo, pass, unix-dgram expected'),
        ("x unix q - n - - y", 'column private: "q": y, n or - expected'),
        ("x unix - Y n - - y", 'column unpriv: "Y": y, n or - expected'),
        ("x unix - - ? - - y", 'column chroot: "?": y, n or - expected'),
        ("x unix - - n 1m - y", 'column wakeup: "1m": a number or - expected'),
        ("x unix - - n - -1 y", 'column maxproc: "-1": a number or - expected'),
        ("x unix - - n - - y -o", '-o "": name=value, or { name = value } expected'),
        ("x unix - - n - - y -o a", '-o "a": name=value, or { name = value } expected'),
        ("x unix - - n - - y -o =b", '-o "=b": name=value, or { name = value } expected'),
        ("x unix - - n - - y {a b", 'no closing "}" in "{a b"'),
    ],
)
def test_errors_name_what_is_expected(line: str, text: str) -> None:
    assert _errors(f"# comment\n{line}\n") == [f"master.cf:2: {text}"]


def test_an_error_in_a_continuation_is_named_by_its_own_line() -> None:
    assert _errors("x unix - - n - - y\n -o a=b\n -o c\n")[0].startswith("master.cf:3: ")


def test_all_errors_are_named_not_the_first() -> None:
    assert len(_errors("  orphan\nx\ny unix - - - - - smtp\nz unix\n")) == 3


def test_words_keep_their_braces() -> None:
    assert split_line("a {b  c}d\te}") == ["a", "{b  c}d", "e}"]
    with pytest.raises(ValueError, match="no closing"):
        split_line("a {b")
    assert ungrouped("{ a b }") == "a b"
    assert ungrouped("{a}{b}") == "{a}{b}"
    assert ungrouped("a{b}") == "a{b}"


@given(st.text(alphabet="ab {}-o=\n\t#yn/\x85\x00", max_size=120))
def test_any_text_is_read(text: str) -> None:
    found = parse(text, "f")
    assert isinstance(found, MasterCf)
    for problem in found.errors:
        assert 1 <= problem.line <= text.count("\n") + 1


@given(st.lists(st.text(alphabet="ab-o={} ", max_size=12), max_size=6))
def test_arguments_of_any_form_are_read(words: list[str]) -> None:
    parse("x unix - - n - - pipe " + " ".join(words), "f")
