"""A pipe service: its attributes, the command line made of them, the message's form."""

from __future__ import annotations

import random
from dataclasses import replace

from gatewayd.address import Address
from gatewayd.config.master_cf import parse
from gatewayd.errors import ConfigError
from gatewayd.message import (
    DeliveryRequest,
    Envelope,
    MemoryContent,
    QueuedMessage,
    QueuedRecipient,
    Recipient,
    Route,
)
from gatewayd.plugins.pipe.attributes import Attributes, parse_attributes
from gatewayd.plugins.pipe.form import BodyForm, has_delivered_to, leading_headers
from gatewayd.plugins.pipe.macros import BadMacro, command_line
from tests.fuzz.inputs import pieces, split, text

_SERVICE = "x unix - n n - 1 pipe "
SEEDS = (
    b"flags=DRhu user=nobody argv=/bin/x -f ${sender} -- ${recipient}\0From a\r\n.b\r\n\r\nx",
    b"flags=BFOq.> user=nobody:nogroup eol=\\r\\n\\033 null_sender=<> size=10 directory=/ "
    b"argv={/bin/y z} $user$(extension)${mailbox}@$nexthop $$ {}\0Delivered-To: joe@b\r\n\r\n",
    b"user=nobody argv=$nosuch\0",
    b"user=root argv=x\0",
)
WORDS = (
    *(b"flags=", b"user=nobody ", b"argv=", b"eol=", b"\\n", b"\\0", b"\\", b"size=", b"$", b"${"),
    *(b"}", b"$(", b")", b"{", b"recipient", b"sender", b"user", b"$$", b" ", b"DRhuq.>BFOX"),
    *(b"null_sender=", b"directory=", b"chroot=", b"=", b"\0", b"\r\n", b"From ", b"\r\n.", b"a"),
)


def target(data: bytes) -> bool:
    """ConfigError, BadMacro, or arguments: as many as the command says, macros gone."""
    payload, decisions = split(data)
    arguments, _, body = payload.partition(b"\0")
    services = parse(_SERVICE + text(arguments).replace("\n", " "), "master.cf").services
    if not services:
        return False
    try:
        attributes = parse_attributes(services[0], "gatewayd", ("gatewayd",))
    except ConfigError:
        return False
    _check_form(attributes, body, decisions)
    request = _request(body, decisions)
    try:
        made = command_line(attributes, request, request.recipients, "Next.Hop", "+")
    except BadMacro:
        return False
    assert len(attributes.argv) <= len(made) <= len(attributes.argv) * len(request.recipients)
    for plain, word in zip(attributes.argv, made, strict=False):
        if "$" in plain:
            break
        assert word == plain
    leading = leading_headers(attributes, request, request.recipients, 0.0)
    assert leading == b"" or leading.endswith(b"\r\n")
    return True


def _check_form(attributes: Attributes, body: bytes, decisions: random.Random) -> None:
    """However the content is cut, the command reads the same."""
    content = b"".join(body.splitlines(keepends=True))
    whole = BodyForm(attributes)
    expected = whole.feed(content) + whole.finish()
    form = BodyForm(attributes)
    out = [form.feed(piece) for piece in pieces(content, decisions)]
    assert b"".join(out) + form.finish() == expected
    plain = BodyForm(replace(attributes, flags=frozenset(), eol=b"\r\n"))
    assert plain.feed(content) + plain.finish() == content
    has_delivered_to(body, "joe@b")


def _request(body: bytes, decisions: random.Random) -> DeliveryRequest:
    words = body[:200].decode("utf-8", "replace").split() or ["joe+x"]
    route = Route("x", "Next.Hop")
    recipients = tuple(
        QueuedRecipient(n, Recipient(Address(word, "Example.COM"), route, original=word))
        for n, word in enumerate(words[: decisions.choice((1, 3))])
    )
    sender = Address("") if decisions.random() < 0.3 else Address(words[0], "s.example")
    message = QueuedMessage("ABCDE", 0.0, Envelope(sender), recipients, MemoryContent(b"x\r\n"))
    return DeliveryRequest(message, route, recipients)
