"""Messages as rows, and rows as messages. The envelope is versioned JSON, readable by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from gatewayd.address import Address
from gatewayd.message import (
    Content,
    Envelope,
    NewMessage,
    Notify,
    Origin,
    QueuedMessage,
    QueuedRecipient,
    Recipient,
    Route,
)
from gatewayd.queue.flush import fold
from gatewayd.queue.records import ListedRecipient, Listing, State
from gatewayd.queue.schema import FLAGS, STATES

__all__ = [
    "MESSAGE_COLUMNS",
    "RECIPIENT_COLUMNS",
    "BadRow",
    "envelope_json",
    "listing_from",
    "message_from",
    "message_row",
    "recipient_rows",
]

MESSAGE_COLUMNS = "number, queue_id, arrival, due, state, lease, flags, size, file, envelope"
RECIPIENT_COLUMNS = (
    "message, number, local, domain, transport, nexthop, original, orcpt, notify, "
    "attempts, status, reason, remote_mta, last_attempt"
)
_ENVELOPE_VERSION = 1


class BadRow(Exception):
    """A row that cannot have been written by us: the message is damaged."""


def envelope_json(envelope: Envelope) -> str:
    """The envelope as text. What is empty is left out."""
    sender, origin = envelope.sender, envelope.origin
    fields: dict[str, Any] = {"v": _ENVELOPE_VERSION, "sender": [sender.local, sender.domain]}
    for name in ("body", "smtputf8", "ret", "envid"):
        value = getattr(envelope, name)
        if value:
            fields[name] = value
    known = {
        name: value
        for name in Origin.__slots__
        if (value := getattr(origin, name)) not in ("", 0, -1) or (name, value) == ("user_id", 0)
    }
    if known:
        fields["origin"] = known
    return json.dumps(fields)


def message_row(message: NewMessage, number: int, lease: int) -> list[Any]:
    """The values of a new row of ``message``, in the order of MESSAGE_COLUMNS, then sender."""
    return [
        number,
        message.queue_id,
        message.arrival,
        message.arrival,
        STATES.HOLD if message.hold else STATES.WAITING,
        0 if message.hold else lease,
        FLAGS.HAS_8BIT if message.has_8bit else 0,
        message.content.size,
        getattr(message.content, "name", ""),
        envelope_json(message.envelope),
        fold(message.envelope.sender.internal),
    ]


def recipient_rows(message: NewMessage, number: int) -> list[list[Any]]:
    """The values of new rows of ``recipient``: message … notify, site after domain."""
    return [
        [
            number,
            place,
            each.address.local,
            each.address.domain,
            fold(each.address.domain),
            each.route.transport,
            each.route.nexthop,
            each.original,
            each.orcpt,
            int(each.notify),
        ]
        for place, each in enumerate(message.recipients)
    ]


def message_from(
    row: Sequence[Any], recipients: Sequence[Sequence[Any]], content: Content, *, flush: bool
) -> QueuedMessage:
    """A message from its rows. Raises BadRow."""
    _, queue_id, arrival, _, _, _, flags, _, _, envelope = row
    return QueuedMessage(
        queue_id=queue_id,
        arrival=arrival,
        envelope=_envelope_from(envelope),
        recipients=tuple(_recipient_from(each) for each in recipients),
        content=content,
        warned=bool(flags & FLAGS.WARNED),
        expire=bool(flags & FLAGS.EXPIRE),
        flush=flush,
        has_8bit=bool(flags & FLAGS.HAS_8BIT),
    )


def _envelope_from(text: Any) -> Envelope:
    try:
        fields = json.loads(text)
        if fields["v"] != _ENVELOPE_VERSION:
            raise BadRow(f"envelope of unknown version {fields['v']!r}")
        local, domain = fields["sender"]
        return Envelope(
            sender=Address(local, domain),
            body=fields.get("body", ""),
            smtputf8=bool(fields.get("smtputf8")),
            ret=fields.get("ret", ""),
            envid=fields.get("envid", ""),
            origin=Origin(**fields.get("origin", {})),
        )
    except (TypeError, ValueError, KeyError) as error:
        raise BadRow(f"envelope cannot be read: {error}") from None


def _recipient_from(row: Sequence[Any]) -> QueuedRecipient:
    (_, number, local, domain, transport, nexthop, original, orcpt, notify, *rest) = row
    attempts, status, reason, remote_mta, last_attempt = rest
    if not isinstance(local, str) or not isinstance(domain, str):
        raise BadRow(f"recipient {number} cannot be read")
    return QueuedRecipient(
        number=number,
        recipient=Recipient(
            address=Address(local, domain),
            route=Route(transport, nexthop),
            original=original,
            notify=Notify(notify & 15),
            orcpt=orcpt,
        ),
        attempts=attempts,
        status=status,
        reason=reason,
        remote_mta=remote_mta,
        last_attempt=last_attempt,
    )


def listing_from(row: Sequence[Any], recipients: Sequence[Sequence[Any]]) -> Listing:
    """A message as lists show it; one whose envelope can't be read shows no sender."""
    _, queue_id, arrival, due, state, lease, flags, size, _, envelope = row
    try:
        sender = _envelope_from(envelope).sender
    except BadRow:
        sender = Address("", "")
    return Listing(
        queue_id=queue_id,
        state=_state(state, lease),
        arrival=arrival,
        size=size,
        sender=sender,
        expire=bool(flags & FLAGS.EXPIRE),
        next_attempt=due,
        recipients=tuple(
            ListedRecipient(
                address=Address(each[2], each[3]),
                original=each[6],
                transport=each[4],
                nexthop=each[5],
                attempts=each[9],
                status=each[10],
                reason=each[11],
            )
            for each in recipients
        ),
    )


def _state(state: int, lease: int) -> State:
    if state == STATES.HOLD:
        return State.HOLD
    if state == STATES.CORRUPT:
        return State.CORRUPT
    return State.ACTIVE if lease else State.DEFERRED
