"""Messages as rows, and rows as messages. The envelope is versioned JSON, readable by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
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
    "FILE_COLUMN",
    "MESSAGE_COLUMNS",
    "RECIPIENT_COLUMNS",
    "BadRow",
    "check_message",
    "envelope_json",
    "listing_from",
    "message_from",
    "message_row",
    "recipient_rows",
    "rows_json",
]

MESSAGE_COLUMNS = "number, queue_id, arrival, due, state, lease, flags, size, file, envelope"
FILE_COLUMN = 8
RECIPIENT_COLUMNS = (
    "message, number, local, domain, transport, nexthop, original, orcpt, notify, "
    "attempts, status, reason, remote_mta, last_attempt"
)
_ENVELOPE_VERSION = 1
_NOBODY = Origin()

# What SQLite gives for each column, if nothing is damaged.
_MESSAGE_TYPES = (int, str, float, float, int, int, int, int, str, str)
_RECIPIENT_TYPES = (int, int, *(str,) * 6, int, int, str, str, str, float)


_encode = json.JSONEncoder(ensure_ascii=False).encode


def rows_json(rows: Sequence[Sequence[Any]]) -> str:
    """Rows with texts from outside, for json_each.

    What is no UTF-8 (a lone surrogate) becomes "?": SQLite would take it, and give a text that
    can't be read, so that a message would be damaged from the start.
    """
    text = _encode(rows)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


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


def check_message(row: Sequence[Any]) -> None:
    """Raises BadRow if a row of ``message`` holds what none of ours does."""
    _check_types(row, _MESSAGE_TYPES, MESSAGE_COLUMNS)


def message_from(
    row: Sequence[Any], recipients: Sequence[Sequence[Any]], content: Content, *, flush: bool
) -> QueuedMessage:
    """A message from its rows, the first of them checked. Raises BadRow."""
    if not recipients:
        raise BadRow("it has no recipients")
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
        texts = [local, domain, *(fields.get(name, "") for name in ("body", "ret", "envid"))]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("a text is none")
        return Envelope(
            sender=Address(local, domain),
            body=fields.get("body", ""),
            smtputf8=bool(fields.get("smtputf8")),
            ret=fields.get("ret", ""),
            envid=fields.get("envid", ""),
            origin=_origin_from(fields.get("origin", {})),
        )
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise BadRow(f"envelope cannot be read: {error}") from None


def _origin_from(fields: dict[str, Any]) -> Origin:
    for name, value in fields.items():
        if type(value) is not type(getattr(_NOBODY, name)):
            raise TypeError(f"{name} is {value!r}")
    return Origin(**fields)


def _check_types(row: Sequence[Any], types: Sequence[type], columns: str) -> None:
    if tuple(map(type, row)) == types:
        return
    named = zip(columns.split(", "), row, types, strict=True)
    wrong = next(name for name, value, expected in named if type(value) is not expected)
    raise BadRow(f"its column {wrong} cannot be read")


def _recipient_from(row: Sequence[Any]) -> QueuedRecipient:
    _check_types(row, _RECIPIENT_TYPES, RECIPIENT_COLUMNS)
    (_, number, local, domain, transport, nexthop, original, orcpt, notify, *rest) = row
    attempts, status, reason, remote_mta, last_attempt = rest
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
    """A message as lists show it; what can't be read of it is empty there."""
    _, queue_id, arrival, due, state, lease, flags, size, _, envelope = _mended(row, _MESSAGE_TYPES)
    recipients = [_mended(each, _RECIPIENT_TYPES) for each in recipients]
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


def _mended(row: Sequence[Any], types: Sequence[Callable[[], Any]]) -> Sequence[Any]:
    if tuple(map(type, row)) == types:
        return row
    pairs = zip(row, types, strict=True)
    return [value if type(value) is expected else expected() for value, expected in pairs]


def _state(state: int, lease: int) -> State:
    if state == STATES.HOLD:
        return State.HOLD
    if state == STATES.CORRUPT:
        return State.CORRUPT
    return State.ACTIVE if lease else State.DEFERRED
