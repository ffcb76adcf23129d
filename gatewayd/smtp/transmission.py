"""A delivery request as the commands and content that a server can take (RFC 1870, 3461, 6531)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gatewayd.address import Address
from gatewayd.message import DeliveryRequest, Notify, QueuedRecipient
from gatewayd.smtp.capabilities import Capabilities
from gatewayd.smtp.dialogue import Exchange
from gatewayd.smtp.trouble import Peer
from gatewayd.status import Outcome, failed

__all__ = ["Unsuitable", "check_suitable", "exchange_for", "needs_7bit", "needs_smtputf8"]

_XTEXT_PLAIN = frozenset(range(33, 127)) - {ord("+"), ord("=")}


@dataclass(frozen=True, slots=True)
class Unsuitable:
    """The server cannot take the message, and another try wouldn't help."""

    outcome: Outcome


def needs_smtputf8(request: DeliveryRequest) -> bool:
    """Whether the message came as SMTPUTF8 and makes use of it."""
    message = request.message
    if not message.envelope.smtputf8:
        return False
    addresses = [message.envelope.sender, *(each.recipient.address for each in request.recipients)]
    return message.has_8bit or not all(address.is_ascii for address in addresses)


def needs_7bit(request: DeliveryRequest, offered: Capabilities) -> bool:
    """Whether the content must be made 7-bit for this server."""
    return request.message.has_8bit and not offered.eight_bit


def check_suitable(
    request: DeliveryRequest, offered: Capabilities, peer: Peer
) -> Unsuitable | None:
    """Whether the server can take the message at all."""
    size = request.message.size
    if offered.size and size > offered.size:
        text = f"message size {size} exceeds size limit {offered.size} of server {peer}"
        return Unsuitable(failed("5.3.4", text, relay=peer.relay))
    if needs_smtputf8(request) and not offered.smtputf8:
        text = f"SMTPUTF8 is required, but was not offered by host {peer}"
        return Unsuitable(failed("5.6.7", text, relay=peer.relay))
    return None


def exchange_for(
    request: DeliveryRequest,
    recipients: Sequence[QueuedRecipient],
    offered: Capabilities,
    size: int,
) -> Exchange:
    """The transaction's commands. ``size``: octets of the content as it will be sent."""
    envelope = request.message.envelope
    mail = [f"MAIL FROM:<{_path(envelope.sender)}>"]
    if offered.has_size:
        mail.append(f"SIZE={size}")
    if offered.eight_bit and (request.message.has_8bit or envelope.body == "8BITMIME"):
        mail.append("BODY=8BITMIME")
    if offered.smtputf8 and needs_smtputf8(request):
        mail.append("SMTPUTF8")
    if offered.dsn:
        if envelope.ret:
            mail.append(f"RET={envelope.ret}")
        if envelope.envid:
            mail.append(f"ENVID={envelope.envid}")
    lines = [_rcpt(each, offered) for each in recipients]
    return Exchange(" ".join(mail).encode(), lines, size)


def _path(address: Address) -> str:
    """An address inside the angle brackets. Control characters can't be in one (address.py)."""
    return str(address)


def _rcpt(queued: QueuedRecipient, offered: Capabilities) -> bytes:
    recipient = queued.recipient
    line = f"RCPT TO:<{_path(recipient.address)}>"
    if offered.dsn:
        if recipient.notify is not Notify.DEFAULT:
            line += f" NOTIFY={','.join(_notify_words(recipient.notify))}"
        if recipient.orcpt:
            line += f" ORCPT={recipient.orcpt}"
        elif recipient.original and recipient.original != str(recipient.address):
            line += f" ORCPT=rfc822;{_xtext(recipient.original)}"
    return line.encode()


def _notify_words(notify: Notify) -> Iterable[str]:
    return (
        each.name or ""
        for each in (Notify.NEVER, Notify.SUCCESS, Notify.FAILURE, Notify.DELAY)
        if notify & each
    )


def _xtext(text: str) -> str:
    """RFC 3461 §4."""
    return "".join(
        chr(octet) if octet in _XTEXT_PLAIN else f"+{octet:02X}" for octet in text.encode()
    )
