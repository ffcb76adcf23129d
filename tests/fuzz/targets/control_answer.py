"""What the commands make of the daemon's answer: a code, or a refusal with a text."""

from __future__ import annotations

import io

from gatewayd.control.client import ControlRefused, _read_head, _refusal
from tests.fuzz.inputs import split

SEEDS = (
    b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"count": 1}\n',
    b'HTTP/1.0 409 Conflict\r\n\r\n{"errors": ["one", "two"]}\n',
    b'HTTP/1.1 404 Not Found\r\n\r\n{"error": "no message"}',
    b"garbage",
)
WORDS = (
    *(
        b"HTTP/1.1 ",
        b"200",
        b"403",
        b"\r\n",
        b"\r\n\r\n",
        b'{"error": ',
        b'{"errors": ',
        b"[",
        b"]",
    ),
    *(b"{", b"}", b'"', b"null", b"1", b",", b"\xff", b"[[[[[["),
)
FOUND = (b'0 9 \n\r\n{"error":[]}(\xe6\'\xd7\x89R\xaf\xb3',)


def target(data: bytes) -> bool:
    """Nothing but ControlRefused, whose problems are texts."""
    payload, _ = split(data)
    answer = io.BytesIO(payload)
    try:
        code = _read_head(answer)
    except ControlRefused:
        return False
    refused = _refusal(code, answer.read())
    assert refused.code == code
    assert refused.problems
    assert all(isinstance(each, str) for each in refused.problems)
    str(refused)
    return True
