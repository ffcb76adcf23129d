"""Files in maildrop, which any user may have written; and the sendmail command that writes ours."""

from __future__ import annotations

import contextlib
import re

from gatewayd.cli import sendmail
from gatewayd.receive.maildrop import MaildropError, decode_head, encode_head, wire_form
from tests.fuzz.inputs import pieces, split

SEEDS = (
    b'{"version": 1, "sender": "ann@example.com", "recipients": ["joe@example.org"], "size": 12}\n',
    b'{"version": 1, "sender": "", "recipients": ["a", "b"], "notify": "SUCCESS,DELAY", "ret": '
    b'"FULL", "envid": "x", "body": "8BITMIME", "user_id": 0, "arrival": 1.5, "smtputf8": true, '
    b'"full_name": "Ann", "size": 1e3}\n',
    b"-t\0-i\0-f\0ann@example.com\0-oem\0--\0joe",
    b"-F\0Ann\0-N\0success,failure\0-R\0hdrs\0-V\0id\0-B8BITMIME\0-bm\0a@b",
    b"-bp\0-q30m\0-qRsite\0-C/etc/x/main.cf",
    b'To: a@b, "C" <c@d>\r\nBcc: (x) e\n f\r\nResent-To: g\r\n\r\nbody\n.\nmore',
)
WORDS = (
    *(b"{", b"}", b'"', b"[", b"]", b":", b",", b'"version": 1', b'"sender": "a"', b"null", b"NaN"),
    *(b'"recipients": ["a"]', b'"size": ', b'"notify": "', b"NEVER", b"1e400", b"-1", b"true"),
    *(b"\\ud800", b"\\u0000", b"\0", b"-f", b"-t", b"-o", b"-q", b"-b", b"-N", b"--", b"To: "),
    *(b"<a@b>", b"\r\n", b"\n", b"\r", b"\n.\n", b" ", b"Bcc:", b"[[[[[[[[", b'{"a":'),
)
_LONE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


def target(data: bytes) -> bool:
    """MaildropError or a submission that survives its file; a request or a usage error."""
    payload, decisions = split(data)
    wire = b"".join(wire_form([payload]))
    assert b"".join(wire_form(pieces(payload, decisions))) == wire
    assert not _LONE.search(wire)
    assert not wire or wire.endswith(b"\r\n")
    lines = iter(payload.splitlines(keepends=True))
    fields, rest = sendmail._read_header(line.rstrip(b"\r\n") + b"\r\n" for line in lines)
    assert all(field.endswith(b"\r\n") for field in (*fields, *rest))
    with contextlib.suppress(sendmail._BadAddresses):
        assert all(sendmail._header_recipients(fields))
    with contextlib.suppress(sendmail._Usage):
        sendmail.parse(payload.decode("utf-8", "surrogateescape").split("\0"))
    try:
        submission = decode_head(payload)
    except MaildropError:
        return False
    assert decode_head(encode_head(submission)) == submission
    return True
