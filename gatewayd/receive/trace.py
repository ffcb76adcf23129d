"""Our own trace header field and the fields added for local clients (RFC 5321 §4.4)."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from gatewayd.address import Address
from gatewayd.dates import mail_date
from gatewayd.message import Envelope, Origin, Recipient
from gatewayd.receive.headers import header_field, sanitised

__all__ = ["Host", "missing_fields", "received_field"]

# What could end the HELO text early in the comment structure of the field, or forge more of it.
_HELO_UNSAFE = re.compile(r'[^\x21-\x7e]|[<>()\\";@]')


# What a phrase must not hold outside quotes (RFC 5322 §3.2.3, §3.2.5).
_PHRASE_UNSAFE = re.compile(r'[()<>\[\]:;@\\,."]')


class Host:
    """How this gateway names itself in trace fields: host name and mail_name."""

    __slots__ = ("by", "mail_name", "name")

    def __init__(self, name: str, mail_name: str) -> None:
        self.name = name
        self.mail_name = mail_name
        self.by = f"by {name} ({mail_name})"


def received_field(
    host: Host, envelope: Envelope, recipients: tuple[Recipient, ...], queue_id: str, now: float
) -> bytes:
    """The Received field of a message that just arrived."""
    origin = envelope.origin
    by = host.by
    if origin.protocol:
        return _from_client(by, envelope, recipients, queue_id, now)
    if origin.user_id >= 0:
        by = f"{by[:-1]}, from userid {origin.user_id})"
    return header_field("Received", by, f"id {queue_id}; {mail_date(now)}")


def _from_client(
    by: str, envelope: Envelope, recipients: tuple[Recipient, ...], queue_id: str, now: float
) -> bytes:
    origin = envelope.origin
    utf8 = "UTF8" if envelope.smtputf8 else ""
    by = f"{by} with {utf8}{origin.protocol} id {queue_id}"
    lines = [_peer(origin)]
    if len(recipients) == 1:
        lines += (by, f"for <{_named(recipients[0])}>; {mail_date(now)}")
    else:
        lines.append(f"{by}; {mail_date(now)}")
    return header_field("Received", *lines)


def _peer(origin: Origin) -> str:
    address = origin.client_address
    if ":" in address:
        address = f"IPv6:{address}"
    helo = _HELO_UNSAFE.sub("?", origin.helo) or origin.client_name
    return f"from {helo} ({origin.client_name} [{address}])"


def _named(recipient: Recipient) -> str:
    return sanitised(recipient.original or str(recipient.address))


def missing_fields(
    host: Host, sender: Address, queue_id: str, now: float, full_name: str = ""
) -> tuple[tuple[str, str], ...]:
    """Message-Id, Date and From for a message that may lack them (postfix.md §11)."""
    at = datetime.fromtimestamp(now, UTC)
    return (
        ("Message-Id", f"<{at:%Y%m%d%H%M%S}.{queue_id}@{host.name}>"),
        ("Date", mail_date(now)),
        ("From", _author(sender, sanitised(full_name))),
    )


def _author(sender: Address, full_name: str) -> str:
    if not sender:
        return "MAILER-DAEMON (Mail Delivery System)"
    address = sanitised(str(sender))
    if not full_name:
        return address
    if _PHRASE_UNSAFE.search(full_name):
        full_name = '"' + full_name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{full_name} <{address}>"
