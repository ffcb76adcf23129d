"""The SMTP grammar: addresses are read in one way or not at all."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.address import NULL, Address
from gatewayd.message import Notify
from gatewayd.smtp.grammar import (
    CommandError,
    chunk_size,
    etrn_site,
    forward_path,
    reverse_path,
    split_command,
)
from gatewayd.smtp.parameters import parse_mail_parameters, parse_rcpt_parameters


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("NOOP", ("NOOP", "")),
        ("noop", ("NOOP", "")),
        ("MAIL  FROM:<> ", ("MAIL", "FROM:<>")),
        ("mail\tFROM:<>", ("MAIL", "FROM:<>")),
        ("\tRSET ", ("RSET", "")),
        ("maıl FROM:<>", ("maıl", "FROM:<>")),
        ("", ("", "")),
    ],
)
def test_split_command(line: str, parts: tuple[str, str]) -> None:
    """Blanks and tabs separate; only ASCII letters change case (a dotless i is no I)."""
    assert split_command(line) == parts


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("<a@b>", Address("a", "b")),
        ("<A.b+c=d@Ex-ample.COM>", Address("A.b+c=d", "Ex-ample.COM")),
        ("a@b", Address("a", "b")),
        ("<postmaster>", Address("postmaster")),
        ("<@relay,@other.test:a@b>", Address("a", "b")),
        ("<@relay , @[1.2.3.4]: a@b>", Address("a", "b")),
        ('<"a b"@c>', Address("a b", "c")),
        ('<"a@b"@c>', Address("a@b", "c")),
        ('<"a>b"@c>', Address("a>b", "c")),
        ('<"\\"\\\\"@c>', Address('"\\', "c")),
        ('<"a".b."c"@d>', Address("a.b.c", "d")),
        ("<u@[IPv6:::1]>", Address("u", "[IPv6:::1]")),
        ("<jörg@exämple.test>", Address("jörg", "exämple.test")),
        ("< a @ b >", Address("a", "b")),
        ("<-x@b>", Address("-x", "b")),
    ],
)
def test_forward_path(path: str, address: Address) -> None:
    """Forms that all mean one mailbox, whichever of them the client writes."""
    assert forward_path(f"TO:{path}") == (address, "")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "<>",
        "<",
        ">",
        "<a@b",
        "a@b>",
        "<a@b>>",
        "<<a@b>>",
        "<a@b@c>",
        "<a@b c>",
        "<a b@c>",
        "<a@@b>",
        "<@a>",
        "<a@>",
        "<@a:>",
        "<@a:@b:c>",
        "<a@[1.2.3.4>",
        "<a@[]>",
        "<a@b]>",
        "<a@b\x7f>",
        "<a\x00@b>",
        "<a\t\x0b@b>",
        '<"a@b>',
        '<"a""@b>',
        '<""@b>',
        "<a@.b>",
        "<a@b..c>",
        "<a@b-.c>",
        "<a@-b>",
        "<a@b->",
        "<a@" + "b" * 300 + ">",
        "<a\u2028@b\n>",
    ],
)
def test_no_forward_path(path: str) -> None:
    """What has no meaning, or two."""
    with pytest.raises(CommandError):
        forward_path(f"TO:{path}")


def test_null_reverse_path() -> None:
    assert reverse_path("FROM:<>") == (NULL, "")
    assert reverse_path("from: <> SIZE=1") == (NULL, " SIZE=1")


_LOCAL = st.text(
    st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs", "Cc"]),
    min_size=1,
)
_DOMAIN = st.from_regex(r"\A[a-zA-Z0-9]([a-zA-Z0-9-]{0,8}[a-zA-Z0-9])?(\.[a-z0-9]{1,8}){0,3}\Z")


@given(_LOCAL, _DOMAIN)
def test_external_form_is_read_back(local: str, domain: str) -> None:
    """Whatever is in a local part: what we write is what we read."""
    address = Address(local, domain)
    assert forward_path(f"TO:<{address}>") == (address, "")


@given(st.text(alphabet=st.sampled_from('<>@",\\ab.:-[]() \t=%!\x00é')))
def test_any_text_is_a_path_or_refused(text: str) -> None:
    """Nothing but CommandError; and what is accepted is read the same in the form we write."""
    try:
        address, _ = forward_path("TO:" + text)
    except CommandError:
        return
    assert forward_path(f"TO:<{address}>")[0] == address
    assert not set(address.domain) & set('<>@",\\ \t()\x00')


@pytest.mark.parametrize(
    "text",
    [
        "<" + "a" * 50000 + "!",
        "<" + '"a"' * 20000 + "(",
        "<" + "@a, " * 20000 + "x@y>",
        "<" + "@a  " * 20000,
        "<a@" + "b-" * 30000 + ">",
        "<a@" + "b." * 30000 + ">",
        '<"' + "\\" * 50001,
        "<" + " " * 50000 + "a@b",
        "<a" + " \t" * 30000 + "@" + " " * 50000 + "(",
    ],
)
def test_linear_time(text: str) -> None:
    """No text makes the patterns backtrack for long, even one far longer than a command."""
    start = time.process_time()
    with pytest.raises(CommandError):
        forward_path("TO:" + text)
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize(
    ("argument", "site"),
    [("x", "x"), ("@x.test", "x.test"), ("#q", "q"), ("[1.2.3.4]", "[1.2.3.4]")],
)
def test_etrn_site(argument: str, site: str) -> None:
    assert etrn_site(argument) == site


@pytest.mark.parametrize("argument", ["", "a b", "@@x", "@", "x.", ".x", "<x>", "a@b", "-x", "a/b"])
def test_no_etrn_site(argument: str) -> None:
    with pytest.raises(CommandError):
        etrn_site(argument)


def test_chunk_size() -> None:
    assert chunk_size("0") == (0, False)
    assert chunk_size("86 LAST") == (86, True)
    assert chunk_size("007\tlast") == (7, True)


@pytest.mark.parametrize(
    "argument",
    [
        "",
        "-1",
        "+1",
        "1_0",
        "0x1",
        "1.0",
        "١",
        "1 2",
        "1 LAST x",
        "LAST",
        "9" * 19,
        "1\n",
        "1 laſt",
    ],
)
def test_no_chunk_size(argument: str) -> None:
    """Nothing that int() would take beyond digits is taken here."""
    with pytest.raises(CommandError):
        chunk_size(argument)


def test_mail_parameters() -> None:
    found = parse_mail_parameters("SIZE=12  body=8bitmime\tRET=full ENVID=a+20b smtputf8")
    assert (found.size, found.body, found.ret, found.envid) == (12, "8BITMIME", "FULL", "a+20b")
    assert found.smtputf8


@pytest.mark.parametrize(
    "text",
    [
        "SIZE",
        "SIZE=-1",
        "SIZE=1\u00a0",
        "SıZE=1",
        "SIZE=٣",
        "BODY=",
        "BODY=BINARYMIME",
        "ENVID=a+0D+0Ab",
        "ENVID=a+7F",
        "ENVID=ä",
        "RET=",
        "FOO",
        "FOO=BAR",
        "=",
    ],
)
def test_bad_mail_parameters(text: str) -> None:
    with pytest.raises(CommandError):
        parse_mail_parameters(text)


def test_rcpt_parameters() -> None:
    found = parse_rcpt_parameters("NOTIFY=failure,DELAY ORCPT=rfc822;a+2Bb@c")
    assert found.notify == Notify.FAILURE | Notify.DELAY
    assert found.orcpt == "rfc822;a+2Bb@c"
    assert parse_rcpt_parameters("NOTIFY=NEVER").notify is Notify.NEVER
    assert parse_rcpt_parameters("").notify is Notify.DEFAULT
    assert parse_rcpt_parameters("ORCPT=utf-8;jörg@b").orcpt == "utf-8;jörg@b"


@pytest.mark.parametrize(
    "text",
    [
        "NOTIFY=",
        "NOTIFY=NEVER,DELAY",
        "NOTIFY=ſUCCESS",
        "NOTIFY=DELAY,",
        "ORCPT=rfc822",
        "ORCPT=;x",
        "ORCPT=rfc822;a+0Ab",
        "ORCPT=rfc822;a+zz",
        "ORCPT=rfc822;ä",
        "ORCPT=utf-8;a\x85b",
        "ORCPT=rfc822;a ORCPT=rfc822;b",
        "FOO",
    ],
)
def test_bad_rcpt_parameters(text: str) -> None:
    with pytest.raises(CommandError):
        parse_rcpt_parameters(text)
