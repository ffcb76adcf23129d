"""A delivery request as the commands that a server can take (RFC 1870, 3461, 6152, 6531).

This is the one place where command lines are made: nothing that could end a line, an address or a
parameter gets into them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gatewayd.address import Address, quote_local
from gatewayd.message import DeliveryRequest, Notify, QueuedRecipient
from gatewayd.smtp.capabilities import Capabilities
from gatewayd.smtp.exchange import Exchange
from gatewayd.smtp.trouble import Peer, unsuitable
from gatewayd.status import Outcome

__all__ = [
    "Unsayable",
    "exchange_for",
    "lacks_smtputf8",
    "needs_7bit",
    "needs_header",
    "unsuitable_for",
]

_DOMAIN = re.compile(r"[^\x00-\x20<>\x7f\ud800-\udfff]+\Z")
_LOCAL = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]+\Z")
_PARAMETER = re.compile(r"[!-~]+\Z")
_XTEXT_PLAIN = frozenset(range(33, 127)) - {ord("+"), ord("=")}
_NOTIFY_WORDS = (Notify.NEVER, Notify.SUCCESS, Notify.FAILURE, Notify.DELAY)


class Unsayable(ValueError):
    """An address that has no place in a command. ``number``: whose; None: the sender's."""

    def __init__(self, number: int | None, address: Address) -> None:
        super().__init__(f"bad address syntax: {address.internal!a}")
        self.number = number


def unsuitable_for(
    request: DeliveryRequest, offered: Capabilities, peer: Peer, *, soft: bool
) -> Outcome | None:
    """What keeps the server from taking the message at all, as far as the envelope tells."""
    size = request.message.size
    if offered.size and size > offered.size:
        text = f"message size {size} exceeds size limit {offered.size} of server {peer}"
        return unsuitable(peer, "5.3.4", text, soft=soft)
    if offered.smtputf8 or (not request.message.envelope.smtputf8 and _is_ascii(request)):
        return None
    return None if _is_ascii(request) else lacks_smtputf8(peer, soft=soft)


def lacks_smtputf8(peer: Peer, *, soft: bool) -> Outcome:
    """The outcome of a message that needs SMTPUTF8 where it isn't offered."""
    text = f"SMTPUTF8 is required, but was not offered by host {peer}"
    return unsuitable(peer, "5.6.7", text, soft=soft)


def needs_header(request: DeliveryRequest, offered: Capabilities) -> bool:
    """Whether it depends on the header, if it has 8-bit text, that SMTPUTF8 is needed."""
    message = request.message
    return message.envelope.smtputf8 and message.has_8bit and not offered.smtputf8


def needs_7bit(request: DeliveryRequest, offered: Capabilities) -> bool:
    """Whether the content must be made 7-bit for this server."""
    return request.message.has_8bit and not offered.eight_bit


def _is_ascii(request: DeliveryRequest) -> bool:
    if not request.sender.is_ascii:
        return False
    return all(each.recipient.address.is_ascii for each in request.recipients)


def exchange_for(
    request: DeliveryRequest,
    recipients: Sequence[QueuedRecipient],
    offered: Capabilities,
    size: int,
) -> Exchange:
    """The transaction's commands. ``size``: octets of the content.

    Raises Unsayable.
    """
    message = request.message
    envelope = message.envelope
    mail = f"MAIL FROM:<{_path(envelope.sender, None)}>"
    if offered.has_size:
        mail += f" SIZE={size}"
    if offered.eight_bit and (message.has_8bit or envelope.body == "8BITMIME"):
        mail += " BODY=8BITMIME"
    if offered.smtputf8 and (envelope.smtputf8 or not _is_ascii(request)):
        mail += " SMTPUTF8"
    if offered.dsn:
        if envelope.ret in ("FULL", "HDRS"):
            mail += f" RET={envelope.ret}"
        if _PARAMETER.match(envelope.envid):
            mail += f" ENVID={envelope.envid}"
    return Exchange(mail.encode(), [_rcpt(each, offered) for each in recipients], size)


def _path(address: Address, number: int | None) -> str:
    """An address as it stands inside the angle brackets. Raises Unsayable."""
    local, domain = address.local, address.domain
    # "@domain" would be read as the beginning of a source route.
    if domain and (not local or not _DOMAIN.match(domain)):
        raise Unsayable(number, address)
    if local and not _LOCAL.match(local):
        raise Unsayable(number, address)
    return f"{quote_local(local)}@{domain}" if domain else quote_local(local)


def _rcpt(queued: QueuedRecipient, offered: Capabilities) -> bytes:
    recipient = queued.recipient
    line = f"RCPT TO:<{_path(recipient.address, queued.number)}>"
    if offered.dsn:
        notify = recipient.notify
        if notify is not Notify.DEFAULT:
            words = ",".join(each.name or "" for each in _NOTIFY_WORDS if notify & each)
            line += f" NOTIFY={words}"
        line += _orcpt(recipient.orcpt, recipient.original, recipient.address)
    return line.encode()


def _orcpt(given: str, original: str, address: Address) -> str:
    """ORCPT as it came, or else the address before any rewriting, so that reports name it."""
    if _PARAMETER.match(given):
        return f" ORCPT={given}"
    if not original or not original.isascii() or original == str(address):
        return ""
    return f" ORCPT=rfc822;{_xtext(original)}"


def _xtext(text: str) -> str:
    """RFC 3461 §4."""
    return "".join(
        chr(octet) if octet in _XTEXT_PLAIN else f"+{octet:02X}" for octet in text.encode()
    )
