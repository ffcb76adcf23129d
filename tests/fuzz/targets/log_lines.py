"""Lines of the log: one line each, printable, whatever strangers put into a text."""

from __future__ import annotations

import json
import re
from typing import Any

from gatewayd.maillog.lines import (
    LINE_LIMIT,
    JsonLayout,
    Layout,
    PostfixLayout,
    SyslogLayout,
    printable,
)
from gatewayd.notify.fields import field
from gatewayd.notify.text import folded
from gatewayd.notify.text import printable as explained
from gatewayd.smtp.reply_texts import encode_reply
from gatewayd.smtp.session_log import improper_pipelining
from gatewayd.status import Reply
from tests.fuzz.inputs import split, text

SEEDS = (
    b"connect from unknown[192.0.2.1]",
    b"to=<a@b>, status=bounced (host said: 550 \r\nforged line \x1b[31m\0\x85\xe2\x80\xa8)",
    b"\xff\xfe not UTF-8 \xed\xa0\x80",
    b"x" * 300 + b" " + b"y" * 900,
)
WORDS = (b"a", b" ", b"\r\n", b"\n", b"\x1b[0m", b"\xe2\x80\xa8", b"\xc2\x85", b'"', b"\\", b"\xff")
_POSTFIX = re.compile(r"[A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d gw mail/smtpd\[7\]: ")
_SYSLOG = re.compile(r"<(?:19|2[0-3])>[A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d mail/smtpd\[7\]: ")
_LAYOUTS: tuple[tuple[Layout, re.Pattern[str]], ...] = (
    (PostfixLayout("gw", "mail", 7), _POSTFIX),
    (SyslogLayout(2, "mail", 7), _SYSLOG),
)
_JSON = JsonLayout("gw", "mail", 7)


def target(data: bytes) -> bool:
    """The text is in the line, made harmless; as JSON it's the same text."""
    payload, decisions = split(data)
    source = text(payload)
    shown = printable(source)
    assert shown.isprintable()
    assert len(shown) <= LINE_LIMIT
    now = decisions.uniform(0, 2**32)
    level = decisions.choice(("debug", "info", "warning", "error"))
    fields: dict[str, Any] = {"queue_id": source, "number": 7, "time": "forged", "odd": payload}
    for layout, form in _LAYOUTS:
        line = layout.line(now, "smtpd", level, source, fields)
        assert form.match(line), line
        assert line.endswith(shown)
        assert line.isprintable()
    line = _JSON.line(now, "smtpd", level, source, fields)
    assert line.isascii()
    assert "\n" not in line
    words = json.loads(line)
    assert (words["text"], words["level"], words["program"]) == (shown, level, "smtpd")
    assert words["time"] != "forged"
    _check_relatives(source, payload)
    return bool(source)


def _check_relatives(source: str, payload: bytes) -> None:
    """Others who put strangers' texts into lines: reports, replies, the note on pipelining."""
    line = field("X", source)
    assert line.endswith("\r\n")
    rows = line[:-2].split("\r\n")
    assert all(row.startswith(" ") for row in rows[1:])
    assert max(len(row.encode()) for row in rows) <= 998
    assert not re.search(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]", line)
    told = explained(source)
    assert "".join(folded(told, 4).split()) == "".join(told.split())
    reply = encode_reply(Reply(550, "5.1.1", source))
    assert re.fullmatch(rb"(?:550-[^\r\n]*\r\n)*550 [^\r\n]*\r\n", reply)
    assert improper_pipelining("DATA", "c", payload).isprintable()
