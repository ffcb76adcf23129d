"""Command lines made of delivery requests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gatewayd.address import Address
from gatewayd.message import DeliveryRequest, Envelope, Notify, Recipient
from gatewayd.smtp.capabilities import Capabilities
from gatewayd.smtp.transmission import (
    Unsayable,
    exchange_for,
    needs_7bit,
    needs_header,
    unsuitable_for,
)
from gatewayd.smtp.trouble import Peer
from tests.fakes.requests import ROUTE, recipient, request

PEER = Peer("mx.test", "192.0.2.1", 25)
NOTHING = Capabilities()
ALL = Capabilities(True, True, True, 1000, True, True, True)


def commands(of: DeliveryRequest, offered: Capabilities, size: int = 42) -> list[str]:
    exchange = exchange_for(of, of.recipients, offered, size)
    return [exchange.mail.decode(), *(each.decode() for each in exchange.recipients)]


def test_nothing_offered_nothing_used() -> None:
    """Without extensions the commands are those of RFC 821."""
    mail = request("Q", recipient("r@a.test", Notify.NEVER, "rfc822;x"), ret="HDRS", envid="e")
    assert commands(mail, NOTHING) == ["MAIL FROM:<sender@us.test>", "RCPT TO:<r@a.test>"]


@pytest.mark.parametrize(
    ("offered", "envelope", "parameters"),
    [
        (Capabilities(has_size=True), {}, " SIZE=42"),
        (Capabilities(eight_bit=True), {"body": "8BITMIME"}, " BODY=8BITMIME"),
        (Capabilities(eight_bit=True), {"body": "7BIT"}, ""),
        (Capabilities(smtputf8=True), {"smtputf8": True}, " SMTPUTF8"),
        (Capabilities(dsn=True), {"ret": "FULL", "envid": "a+2Bb"}, " RET=FULL ENVID=a+2Bb"),
        (Capabilities(dsn=True), {"ret": "X\r\nY", "envid": "a b"}, ""),
    ],
)
def test_parameters_of_mail(
    offered: Capabilities, envelope: dict[str, Any], parameters: str
) -> None:
    """Each extension is used where it's offered and needed."""
    first = commands(request(**envelope), offered)[0]
    assert first == f"MAIL FROM:<sender@us.test>{parameters}"


def test_8bit_content_is_declared() -> None:
    """Content decides, whatever BODY= said."""
    mail = request(has_8bit=True)
    assert " BODY=8BITMIME" in commands(mail, Capabilities(eight_bit=True))[0]
    assert needs_7bit(mail, NOTHING)
    assert not needs_7bit(mail, Capabilities(eight_bit=True))


def test_null_sender() -> None:
    """Reports go out from <>."""
    assert commands(request(sender=""), NOTHING)[0] == "MAIL FROM:<>"


@pytest.mark.parametrize(
    ("to", "line"),
    [
        (recipient("r@a.test", Notify.NEVER), "<r@a.test> NOTIFY=NEVER"),
        (
            recipient("r@a.test", Notify.SUCCESS | Notify.FAILURE | Notify.DELAY),
            "<r@a.test> NOTIFY=SUCCESS,FAILURE,DELAY",
        ),
        (
            recipient("r@a.test", orcpt="rfc822;o+2Bx@b.test"),
            "<r@a.test> ORCPT=rfc822;o+2Bx@b.test",
        ),
        (recipient("r@a.test", orcpt="rfc822;x\r\nRSET"), "<r@a.test>"),
        (
            Recipient(Address("r", "a.test"), ROUTE, "o+1=x@b.test"),
            "<r@a.test> ORCPT=rfc822;o+2B1+3Dx@b.test",
        ),
        (Recipient(Address("r", "a.test"), ROUTE, "ö@b.test"), "<r@a.test>"),
        (Recipient(Address("a b", "a.test"), ROUTE), '<"a b"@a.test>'),
    ],
)
def test_parameters_of_rcpt(to: Recipient, line: str) -> None:
    """NOTIFY and ORCPT (RFC 3461 §4); an address is in its external form."""
    assert commands(request("Q", to), Capabilities(dsn=True))[1] == f"RCPT TO:{line}"


@pytest.mark.parametrize(
    "bad",
    [
        Address("a\r\nRSET\r\n", "b.test"),
        Address("a", "b.test> NOTIFY=NEVER"),
        Address("a", "b.test\r\nDATA"),
        Address("a\x00", "b.test"),
        Address("a", "b\udc80.test"),
        Address("", "b.test:other"),
    ],
)
def test_no_command_can_be_smuggled_in(bad: Address) -> None:
    """An address that isn't one never gets into a command."""
    mail = request("Q", "ok@a.test", Recipient(bad, ROUTE))
    with pytest.raises(Unsayable) as caught:
        commands(mail, ALL)
    assert caught.value.number == 2
    assert str(caught.value).isprintable()
    sender = request("Q")
    envelope = Envelope(bad)
    mail = replace(sender, message=replace(sender.message, envelope=envelope))
    with pytest.raises(Unsayable) as caught:
        commands(mail, ALL)
    assert caught.value.number is None


@hypothesis_settings(deadline=None)
@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_any_text_is_one_line(local: str, domain: str, orcpt: str, envid: str) -> None:
    """Whatever an envelope holds, a command is one line with one pair of angle brackets' end."""
    to = Recipient(Address(local, domain), ROUTE, local, Notify.DEFAULT, orcpt)
    try:
        lines = commands(request("Q", to, envid=envid), ALL)
    except Unsayable:
        return
    assert not any(ord(char) < 32 or ord(char) == 127 for line in lines for char in line)
    assert domain == "" or f"@{domain}>" in lines[1]


@pytest.mark.parametrize(
    ("offered", "mail", "status"),
    [
        (Capabilities(size=10), request(content=b"x" * 11), "5.3.4"),
        (Capabilities(size=11), request(content=b"x" * 11), ""),
        (Capabilities(size=0, has_size=True), request(content=b"x" * 11), ""),
        (NOTHING, request("Q", "ö@a.test"), "5.6.7"),
        (NOTHING, request("Q", "o@ä.test", smtputf8=True), "5.6.7"),
        (NOTHING, request(sender="ö@a.test"), "5.6.7"),
        (NOTHING, request(smtputf8=True), ""),
        (Capabilities(smtputf8=True), request("Q", "ö@a.test"), ""),
    ],
)
def test_what_a_server_cannot_take(
    offered: Capabilities, mail: DeliveryRequest, status: str
) -> None:
    """By its EHLO reply alone: too large, or addresses it can't read."""
    outcome = unsuitable_for(mail, offered, PEER, soft=False)
    assert (outcome.status if outcome else "") == status


def test_non_ascii_addresses_ask_for_smtputf8() -> None:
    """Also for mail that didn't come with it."""
    assert commands(request("Q", "ö@a.test"), ALL)[0].endswith(" SMTPUTF8")


def test_the_header_may_need_smtputf8() -> None:
    """Only mail that came with SMTPUTF8 and has 8-bit text is looked at."""
    assert needs_header(request(smtputf8=True, has_8bit=True), NOTHING)
    assert not needs_header(request(has_8bit=True), NOTHING)
    assert not needs_header(request(smtputf8=True), NOTHING)
    assert not needs_header(request(smtputf8=True, has_8bit=True), Capabilities(smtputf8=True))
