"""Envelopes as commands of ours: one line each, which our own server reads as the same envelope."""

from __future__ import annotations

import random
import re

from gatewayd.address import Address
from gatewayd.message import (
    DeliveryRequest,
    Envelope,
    MemoryContent,
    Notify,
    QueuedMessage,
    QueuedRecipient,
    Recipient,
    Route,
)
from gatewayd.smtp.capabilities import Capabilities
from gatewayd.smtp.grammar import CommandError, forward_path, reverse_path, split_command
from gatewayd.smtp.parameters import parse_mail_parameters, parse_rcpt_parameters
from gatewayd.smtp.transmission import Unsayable, exchange_for
from tests.fuzz.inputs import split, text

SEEDS = (
    b"joe\0example.com\0rfc822;joe+2B@example.com\0ENV1\0Joe@Example.COM",
    b'quo ted"\\\0[192.0.2.1]\0\0\0"x y"@b',
    b"\0\0utf-8;j\xc3\xb6\0a+2Bb\0\xc3\xb6@\xc3\xa4",
    b"a>\r\nRSET\0b> X=Y\0rfc822;a b\0a\r\nb\0c\nd",
)
WORDS = (
    *(b"a", b"@", b">", b"<", b" ", b"\r\n", b"\0", b"example.com", b'"', b"\\", b"+2B", b";"),
    *(b"rfc822;", b"\xc3\xa9", b"[::1]", b"=", b"SIZE=1", b"\x7f", b"+", b"."),
)
FOUND = (b'\x00u:jg\xc2\xbc"\xd4G\xef]',)
_LINE = re.compile(rb"[^\r\n\0]*\Z")


def target(data: bytes) -> bool:
    """Unsayable, or lines that mean what was to be said."""
    payload, decisions = split(data)
    fields = text(payload).split("\0")
    local, domain, orcpt, envid, original = (fields + [""] * 5)[:5]
    request = _request(Address(local, domain), orcpt, envid, original, decisions)
    offered = Capabilities(
        has_size=True, eight_bit=True, dsn=decisions.random() < 0.8, smtputf8=True
    )
    try:
        exchange = exchange_for(request, request.recipients, offered, 100)
    except Unsayable:
        return False
    for line in (exchange.mail, *exchange.recipients):
        assert _LINE.match(line)
    return _is_read_back(exchange.mail.decode(), exchange.recipients[0].decode(), request)


def _is_read_back(mail: str, rcpt: str, request: DeliveryRequest) -> bool:
    """What our server is stricter with, it refuses; anything else it reads as it was meant."""
    try:
        sender, rest = reverse_path(split_command(mail)[1])
        assert sender == request.sender
        parse_mail_parameters(rest)
        address, rest = forward_path(split_command(rcpt)[1])
        assert address == request.recipients[0].recipient.address
        parameters = parse_rcpt_parameters(rest)
    except CommandError:
        return False
    assert parameters.notify in (Notify.DEFAULT, request.recipients[0].recipient.notify)
    return True


def _request(
    address: Address, orcpt: str, envid: str, original: str, decisions: random.Random
) -> DeliveryRequest:
    route = Route("smtp", "x")
    notify = Notify(decisions.choice((0, 1, 2, 4, 8, 14)))
    recipient = QueuedRecipient(1, Recipient(address, route, original, notify, orcpt))
    sender = decisions.choice(
        (Address("s", "us.example"), address if address.local else Address(""))
    )
    envelope = Envelope(sender, "8BITMIME", True, decisions.choice(("", "FULL")), envid)
    message = QueuedMessage("ABCDE", 0.0, envelope, (recipient,), MemoryContent(b"x\r\n"))
    return DeliveryRequest(message, route, (recipient,))
