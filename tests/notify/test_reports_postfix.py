"""Delivery reports beside a real Postfix's: the same mail fails in both, part by part alike."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.mail_sink import mail_sink
from tests.notify.likeness import likenesses
from tests.notify.pair import Mail, Side, pair
from tests.notify.parsed import parse_report
from tests.peers import free_port, sink

Sides = tuple[Side, Side]

_EIGHT_BIT = "Subject: h\u00e9llo\r\nFrom: me@sender.test\r\n\r\nb\u00f6dy\r\n".encode()
_LATIN = b"From: me@sender.test\r\nContent-Type: text/plain; charset=latin1\r\n\r\n\xf6\r\n"
_BIG = b"Subject: big\r\nFrom: me@sender.test\r\n\r\n" + b"large\r\n" * 1000

_SERVICES = """\
soft unix - - n - - smtp
  -o soft_bounce=yes
pipe unix - n n - - pipe
  user=nobody argv=/bin/true
box unix - n n - - pipe
  flags=X user=nobody argv=/bin/true
refusing unix - n n - - pipe
  user=nobody argv=/bin/sh -c {echo 5.7.7 not here; exit 67}
final unix - - n - - lmtp
  -o lmtp_assume_final=yes
silent unix - n n - - pipe
  user=nobody argv=/bin/sh -c {exit 67}
"""


def _texts() -> list[str]:
    """Reasons of many lengths, with words and runs of blanks of many lengths."""
    rng = random.Random(3464)
    sizes, gaps = (1, 2, 5, 9, 40, 72, 75, 78, 79, 100), (1, 1, 1, 2, 5)
    return [
        "x" + "".join("w" * rng.choice(sizes) + " " * rng.choice(gaps) for _ in range(12)) + "x"
        for _ in range(30)
    ]


_TEXTS = _texts()

_FAILING = (
    Mail("rcpt", ["<a@rcpt.test>"]),
    Mail("mail", ["<a@mail.test>"]),
    Mail("data", ["<a@data.test>"]),
    Mail("dot", ["<a@dot.test>"]),
    Mail("helo", ["<a@helo.test>"]),
    Mail("no-status", ["<a@bare.test>"]),
    Mail("many-lines", ["<lines@picky.test>"]),
    Mail("some", ["<ok1@picky.test>", "<no1@picky.test>", "<ok2@picky.test>", "<no2@picky.test>"]),
    Mail("several", ["<a@rcpt.test>", "<b@error.test>", "<c@coded.test>", "<d@silent.test>"]),
    Mail("no-such-domain", ["<a@error.test>"]),
    Mail("error-with-code", ["<a@coded.test>"]),
    Mail("command", ["<a@refusing.test>"]),
    Mail("silent-command", ["<a@silent.test>"]),
    Mail("rewritten", ["<error.test!a>", "<b%error.test>"]),
    Mail("quoted", ['<"we ird"@error.test>', '<"a\\"b"@error.test>']),
    Mail("orcpt", ["<a@error.test> ORCPT=rfc822;o+2Brig@x.test", "<b@error.test> ORCPT=x400;/x"]),
    Mail("orcpt-rewritten", ["<error.test!a> ORCPT=rfc822;orig@x.test"]),
    Mail("never", ["<a@error.test> NOTIFY=NEVER"]),
    Mail("success-only", ["<a@error.test> NOTIFY=SUCCESS,DELAY"]),
    Mail("mixed", ["<a@error.test> NOTIFY=NEVER", "<b@error.test> NOTIFY=FAILURE"]),
    Mail("envid", ["<a@error.test>"], "ENVID=q+2B1+3D"),
    Mail("hdrs", ["<a@error.test>"], "RET=HDRS ENVID=h"),
    Mail("full", ["<a@error.test>"], "RET=FULL"),
    Mail("big", ["<a@error.test>"], "RET=FULL", _BIG),
    Mail("eight-bit", ["<a@rcpt.test>"], "BODY=8BITMIME", _EIGHT_BIT),
    Mail("latin", ["<a@error.test>"], "", _LATIN),
    Mail("latin-hdrs", ["<a@error.test>"], "RET=HDRS", _EIGHT_BIT),
    Mail("utf8-rcpt", ["<j\u00f6s\u00e9@error.test>", "<b@error.test>"], "SMTPUTF8", _EIGHT_BIT),
    Mail("utf8-hdrs", ["<j\u00f6s\u00e9@error.test>"], "SMTPUTF8 RET=HDRS", _EIGHT_BIT),
    Mail("utf8-orcpt", ["<a@error.test> ORCPT=utf-8;j\\x{F6}s@x.test"], "SMTPUTF8"),
    Mail("utf8-flag", ["<a@error.test>"], "SMTPUTF8"),
    Mail("null", ["<a@error.test>"], sender=""),
    Mail("texts", [f"<a@text{number}.test>" for number, _ in enumerate(_TEXTS)]),
)
_DELIVERED = (
    Mail("relayed", ["<a@nodsn.test> NOTIFY=SUCCESS,FAILURE"], "ENVID=e RET=FULL"),
    Mail("passed", ["<a@dsn.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x@y.test"], "RET=HDRS ENVID=p"),
    Mail("piped", ["<a@pipe.test> NOTIFY=SUCCESS", "<b@box.test> NOTIFY=SUCCESS"], "", _EIGHT_BIT),
    Mail("lmtp", ["<a@lmtp.test> NOTIFY=SUCCESS", "<b@final.test> NOTIFY=SUCCESS"]),
    Mail("lmtp-fails", ["<a@picky-lmtp.test>", "<b@picky-lmtp.test> NOTIFY=NEVER"]),
    Mail("unasked", ["<a@pipe.test>", "<b@nodsn.test> NOTIFY=FAILURE"]),
    Mail("discarded", ["<a@discard.test> NOTIFY=SUCCESS"]),
    Mail("null-success", ["<a@pipe.test> NOTIFY=SUCCESS"], sender=""),
    Mail("both", ["<a@pipe.test> NOTIFY=SUCCESS", "<b@error.test> NOTIFY=SUCCESS,FAILURE"]),
    Mail("utf8-success", ["<\u00fc@pipe.test> NOTIFY=SUCCESS"], "SMTPUTF8"),
)
_WAITING = (
    Mail("later", ["<a@retry.test>", "<b@retry.test> NOTIFY=NEVER"]),
    Mail("soft", ["<a@soft.test>"]),
    Mail("no-server", ["<a@closed.test>"]),
    Mail("lost", ["<a@lost.test>"]),
    Mail("not-now", ["<a@busy.test>"]),
    Mail("over-quota", ["<a@quota.test>"]),
)


_OURS_IS_BETTER = Mail("utf8-reply", ["<utf8@picky.test>"])


@pytest.fixture(scope="module")
def sides() -> Iterator[Sides]:
    """Both, with all of the mail handed in; what waits is force-expired."""
    with ExitStack() as stack:
        enter = stack.enter_context
        rcpt = enter(sink("-f", "rcpt", "-B", "550 5.1.1 no such user"))
        nodsn = enter(sink("-N"))
        picky = enter(mail_sink())
        picky.answers = {
            "RCPT TO:<LINES": "550-5.1.1 the first\r\n550-5.1.1\r\n550 5.1.1 the last",
            "RCPT TO:<UTF8": "550 5.1.1 k\u00f6nig",
            "RCPT TO:<NO1": "551 5.1.6 moved",
            "RCPT TO:<NO2": "553 5.1.3 nonsense",
        }
        dsn = enter(mail_sink())
        smtp = {
            "rcpt": rcpt,
            "mail": enter(sink("-f", "mail", "-B", "553 5.1.8 who are you")),
            "data": enter(sink("-f", "data", "-B", "554 5.7.0 no data")),
            "dot": enter(sink("-f", ".", "-B", "552 5.2.2 full")),
            "helo": enter(sink("-f", "helo,ehlo", "-B", "550 5.7.1 not you")),
            "bare": enter(sink("-E", "-f", "rcpt", "-B", "550 go away")),
            "picky": picky.port,
            "nodsn": nodsn,
            "dsn": dsn.port,
            "closed": free_port(),
            "busy": enter(sink("-r", "helo,ehlo", "-b", "450 4.7.1 not now")),
            "quota": enter(sink("-r", ".", "-b", "452 4.2.2 over quota")),
            "lost": enter(sink("-q", "data")),
        }
        transport = "".join(f"{name}.test smtp:[127.0.0.1]:{smtp[name]}\n" for name in smtp)
        lmtp = enter(sink("-L", "-N"))
        transport += f"lmtp.test lmtp:inet:127.0.0.1:{lmtp}\n"
        transport += f"final.test final:inet:127.0.0.1:{lmtp}\n"
        picky_lmtp = enter(sink("-L", "-f", ".", "-B", "552 5.2.2 full"))
        transport += f"picky-lmtp.test lmtp:inet:127.0.0.1:{picky_lmtp}\n"
        transport += f"soft.test soft:[127.0.0.1]:{rcpt}\n"
        transport += "".join(f"{name}.test {name}:\n" for name in ("pipe", "box"))
        transport += "".join(f"{name}.test {name}:\n" for name in ("refusing", "silent"))
        transport += "error.test error:this domain is closed\n"
        transport += "coded.test error:5.7.9 closed, with a code\n"
        transport += "retry.test retry:4.2.9 later\ndiscard.test discard:thrown away\n"
        transport += "".join(f"text{n}.test error:{text}\n" for n, text in enumerate(_TEXTS))
        both = enter(pair(transport, {"bounce_size_limit": "5000"}, _SERVICES))
        for side in both:
            for mail in (*_FAILING, *_DELIVERED, *_WAITING, _OURS_IS_BETTER):
                side.send(mail)
        for side in both:
            _expire(side)
        _check_passed_on(both, dsn.envelopes)
        yield both


def _expire(side: Side) -> None:
    for mail in _WAITING:
        queue_id = side.queue_ids[mail.name]
        side.server.wait_log(rf"{queue_id}: to=<a@.*status=(deferred|SOFTBOUNCE)")
        assert side.command("postsuper", "-e", queue_id).returncode == 0
        assert side.command("postqueue", "-i", queue_id).returncode == 0


def _check_passed_on(both: Sides, envelopes: list[tuple[str, list[str]]]) -> None:
    """A peer with DSN gets the duty to report."""
    for side in both:
        side.notices("passed")
    assert len(envelopes) == 2
    for mail, (recipient,) in envelopes:
        assert {"RET=HDRS", "ENVID=p"} <= set(mail.split())
        parameters = set(recipient.split())
        assert {"NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;x@y.test"} <= parameters


@pytest.mark.parametrize("mail", _FAILING + _DELIVERED + _WAITING, ids=lambda mail: mail.name)
def test_reports_are_like_postfix_s(sides: Sides, mail: Mail) -> None:
    theirs, ours = (likenesses(side.reports(mail.name)) for side in sides)
    assert ours == theirs
    first, second = (sorted(kind for kind, _ in side.notices(mail.name)) for side in sides)
    assert second == first


def test_who_is_told(sides: Sides) -> None:
    """That the comparison has something to compare."""
    told = {_OURS_IS_BETTER.name} | {mail.name for mail in _FAILING + _DELIVERED + _WAITING}
    told -= {"never", "success-only", "null", "passed", "unasked", "null-success"}
    for side in sides:
        assert {name for name in side.queue_ids if side.reports(name)} == told


def test_a_reply_that_is_no_ascii(sides: Sides) -> None:
    """In the words for people as it was; where RFC 3464 §2.1 wants ASCII, Postfix has octets."""
    _, ours = sides
    (report,) = ours.reports(_OURS_IS_BETTER.name)
    parsed = parse_report(report.content)
    assert "said: 550 5.1.1 k\u00f6nig (in reply" in " ".join(parsed.text.split())
    assert ("Diagnostic-Code", "smtp; 550 5.1.1 k?nig") in parsed.recipient_fields[0]
