"""What an operator may ask of the gateway, whatever the way it is asked.

The control socket's resources call this with a running dispatcher; the commands call it with the
bare store while the daemon is down. Everything it gives is ready for JSON.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gatewayd.errors import GatewayError
from gatewayd.interfaces import IQueueStore
from gatewayd.message import Content, QueuedMessage
from gatewayd.queue.records import ListedRecipient, Listing, Selection, State

__all__ = ["Ineligible", "Operator", "RunningGateway", "UnknownVerb", "selection_from"]

_SURROGATE = re.compile("[\ud800-\udfff]")
_PAGE = 200
"""Messages read from the store at a time: lists of any length in bounded memory."""


class UnknownVerb(GatewayError):
    """There is no such thing to ask for, or what was sent with it makes no sense."""


class Ineligible(GatewayError):
    """fast_flush_domains does not list the site that was asked for."""

    def __init__(self, site: str) -> None:
        super().__init__(f'Flush service is not configured for destination "{site}"')


class RunningGateway(Protocol):
    """What only a running daemon can do."""

    async def flush(self, selection: Selection) -> None:
        """Deliver what waits there now. Raises Ineligible, TableError."""

    async def reload(self) -> tuple[str, ...]:
        """Take over changed configuration; gives its warnings. Raises ConfigError."""

    def stop(self) -> None:
        """Begin the orderly stop."""

    def pick_up(self) -> None:
        """Look into the maildrop folder."""

    def queue_changed(self) -> None:
        """Something was released, requeued or expired: look now."""

    def status(self) -> dict[str, Any]:
        """Listeners, destinations, transports: for people and metrics."""


@dataclass(frozen=True, slots=True)
class Operator:
    """The verbs. ``gateway`` is None while the daemon is down."""

    store: IQueueStore
    gateway: RunningGateway | None

    async def listing(self, selection: Selection) -> AsyncIterator[list[dict[str, Any]]]:
        """Pages of waiting messages."""
        position = 0
        while True:
            listed, position = await self.store.listing(selection, position, _PAGE)
            if listed:
                yield [_listing_json(entry) for entry in listed]
            if not position:
                return

    async def message(self, queue_id: str) -> tuple[dict[str, Any], Content] | None:
        """A message's envelope and its content, or None if there is no such message."""
        found = await self.store.message(queue_id)
        return (_message_json(found), found.content) if found is not None else None

    async def change(self, verb: str, selection: Selection) -> dict[str, Any]:
        """hold, unhold, delete, expire or requeue a selection: which messages it changed.

        With queue IDs named, the answer's ``ids`` holds those that were there; else ``count``.
        """
        answer = await self._changed(self._verb(verb), selection)
        if self.gateway is not None and verb in ("unhold", "expire", "requeue"):
            self.gateway.queue_changed()
        return answer

    @staticmethod
    async def _changed(
        action: Callable[[Selection], Awaitable[int]], selection: Selection
    ) -> dict[str, Any]:
        if selection.queue_ids is None:
            return {"count": await action(selection)}
        changed = []
        for queue_id in selection.queue_ids:
            one = Selection(queue_ids=(queue_id,), states=selection.states)
            if await action(one):
                changed.append(queue_id)
        return {"count": len(changed), "ids": changed}

    def _verb(self, verb: str) -> Callable[[Selection], Awaitable[int]]:
        verbs: Mapping[str, Callable[[Selection], Awaitable[int]]] = {
            "hold": self.store.hold,
            "unhold": self.store.unhold,
            "delete": self.store.delete,
            "expire": self.store.expire,
            "requeue": self.store.requeue,
        }
        if verb not in verbs:
            raise UnknownVerb(f"no such verb: {verb}")
        return verbs[verb]


def selection_from(fields: Mapping[str, Any]) -> Selection:
    """The selection a client asked for. Raises UnknownVerb naming what's wrong with it."""
    known = {"ids", "site", "transport", "nexthop", "sender", "states"}
    if unknown := sorted(set(fields) - known):
        raise UnknownVerb(f"unknown selection: {', '.join(unknown)}")
    return Selection(
        queue_ids=_texts(fields, "ids"),
        site=_text(fields, "site"),
        transport=_text(fields, "transport"),
        nexthop=_text(fields, "nexthop"),
        sender=_text(fields, "sender"),
        states=_states(_texts(fields, "states")),
    )


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not _is_text(value):
        raise UnknownVerb(f"{name} must be text")
    return value


def _is_text(value: Any) -> bool:
    """JSON can write halves of characters, which no store takes."""
    return isinstance(value, str) and _SURROGATE.search(value) is None


def _texts(fields: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(map(_is_text, value)):
        raise UnknownVerb(f"{name} must be a list of texts")
    return tuple(value)


def _states(names: tuple[str, ...] | None) -> tuple[State, ...] | None:
    if names is None:
        return None
    try:
        return tuple(State(name) for name in names)
    except ValueError as error:
        raise UnknownVerb(f"no such queue: {error}") from None


def _listing_json(entry: Listing) -> dict[str, Any]:
    return {
        "queue_name": entry.state.value,
        "queue_id": entry.queue_id,
        "arrival_time": entry.arrival,
        "message_size": entry.size,
        "forced_expire": entry.expire,
        "sender": entry.sender.internal,
        "next_attempt": entry.next_attempt,
        "recipients": [_recipient_json(recipient) for recipient in entry.recipients],
    }


def _recipient_json(recipient: ListedRecipient) -> dict[str, Any]:
    return {
        "address": recipient.address.internal,
        "orig_address": recipient.original,
        "transport": recipient.transport,
        "nexthop": recipient.nexthop,
        "attempts": recipient.attempts,
        "status": recipient.status,
        "delay_reason": recipient.reason,
    }


def _message_json(message: QueuedMessage) -> dict[str, Any]:
    envelope = message.envelope
    origin = envelope.origin
    return {
        "queue_id": message.queue_id,
        "arrival_time": message.arrival,
        "message_size": message.size,
        "sender": envelope.sender.internal,
        "body": envelope.body,
        "smtputf8": envelope.smtputf8,
        "ret": envelope.ret,
        "envid": envelope.envid,
        "client_name": origin.client_name,
        "client_address": origin.client_address,
        "helo": origin.helo,
        "protocol": origin.protocol,
        "recipients": [
            {
                "address": each.recipient.address.internal,
                "original": each.recipient.original,
                "orcpt": each.recipient.orcpt,
                "notify": int(each.recipient.notify),
                "transport": each.recipient.route.transport,
                "nexthop": each.recipient.route.nexthop,
                "attempts": each.attempts,
                "status": each.status,
                "reason": each.reason,
            }
            for each in message.recipients
        ],
    }
