"""Every fixed reply of the SMTP server, by dialogue, as Postfix itself gives it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gatewayd.smtp.session_events import AskEtrn, AskRecipient, AskVerify
from gatewayd.status import Reply
from tests.postfix import running
from tests.smtp.desk import NO_SLEEP, desk

_EHLO = (
    "250-mx.test|250-PIPELINING|250-SIZE 10240000|250-VRFY|250-ETRN|250-ENHANCEDSTATUSCODES"
    "|250-8BITMIME|250-DSN|250-SMTPUTF8|250 CHUNKING"
)
_MAIL = ("MAIL FROM:<a@b>", "250 2.1.0 Ok")
_RCPT = ("RCPT TO:<x@discard.test>", "250 2.1.5 Ok")
_RSET = ("RSET", "250 2.0.0 Ok")
_BAD_SENDER = "501 5.1.7 Bad sender address syntax"
_BAD_RCPT = "501 5.1.3 Bad recipient address syntax"
_HELLO = ("EHLO x", _EHLO)
_NO_MAIL_SYNTAX = "501 5.5.4 Syntax: MAIL FROM:<address>"
_UNKNOWN = "500 5.5.2 Error: command not recognized"

# What Postfix says too: test_postfix_says_the_same runs them against a real one.
_DIALOGUES: dict[str, list[tuple[str, str]]] = {
    "greeting": [
        ("HELO", "501 Syntax: HELO hostname"),
        ("EHLO", "501 Syntax: EHLO hostname"),
        ("helo x y z", "250 mx.test"),
        ("EHLO x y", _EHLO),
        ("QUIT x", "221 2.0.0 Bye"),
    ],
    "unknown": [
        ("EXPN a", _UNKNOWN),
        ("TURN", _UNKNOWN),
        ("FOO", _UNKNOWN),
        ("", "500 5.5.2 Error: bad syntax"),
        ("  ", "500 5.5.2 Error: bad syntax"),
        ("STARTTLS", "502 5.5.1 Error: command not implemented"),
        ("AUTH PLAIN", "503 5.5.1 Error: authentication not enabled"),
        ("NOOP \xff", "500 5.5.2 Error: bad UTF-8 syntax"),
        ("NOOP a b", "250 2.0.0 Ok"),
    ],
    "order": [
        _HELLO,
        ("RCPT TO:<a@b>", "503 5.5.1 Error: need MAIL command"),
        ("DATA", "503 5.5.1 Error: need RCPT command"),
        _MAIL,
        ("MAIL FROM:<a@b>", "503 5.5.1 Error: nested MAIL command"),
        ("DATA", "554 5.5.1 Error: no valid recipients"),
        ("DATA x", "554 5.5.1 Error: no valid recipients"),
        ("ETRN x", "503 Error: MAIL transaction in progress"),
        ("RSET x", "501 5.5.4 Syntax: RSET"),
        _RCPT,
        ("DATA x", "501 5.5.4 Syntax: DATA"),
        ("EHLO again", _EHLO),
        ("DATA", "503 5.5.1 Error: need RCPT command"),
        _MAIL,
    ],
    "mail arguments": [
        ("MAIL", _NO_MAIL_SYNTAX),
        ("MAIL FROM", _NO_MAIL_SYNTAX),
        ("MAIL FROM:", _NO_MAIL_SYNTAX),
        ("MAIL FROM :<a@b>", _NO_MAIL_SYNTAX),
        ("MAIL FROM:<a b@c>", _BAD_SENDER),
        ("MAIL FROM:<a@b", _BAD_SENDER),
        ("MAIL FROM:<a@>", _BAD_SENDER),
        ("MAIL FROM:<a@b>c", _BAD_SENDER),
        ("MAIL FROM:<a@b..c>", _BAD_SENDER),
        ("MAIL FROM:<a@-b>", _BAD_SENDER),
        ("MAIL FROM:<a@b,c>", _BAD_SENDER),
        ("MAIL FROM:<a@b> trailing", "555 5.5.4 Unsupported option: trailing"),
        ("MAIL FROM:<a@b> BODY=BINARYMIME", "555 5.5.4 Unsupported option: BODY=BINARYMIME"),
        ("MAIL FROM:<a@b> SMTPUTF8=1", "555 5.5.4 Unsupported option: SMTPUTF8=1"),
        ("MAIL FROM:<a@b> SIZE=", "501 5.5.4 Bad message size syntax"),
        ("MAIL FROM:<a@b> SIZE=x", "501 5.5.4 Bad message size syntax"),
        ("MAIL FROM:<a@b> SIZE=+1", "501 5.5.4 Bad message size syntax"),
        ("MAIL FROM:<a@b> SIZE=1_0", "501 5.5.4 Bad message size syntax"),
        (
            "MAIL FROM:<a@b> SIZE=99999999999999999999999",
            "552 5.3.4 Message size exceeds file system imposed limit",
        ),
        ("MAIL FROM:<a@b> SIZE=10240001", "552 5.3.4 Message size exceeds fixed limit"),
    ],
    "DSN arguments of MAIL": [
        ("MAIL FROM:<a@b> RET=x", "501 5.5.4 Bad RET parameter syntax"),
        ("MAIL FROM:<a@b> RET=FULL RET=HDRS", "501 5.5.4 Bad RET parameter syntax"),
        ("MAIL FROM:<a@b> ENVID=", "501 5.5.4 Bad ENVID parameter syntax"),
        ("MAIL FROM:<a@b> ENVID=+x", "501 5.5.4 Bad ENVID parameter syntax"),
        ("MAIL FROM:<a@b> ENVID=a+0Ab", "501 5.5.4 Bad ENVID parameter syntax"),
        ("MAIL FROM:<a@b> RET=hdrs ENVID=a+2Bb BODY=8bitmime SIZE=1", "250 2.1.0 Ok"),
    ],
    "senders": [
        pair
        for path in (
            "<>",
            " <>",
            "a@b",
            "<a..b@c>",
            "<@x,@y:a@b>",
            '<"a b"@c>',
            '<"a".b@c>',
            '<"a\\"b"@c>',
            "<a@[1.2.3.4]>",
            "<a@b.>",
            "<a@b_c>",
            "< a @b >",
            "<user>",
            "<a%b!c@d>",
        )
        for pair in ((f"MAIL FROM:{path}", "250 2.1.0 Ok"), _RSET)
    ],
    "recipients": [
        _MAIL,
        ("RCPT", "501 5.5.4 Syntax: RCPT TO:<address>"),
        ("RCPT TO:<>", _BAD_RCPT),
        ("RCPT TO:<x@discard.test> FOO", "555 5.5.4 Unsupported option: FOO"),
        ("RCPT TO:<x@discard.test> NOTIFY=", "501 5.5.4 Error: Bad NOTIFY parameter syntax"),
        (
            "RCPT TO:<x@discard.test> NOTIFY=NEVER,SUCCESS",
            "501 5.5.4 Error: Bad NOTIFY parameter syntax",
        ),
        (
            "RCPT TO:<x@discard.test> NOTIFY=never NOTIFY=NEVER",
            "501 5.5.4 Error: Bad NOTIFY parameter syntax",
        ),
        ("RCPT TO:<x@discard.test> ORCPT=x", "501 5.5.4 Error: Bad ORCPT parameter syntax"),
        ("RCPT TO:<x@discard.test> ORCPT=;a", "501 5.5.4 Error: Bad ORCPT parameter syntax"),
        (
            "RCPT TO:<x@discard.test> ORCPT=rfc822;a+4",
            "501 5.5.4 Error: Bad ORCPT parameter syntax",
        ),
        ("RCPT TO:<x@discard.test> NOTIFY=SUCCESS,delay ORCPT=rfc822;a+2Bb", "250 2.1.5 Ok"),
        ("RCPT TO: x@discard.test", "250 2.1.5 Ok"),
        ("RCPT TO:<postmaster>", "250 2.1.5 Ok"),
    ],
    "BDAT out of order": [
        ("BDAT 0", "551 5.7.1 Null BDAT request"),
        ("BDAT 0", "551 5.7.1 Null BDAT request"),
        ("BDAT 0 LAST", "551 5.0.0 Discarded 0 bytes after earlier error"),
        ("BDAT 0 LAST", "503 5.5.1 Error: need RCPT command"),
        _MAIL,
        ("BDAT 0 last", "554 5.5.1 Error: no valid recipients"),
        _MAIL,
        ("BDAT 0", "551 5.7.1 Null BDAT request"),
        ("RCPT TO:<a@b>", "503 5.5.1 Error: RCPT after BDAT"),
        _RSET,
        _MAIL,
        _RCPT,
        ("BDAT 0", "551 5.7.1 Null BDAT request"),
        ("MAIL FROM:<a@b>", "503 5.5.1 Error: nested MAIL command"),
        ("DATA", "503 5.5.1 Error: DATA after BDAT"),
        ("BDAT 0 LAST", "551 5.0.0 Discarded 0 bytes after earlier error"),
    ],
    "BDAT without count": [_HELLO, ("BDAT", "521 5.5.4 Syntax: BDAT count [LAST]")],
    "BDAT with signs": [_HELLO, ("BDAT +1", "521 5.5.4 Syntax: BDAT count [LAST]")],
    "BDAT with words": [_HELLO, ("BDAT 1 FIRST", "521 5.5.4 Syntax: BDAT count [LAST]")],
    "VRFY and ETRN": [
        _HELLO,
        ("VRFY", "501 5.5.4 Syntax: VRFY address [SMTPUTF8]"),
        ("VRFY a b", _BAD_RCPT),
        ("VRFY postmaster", "252 2.0.0 postmaster"),
        ("VRFY postmaster SMTPUTF8", "252 2.0.0 postmaster"),
        ("ETRN", "500 Syntax: ETRN domain"),
        ("ETRN x y", "500 Syntax: ETRN domain"),
        ("ETRN @@x", "501 Error: invalid parameter syntax"),
        ("ETRN <x>", "501 Error: invalid parameter syntax"),
        ("ETRN x.", "501 Error: invalid parameter syntax"),
        ("ETRN @discard.test", "250 Queuing started"),
        ("ETRN #discard.test", "250 Queuing started"),
    ],
    "HTTP": [("GET / HTTP/1.0", "221 2.7.0 Error: I can break rules, too. Goodbye.")],
    "header": [("Subject: x", "221 2.7.0 Error: I can break rules, too. Goodbye.")],
    "header without blank": [("x:y", "221 2.7.0 Error: I can break rules, too. Goodbye.")],
    "binary": [("\x16\x03\x01", "221 2.7.0 Error: I can break rules, too. Goodbye.")],
}


@pytest.mark.parametrize("name", _DIALOGUES)
def test_dialogue(name: str) -> None:
    """Each command gets the reply of the table."""
    talk = desk(**NO_SLEEP)
    for command, expected in _DIALOGUES[name]:
        said = talk.say(command.encode("latin-1") + b"\r\n").decode()
        assert said == expected.replace("|", "\r\n") + "\r\n", command


def test_postfix_says_the_same(tmp_path: Path) -> None:
    """A real Postfix gives the same replies to the same commands."""
    wanted = {
        "myhostname": "mx.test",
        "transport_maps": "inline:{discard.test=discard:}",
        "relay_domains": "discard.test",
        "smtpd_error_sleep_time": "0",
        "smtpd_hard_error_limit": "100",
        "smtpd_forbidden_commands": "CONNECT GET POST regexp:{{/^[^A-Z]/ Bogus}}",
    }
    with running(tmp_path, wanted) as postfix:
        for name, dialogue in _DIALOGUES.items():
            with (
                socket.create_connection(("127.0.0.1", postfix.port), 20) as connection,
                connection.makefile("rwb") as wire,
            ):
                wire.readline()
                for command, expected in dialogue:
                    wire.write(command.encode("latin-1") + b"\r\n")
                    wire.flush()
                    lines = [wire.readline()]
                    while lines[-1][3:4] == b"-":
                        lines.append(wire.readline())
                    said = b"".join(lines).decode().rstrip("\r\n").replace("\r\n", "|")
                    assert said == expected, f"{name}: {command}"


@pytest.mark.parametrize(
    "path",
    [
        "<a@b@c>",
        "<a(c)@b>",
        "<a\\ b@c>",
        "<a:b@c>",
        "<@b>",
        "<a@[1.2.3.4>",
        '<"a"b c@d>',
        "<a,b@c>",
    ],
)
def test_paths_that_could_be_read_in_two_ways(path: str) -> None:
    """Stricter than Postfix on purpose: no guess at what such an address means."""
    talk = desk()
    assert talk.say(f"MAIL FROM:{path}\r\n".encode()) == _BAD_SENDER.encode() + b"\r\n"
    where = "Illegal address syntax from client.test[192.0.2.1] in MAIL command"
    assert talk.log == [f"warning: {where}: {path}"]


def test_nul_is_no_end_of_a_command() -> None:
    """A command with a NUL in it isn't cut there: it's refused."""
    assert desk().say(b"NOOP\0 hidden\r\n") == b"500 5.5.2 Error: bad syntax\r\n"


def test_help_lists_commands() -> None:
    said = desk().say(b"HELP\r\n")
    assert said.startswith(b"214 2.0.0 Commands: ")
    assert b" MAIL " in said
    assert b"STARTTLS" not in said


def test_vrfy_refusals() -> None:
    """VRFY says what the policy says, or that it's off."""
    refused = Reply(454, "4.7.1", "<a@b>: Relay access denied")
    talk = desk({AskVerify: refused})
    assert talk.say(b"VRFY <a@b>\r\n") == b"454 4.7.1 <a@b>: Relay access denied\r\n"
    assert talk.log == [
        "NOQUEUE: reject: VRFY from client.test[192.0.2.1]: 454 4.7.1 <a@b>: Relay access denied;"
        " to=<a@b> proto=SMTP"
    ]
    talk = desk(disable_vrfy=True)
    assert talk.say(b"VRFY a@b\r\n") == b"502 5.5.1 VRFY command is disabled\r\n"
    assert b"VRFY" not in talk.say(b"EHLO x\r\n")


@pytest.mark.parametrize(
    ("answer", "said", "logged"),
    [
        (Reply(459, "", "<x>: service unavailable"), b"459 <x>: service unavailable\r\n", 0),
        (Reply(458, "", "Unable to queue messages"), b"458 Unable to queue messages\r\n", 0),
        (Reply(554, "5.7.1", "<x>: Etrn command rejected"), b"554 5.7.1 <x>: Etrn comm", 1),
    ],
)
def test_etrn_refusals(answer: Reply, said: bytes, logged: int) -> None:
    """ETRN's own refusals have no enhanced status code; those of access lists have, and a line."""
    talk = desk({AskEtrn: answer})
    assert talk.say(b"ETRN x\r\n").startswith(said)
    assert len(talk.log) == logged


def test_helo_required() -> None:
    """MAIL and ETRN want a greeting first if so configured; the rest doesn't."""
    talk = desk(helo_required=True)
    assert talk.say(b"MAIL FROM:<a@b>\r\n") == b"503 5.5.1 Error: send HELO/EHLO first\r\n"
    assert talk.say(b"ETRN x\r\n") == b"503 Error: send HELO/EHLO first\r\n"
    assert talk.say(b"NOOP\r\n") == b"250 2.0.0 Ok\r\n"
    talk.say(b"HELO x\r\n")
    assert talk.say(b"MAIL FROM:<a@b>\r\n") == b"250 2.1.0 Ok\r\n"


def test_discarded_keywords() -> None:
    """What EHLO hides: BDAT and DSN are then refused, ETRN and the rest still work."""
    hidden = frozenset({"ETRN", "CHUNKING", "DSN", "PIPELINING"})
    talk = desk(discard_ehlo_keywords=hidden)
    assert talk.say(b"EHLO x\r\n") == (
        b"250-mx.test\r\n250-SIZE 10240000\r\n250-VRFY\r\n250-ENHANCEDSTATUSCODES\r\n"
        b"250-8BITMIME\r\n250 SMTPUTF8\r\n"
    )
    assert talk.say(b"ETRN x\r\n") == b"250 Queuing started\r\n"
    assert talk.say(b"MAIL FROM:<a@b> RET=FULL\r\n") == b"501 5.7.1 DSN support is disabled\r\n"
    assert talk.say(b"BDAT 1\r\n") == b"521 5.5.1 Error: command not implemented\r\n"
    assert talk.closed


def test_strict_envelopes() -> None:
    talk = desk(strict_envelopes=True)
    assert talk.say(b"MAIL FROM:a@b\r\n") == _BAD_SENDER.encode() + b"\r\n"
    talk.say(b"MAIL FROM:<a@b>\r\n")
    assert talk.say(b"RCPT TO:a@b\r\n") == _BAD_RCPT.encode() + b"\r\n"


def test_smtputf8() -> None:
    """Addresses beyond ASCII pass undeclared, unless strict; not offered means not known."""
    sender = "MAIL FROM:<jörg@exämple.test>".encode()
    assert desk().say(sender + b"\r\n") == b"250 2.1.0 Ok\r\n"
    strict = desk(strict_smtputf8=True)
    assert strict.say(sender + b"\r\n") == _BAD_SENDER.encode() + b"\r\n"
    assert strict.say(sender + b" SMTPUTF8\r\n") == b"250 2.1.0 Ok\r\n"
    off = desk(smtputf8=False)
    assert off.say(sender + b" SMTPUTF8\r\n") == b"555 5.5.4 Unsupported option: SMTPUTF8\r\n"
    assert b"SMTPUTF8" not in off.say(b"EHLO x\r\n")


def test_size_without_limit() -> None:
    talk = desk(message_size_limit=0)
    assert b"\r\n250-SIZE\r\n" in talk.say(b"EHLO x\r\n")
    assert talk.say(b"MAIL FROM:<a@b> SIZE=99999999999\r\n") == b"250 2.1.0 Ok\r\n"


def test_reply_text_cannot_forge_a_line() -> None:
    """A policy's reply may have several lines; no text of it starts one that isn't a reply's."""
    talk = desk({AskRecipient: Reply(550, "5.1.1", "no\r\n250 2.1.5 Ok\rx\0")})
    talk.say(b"MAIL FROM:<>\r\n")
    assert talk.say(b"RCPT TO:<a@b>\r\n") == b"550-5.1.1 no?\r\n550 5.1.1 250 2.1.5 Ok?x?\r\n"


def test_echo_cannot_forge_a_line() -> None:
    """A reply that repeats what the client sent holds no CR or other control character of it."""
    talk = desk()
    said = talk.say(b"MAIL FROM:<a@b> X=\r250\x01Ok\r\n")
    assert said == b"555 5.5.4 Unsupported option: X=?250?Ok\r\n"
