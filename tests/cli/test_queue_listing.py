"""postqueue's listing, column by column as Postfix prints it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from gatewayd.cli.postqueue import render_json, render_list


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def _recipient(address: str, reason: str = "", **more: str) -> dict[str, Any]:
    return {"address": address, "orig_address": "", "delay_reason": reason, **more}


def _entry(queue_id: str = "4A1B2C3D4E", **more: Any) -> dict[str, Any]:
    entry = {
        "queue_name": "deferred",
        "queue_id": queue_id,
        "arrival_time": 1_700_000_000.25,
        "message_size": 1234,
        "forced_expire": False,
        "sender": "a@example.org",
        "next_attempt": 0.0,
        "recipients": [_recipient("b@example.com", "connection refused")],
    }
    return {**entry, **more}


def test_empty() -> None:
    assert list(render_list([])) == ["Mail queue is empty"]


def test_one_entry() -> None:
    assert list(render_list([_entry()])) == [
        "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------",
        "4A1B2C3D4E     1234 Tue Nov 14 22:13:20  a@example.org",
        " " * (76 - len("connection refused")) + "(connection refused)",
        " " * 41 + "b@example.com",
        "",
        "-- 1 Kbytes in 1 Request.",
    ]


@pytest.mark.parametrize(
    ("state", "expire", "shown"),
    [("active", False, "ID234*"), ("hold", False, "ID234!"), ("hold", True, "ID234!#")],
)
def test_marks(state: str, expire: bool, shown: str) -> None:
    lines = list(render_list([_entry("ID234", queue_name=state, forced_expire=expire)]))
    assert lines[1].split()[0] == shown


def test_recipients_are_grouped_by_reason() -> None:
    recipients = [_recipient("1@x", "r"), _recipient("2@x", "s"), _recipient("3@x", "r")]
    lines = [line.strip() for line in render_list([_entry(recipients=recipients)])]
    assert lines[2:7] == ["(r)", "1@x", "3@x", "(s)", "2@x"]


def test_null_sender_and_plural() -> None:
    lines = list(render_list([_entry(sender=""), _entry()]))
    assert lines[1].endswith(" MAILER-DAEMON")
    assert lines[-1] == "-- 2 Kbytes in 2 Requests."


def test_json_omits_what_says_nothing() -> None:
    line = next(iter(render_json([_entry(recipients=[_recipient("b@x")])])))
    assert '"delay_reason"' not in line
    assert '"orig_address"' not in line
    assert '"arrival_time": 1700000000,' in line
