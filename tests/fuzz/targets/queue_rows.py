"""Rows of the queue's database: what we wrote is read back, what nobody wrote is BadRow."""

from __future__ import annotations

import json
from typing import Any

from gatewayd.address import Address
from gatewayd.cli.postcat import _envelope_lines
from gatewayd.cli.postqueue import render_json, render_list
from gatewayd.control.operator import _listing_json, _message_json
from gatewayd.message import Envelope, MemoryContent, NewMessage, Notify, Origin, Recipient, Route
from gatewayd.queue.rows import (
    BadRow,
    envelope_json,
    listing_from,
    message_from,
    message_row,
    recipient_rows,
)
from tests.fuzz.inputs import split

_CONTENT = MemoryContent(b"x: y\r\n\r\n")
SEEDS = (
    envelope_json(Envelope(Address("a", "b"))).encode(),
    envelope_json(
        Envelope(
            Address("a b", "c"),
            "8BITMIME",
            True,
            "HDRS",
            "id",
            Origin("ESMTP", "helo", "client", "192.0.2.1", 25, 0, "PLAIN", "u", "s"),
        )
    ).encode(),
    b'{"v": 2, "sender": ["a", "b"]}',
    b'{"v": 1, "sender": "ab", "origin": {"nosuch": 1}}',
)
WORDS = (
    *(b"{", b"}", b"[", b"]", b'"v": 1', b'"sender": ["a", "b"]', b'"origin": {', b'"helo": "x"'),
    *(
        b",",
        b":",
        b'"',
        b"null",
        b"1",
        b'"body": ',
        b'"client_port": ',
        b"\\ud800",
        b"NaN",
        b"[[[[",
    ),
)
FOUND = (
    b'{"v":1,"sender":["",""],"":true,"":"","envid":null,"":{"":"","":"","":"","":"","":"","":5,"":0,"":"","":"","":""}}6\xaa_^\'\x91F\xdf',
)


def target(data: bytes) -> bool:
    """BadRow and nothing else; lists show what can't be read, too."""
    payload, decisions = split(data)
    source = payload.decode("utf-8", "replace")
    row = [1, "ABCDE12345", 1.5, 2.5, decisions.choice((0, 1, 2, 9)), 0, 3, 10, "", source]
    words = (source.split() or [""])[:3]
    recipients: list[list[Any]] = [
        [1, n, word, "d", "smtp", "x", word, "", 15, 2, "4.0.0", word, "", 3.0]
        for n, word in enumerate(words)
    ]
    shown = _listing_json(listing_from(row, recipients))
    entries = [json.loads(json.dumps(shown))]
    assert all("\n" not in line for line in render_json(entries))
    list(render_list(entries))
    try:
        message = message_from(row, recipients, _CONTENT, flush=False)
    except BadRow:
        return False
    list(_envelope_lines(json.loads(json.dumps(_message_json(message)))))
    again = envelope_json(message.envelope)
    row[-1] = again
    assert message_from(row, recipients, _CONTENT, flush=False).envelope == message.envelope
    _check_new(source, words)
    return True


def _check_new(source: str, words: list[str]) -> None:
    """A message, to rows and back."""
    recipients = tuple(
        Recipient(Address(word, source), Route("smtp", word), word, Notify.DELAY, source)
        for word in words
    )
    envelope = Envelope(Address(source, words[0]), "7BIT", False, "FULL", source)
    new = NewMessage("ABCDE", 1.0, envelope, recipients, _CONTENT, has_8bit=True)
    row = message_row(new, 5, 0)[:-1]
    rows = [[*each[:4], *each[5:], 0, "", "", "", 0.0] for each in recipient_rows(new, 5)]
    message = message_from(row, rows, _CONTENT, flush=False)
    assert message.envelope == envelope
    assert tuple(each.recipient for each in message.recipients) == recipients
    assert message.has_8bit
