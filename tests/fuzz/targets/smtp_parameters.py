"""ESMTP parameters: what travels on can harm no command and no header, and comes back the same."""

from __future__ import annotations

import re

from gatewayd.message import Notify
from gatewayd.smtp.grammar import CommandError
from gatewayd.smtp.parameters import parse_mail_parameters, parse_rcpt_parameters
from tests.fuzz.inputs import split

SEEDS = (
    b"SIZE=1000 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ314159+2B",
    b"NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;joe+40example.com",
    b"NOTIFY=NEVER ORCPT=utf-8;j\xc3\xb6rg@b.example",
    b"size=0 ret=full",
)
WORDS = (
    *(b"SIZE=", b"BODY=", b"8BITMIME", b"7BIT", b"SMTPUTF8", b"RET=", b"FULL", b"HDRS", b" "),
    *(b"ENVID=", b"NOTIFY=", b"NEVER", b"SUCCESS", b"FAILURE", b",", b"ORCPT=", b"rfc822;"),
    *(b"utf-8;", b"+2B", b"+0D", b"+", b";", b"=", b"a@b", b"1", b"\t", b"+7F", b"\\x{20}"),
)
_LINE_SAFE = re.compile(r"[^\x00-\x20\x7f]*\Z")


def target(data: bytes) -> bool:
    """CommandError, or values that stand for themselves in a line of ours."""
    payload, decisions = split(data)
    source = payload.decode("utf-8", "replace")
    dsn = decisions.random() < 0.8
    taken = False
    try:
        mail = parse_mail_parameters(source, dsn=dsn, smtputf8=decisions.random() < 0.8)
    except CommandError:
        pass
    else:
        taken = True
        assert 0 <= mail.size < 2**63
        assert mail.body in ("", "7BIT", "8BITMIME")
        assert mail.ret in ("", "FULL", "HDRS")
        assert _LINE_SAFE.match(mail.envid)
        if mail.envid:
            assert parse_mail_parameters(f"ENVID={mail.envid}").envid == mail.envid
    try:
        rcpt = parse_rcpt_parameters(source, dsn=dsn)
    except CommandError:
        return taken
    assert rcpt.notify is Notify.NEVER or not rcpt.notify & Notify.NEVER
    assert _LINE_SAFE.match(rcpt.orcpt)
    if rcpt.orcpt:
        assert parse_rcpt_parameters(f"ORCPT={rcpt.orcpt}").orcpt == rcpt.orcpt
    return True
