"""What a pipe command prints and how it ends: an outcome with one printable line."""

from __future__ import annotations

import re

from gatewayd.plugins.pipe.exits import ended
from gatewayd.status import Action, split_status
from tests.fuzz.inputs import split

SEEDS = (
    b"5.1.1 no such user\n",
    b"  4.2.2 mailbox full\nand more\n",
    b"2.0.0 fine\n",
    b"\xff\0\tbinary\r\n",
)
WORDS = (
    b"4.",
    b"5.",
    b"2.",
    b"1.1",
    b" ",
    b"\n",
    b"\t",
    b"\0",
    b"\xc3\xa9",
    b"999.",
    b"text",
    b".",
)
_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def target(data: bytes) -> bool:
    """The status agrees with the action; the text is for logs and reports."""
    payload, decisions = split(data)
    status = decisions.choice((0, 1, 64, 67, 75, 77, 78, 255, -9, -15))
    outcome = ended(status, payload[:4096], "x", "/bin/x", is_final=decisions.random() < 0.5)
    assert _STATUS.match(outcome.status)
    digit = {Action.DEFERRED: "4", Action.FAILED: "5"}.get(outcome.action, "2")
    assert outcome.status[0] == digit
    assert (status == 0) is outcome.is_success
    assert not _CONTROL.search(outcome.text)
    code, rest = split_status(payload.decode("utf-8", "replace"), "5.0.0")
    assert re.match(r"[245]\.\d{1,3}\.\d{1,3}\Z", code)
    assert rest == rest.strip()
    return status != 0
