"""The forms of a log line, to the letter."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from gatewayd.maillog.lines import (
    LINE_LIMIT,
    JsonLayout,
    PostfixLayout,
    SyslogLayout,
    printable,
)

_NOW = 1_700_000_000.25


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("level", "prefix"),
    [("debug", ""), ("info", ""), ("warning", "warning: "), ("error", "error: ")],
)
def test_postfix_layout(level: str, prefix: str) -> None:
    line = PostfixLayout("gw", "postfix", 1234).line(_NOW, "smtpd", level, "text", {"a": 1})
    assert line == f"Nov 14 22:13:20 gw postfix/smtpd[1234]: {prefix}text"


def test_days_below_ten_have_a_blank_in_front() -> None:
    line = PostfixLayout("gw", "x", 1).line(1_699_000_000.0, "y", "info", "z", {})
    assert line.startswith("Nov  3 08:26:40 gw ")


def test_the_time_goes_on() -> None:
    layout = PostfixLayout("gw", "x", 1)
    stamps = [layout.line(_NOW + n, "y", "info", "z", {})[:15] for n in (0, 0.7, 1, 60, 0)]
    assert stamps == [
        *("Nov 14 22:13:20", "Nov 14 22:13:20", "Nov 14 22:13:21", "Nov 14 22:14:20"),
        "Nov 14 22:13:20",
    ]


@pytest.mark.parametrize(
    ("level", "start"),
    [("debug", "<23>"), ("info", "<22>"), ("warning", "<20>"), ("error", "<19>")],
)
def test_syslog_layout(level: str, start: str) -> None:
    """Facility mail is 2; the daemon adds the host (RFC 3164 §4.1)."""
    line = SyslogLayout(2, "gatewayd", 7).line(_NOW, "qmgr", level, "text", {})
    assert line.startswith(f"{start}Nov 14 22:13:20 gatewayd/qmgr[7]: ")
    assert line.endswith("text")


def test_json_layout() -> None:
    line = JsonLayout("gw", "gatewayd", 7).line(_NOW, "qmgr", "warning", "a ü", {"size": 5})
    assert line.isascii()
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250000Z",
        "host": "gw",
        "name": "gatewayd",
        "program": "qmgr",
        "pid": 7,
        "level": "warning",
        "text": "a ü",
        "size": 5,
    }


def test_json_fields_cannot_pose_as_what_every_line_has() -> None:
    fields = {"time": "never", "program": "root", "pid": 0, "own": {1, 2}}
    words = json.loads(JsonLayout("gw", "n", 7).line(_NOW, "smtpd", "info", "t", fields))
    assert (words["program"], words["pid"]) == ("smtpd", 7)
    assert words["time"].startswith("2023")
    assert words["own"] == "{1, 2}"


def test_json_fields_that_are_too_long_are_left_out() -> None:
    line = JsonLayout("gw", "n", 7).line(_NOW, "smtpd", "info", "t", {"x": "y" * 50_000})
    assert len(line) < 1000
    assert json.loads(line)["text"] == "t"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("jörg 漢", "jörg 漢"),
        ("a\r\nb\0\x1b[0m\x7f", "a??b??[0m?"),
        ("\x85\u2028\u2029\ufeff", "????"),
        ("\udcff", "?"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_text_has_a_bound() -> None:
    assert printable("x" * LINE_LIMIT) == "x" * LINE_LIMIT
    assert printable("x" * (LINE_LIMIT + 1)) == "x" * (LINE_LIMIT - 3) + "..."
