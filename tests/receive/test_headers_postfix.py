"""The same messages through our header filter and through a real Postfix: the same header."""

from __future__ import annotations

import os
import re
import smtplib
from pathlib import Path

import pytest

from gatewayd.receive.headers import HeaderFilter, HeaderRules
from tests.peers import eventually, sink
from tests.postfix import running

_MISSING = (("Message-Id", "*"), ("Date", "*"), ("From", "s@s.test"))
_OURS = b"Received: ours\r\n"

_MESSAGES = (
    b"Subject: x\r\nTo: y@y.test\r\n\r\nbody\r\n",
    b"Subject: x\r\n\tfolded\r\n folded\r\nFrom: a@b.test\r\n\r\nbody\r\n",
    b"no header at all\r\nSubject: x\r\n",
    b"Subject: x\r\nno header\r\nTo: y@y.test\r\n",
    b" begins with a blank\r\nSubject: x\r\n\r\n",
    b"\r\nonly a body\r\n",
    b"From x y z\r\nSubject: x\r\n\r\nbody\r\n",
    b">From x y z\r\nSubject: x\r\n\r\nbody\r\n",
    b"From x y z\r\nFrom u v w\r\nSubject: x\r\n\r\n",
    b"Subject: x\r\nFrom x y z\r\n\r\n",
    b"Bcc: secret\r\n secret\r\nTo: y@y.test\r\n\r\nBcc: body\r\n",
    b"Return-Path: <x>\r\nContent-Length: 5\r\nResent-Bcc: z\r\nTo: y@y.test\r\n\r\nb\r\n",
    b"bCC : secret\r\nTo: y@y.test\r\n\r\n",
    b"Resent-From: a@b.test\r\nTo: y@y.test\r\n\r\nb\r\n",
    b"Resent-Message-Id: <a>\r\nMessage-Id: <b>\r\nDate: d\r\nFrom: e@f.test\r\n\r\nb\r\n",
    b"Date: d\r\nmessage-id: <b>\r\nFROM: e@f.test\r\n\r\nb\r\n",
    b"Subject : x\r\nTo\t: y@y.test\r\n\r\nb\r\n",
    b"Subject: x\r\n",
    b"A B: c\r\n\r\nb\r\n",
    b": c\r\n\r\nb\r\n",
    b"X:\r\nTo: y@y.test\r\n\r\nb\r\n",
    b"To: y@y.test\r\n \r\nBcc: z\r\n\r\nb\r\n",
    b"X-Long: " + b"y" * 900 + b"\r\nTo: z@y.test\r\n\r\nb\r\n",
)


@pytest.fixture(scope="module")
def through_postfix(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """What comes out at the other end of Postfix, message by message, from DATA's first line."""
    root: Path = tmp_path_factory.mktemp("headers")
    dumps = tmp_path_factory.mktemp("dumps")
    for folder in (dumps, *dumps.parents):
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o777 if folder == dumps else folder.stat().st_mode | 0o011)
    with sink("-d", f"{dumps}/%M.") as port:
        settings = {
            "relayhost": f"[127.0.0.1]:{port}",
            "always_add_missing_headers": "yes",
            "smtp_host_lookup": "native",
            "maillog_file": "",
        }
        with running(root, settings) as postfix:
            found = []
            for number, message in enumerate(_MESSAGES):
                before = set(os.listdir(dumps))
                _send(postfix.port, number, message)
                found.append(_dumped(dumps, before, number))
    return found


def _send(port: int, number: int, message: bytes) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        client.ehlo("me")
        client.mail("s@s.test")
        client.rcpt(f"u{number}@far.test")
        code, text = client.data(message)
        assert code == 250, text


def _dumped(dumps: Path, before: set[str], number: int) -> bytes:
    def arrived() -> bytes:
        for name in set(os.listdir(dumps)) - before:
            octets = (dumps / name).read_bytes()
            if f"u{number}@far.test".encode() in octets and octets.endswith(b"\n"):
                return octets
        return b""

    octets = eventually(arrived, f"message {number} at the sink")
    assert isinstance(octets, bytes)
    return octets


def _without_trace(octets: bytes) -> bytes:
    """From behind Postfix's own Received field, with LF line ends; generated values starred."""
    octets = octets.replace(b"\r\n", b"\n")
    at = octets.index(b"by postfix.test (Postfix)")
    rest = octets[octets.index(b"\n", octets.index(b"for <", at)) + 1 :]
    rest = re.sub(rb"(?m)^((?:Resent-)?Message-Id:) <\d{14}\.\w+@postfix\.test>$", rb"\1 *", rest)
    return re.sub(rb"(?m)^((?:Resent-)?Date:) \w{3}, .*\)$", rb"\1 *", rest)


@pytest.mark.parametrize("number", range(len(_MESSAGES)))
def test_the_header_is_what_postfix_makes_of_it(through_postfix: list[bytes], number: int) -> None:
    """Fields kept, dropped and added, and where the body begins."""
    header = HeaderFilter(HeaderRules(), _OURS, _MISSING)
    out = header.feed(_MESSAGES[number]) + header.finish()
    ours = out[len(_OURS) :].replace(b"\r\n", b"\n")
    assert ours.rstrip(b"\n") == _without_trace(through_postfix[number]).rstrip(b"\n")
