"""A queue store in memory: IQueueStore without a disk, that records what was asked of it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from gatewayd.errors import StoreError
from gatewayd.interfaces import IIncomingContent, IQueueStore
from gatewayd.message import (
    MemoryContent,
    NewMessage,
    QueuedMessage,
    QueuedRecipient,
    Route,
)
from gatewayd.queue.records import (
    ListedRecipient,
    Listing,
    Selection,
    Settlement,
    State,
    Totals,
)


class Entry:
    """A message with what the queue knows beside it."""

    def __init__(self, message: QueuedMessage, due: float, position: int) -> None:
        self.message = message
        self.due = due
        self.position = position
        self.leased = False
        self.held = False
        self.doomed = False

    @property
    def state(self) -> State:
        if self.leased:
            return State.ACTIVE
        return State.HOLD if self.held else State.DEFERRED


@implementer(IIncomingContent)
class MemoryIncoming:
    """A content on its way in, in memory."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def write(self, octets: bytes) -> Deferred[None] | None:
        self._parts.append(octets)
        self.size += len(octets)
        return None

    def finish(self) -> MemoryContent:
        return MemoryContent(b"".join(self._parts))

    def discard(self) -> None:
        self._parts.clear()


@implementer(IQueueStore)
class MemoryStore:
    """``settlements`` lists all that were made; while ``failing``, every request fails.

    Leasing looks only at what it needs, so that tests with 100 000 messages stay quick.
    """

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.settlements: list[Settlement] = []
        self.released: list[str] = []
        self.failing: StoreError | None = None
        self.delayed: list[Deferred[None]] | None = None
        self.most_leased = 0
        self.leased = 0
        self._due: list[tuple[float, int, str]] = []
        self._count = 0
        self._ids = 0

    # Into and out of the queue

    def new_queue_id(self, now: float) -> str:
        self._ids += 1
        return f"{self._ids:05X}"

    def incoming(self) -> MemoryIncoming:
        return MemoryIncoming()

    def put(self, message: NewMessage, lease: bool) -> Deferred[QueuedMessage]:
        if self.failing:
            return fail(self.failing)
        return succeed(self.add(message, lease))

    def add(self, message: NewMessage, lease: bool = False) -> QueuedMessage:
        """put(), at once."""
        recipients = tuple(QueuedRecipient(n, each) for n, each in enumerate(message.recipients, 1))
        queued = QueuedMessage(
            message.queue_id, message.arrival, message.envelope, recipients, message.content
        )
        self._count += 1
        entry = Entry(queued, message.arrival, self._count)
        assert message.queue_id not in self.entries
        self.entries[message.queue_id] = entry
        entry.held = message.hold
        if lease and not message.hold:
            self._lease(entry)
        else:
            self._set_due(entry, message.arrival)
        return queued

    def _set_due(self, entry: Entry, due: float) -> None:
        entry.due = due
        heapq.heappush(self._due, (due, entry.position, entry.message.queue_id))

    def _lease(self, entry: Entry) -> QueuedMessage:
        assert not entry.leased
        entry.leased = True
        self.leased += 1
        self.most_leased = max(self.most_leased, self.leased)
        return entry.message

    def _return(self, entry: Entry) -> None:
        assert entry.leased, f"{entry.message.queue_id} was not leased"
        entry.leased = False
        self.leased -= 1

    def _waits(self, due: float, queue_id: str) -> bool:
        entry = self.entries.get(queue_id)
        return bool(entry and not entry.leased and not entry.held and entry.due == due)

    def lease_due(self, now: float, limit: int) -> Deferred[Sequence[QueuedMessage]]:
        if self.failing:
            return fail(self.failing)
        found = []
        while self._due and len(found) < limit and self._due[0][0] <= now:
            due, _, queue_id = heapq.heappop(self._due)
            if self._waits(due, queue_id):
                found.append(self._lease(self.entries[queue_id]))
        return succeed(found)

    def next_due(self) -> Deferred[float | None]:
        if self.failing:
            return fail(self.failing)
        while self._due and not self._waits(self._due[0][0], self._due[0][2]):
            heapq.heappop(self._due)
        return succeed(self._due[0][0] if self._due else None)

    def lease_selected(
        self, selection: Selection, after: int, limit: int
    ) -> Deferred[tuple[Sequence[QueuedMessage], int]]:
        if self.failing:
            return fail(self.failing)
        waiting = [
            entry
            for entry in self.entries.values()
            if entry.position > after and not entry.leased and not entry.held
        ]
        chosen = [entry for entry in waiting if _selects(selection, entry)][:limit]
        found = [replace(self._lease(entry), flush=True) for entry in chosen]
        return succeed((found, chosen[-1].position if len(chosen) == limit else 0))

    def settle(self, settlement: Settlement) -> Deferred[None]:
        if self.failing:
            return fail(self.failing)
        self.settlements.append(settlement)
        self._settle(settlement)
        if self.delayed is None:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self.delayed.append(waiting)
        return waiting

    def _settle(self, settlement: Settlement) -> None:
        entry = self.entries[settlement.queue_id]
        self._return(entry)
        gone = set(settlement.done)
        why = {each.number: each for each in settlement.deferrals}
        assert not gone & set(why), "both done and deferred"
        left = []
        for each in entry.message.recipients:
            if each.number in gone:
                continue
            deferral = why.get(each.number)
            if deferral is not None:
                each = replace(
                    each,
                    attempts=each.attempts + deferral.attempted,
                    status=deferral.status,
                    reason=deferral.reason,
                    last_attempt=settlement.now,
                )
            left.append(each)
        for notice in settlement.notices:
            self.add(notice)
        if settlement.remove or not left or entry.doomed:
            del self.entries[settlement.queue_id]
            return
        entry.message = replace(
            entry.message,
            recipients=tuple(left),
            warned=entry.message.warned or settlement.warned,
        )
        self._set_due(entry, settlement.next_attempt)

    def release(self, queue_ids: Iterable[str]) -> Deferred[None]:
        if self.failing:
            return fail(self.failing)
        for queue_id in queue_ids:
            self.released.append(queue_id)
            entry = self.entries[queue_id]
            self._return(entry)
            self._set_due(entry, entry.due)
        return succeed(None)

    # For people

    def listing(
        self, selection: Selection, after: int, limit: int
    ) -> Deferred[tuple[Sequence[Listing], int]]:
        chosen = [
            entry
            for entry in self.entries.values()
            if entry.position > after and _selects(selection, entry)
        ][:limit]
        found = [_listed(entry) for entry in chosen]
        return succeed((found, chosen[-1].position if len(chosen) == limit else 0))

    def message(self, queue_id: str) -> Deferred[QueuedMessage | None]:
        entry = self.entries.get(queue_id)
        return succeed(entry.message if entry else None)

    def hold(self, selection: Selection) -> Deferred[int]:
        return self._change(selection, "held", True)

    def unhold(self, selection: Selection) -> Deferred[int]:
        changed = self._change(selection, "held", False)
        for entry in self.entries.values():
            if not entry.leased:
                self._set_due(entry, entry.due)
        return changed

    def _change(self, selection: Selection, name: str, value: bool) -> Deferred[int]:
        chosen = [each for each in self.entries.values() if _selects(selection, each)]
        for entry in chosen:
            setattr(entry, name, value)
        return succeed(len(chosen))

    def requeue(self, selection: Selection) -> Deferred[int]:
        chosen = [each for each in self.entries.values() if _selects(selection, each)]
        for entry in chosen:
            entry.held = False
            if not entry.leased:
                self._set_due(entry, 0.0)
        return succeed(len(chosen))

    def delete(self, selection: Selection) -> Deferred[int]:
        chosen = [each for each in self.entries.values() if _selects(selection, each)]
        for entry in chosen:
            entry.doomed = True
            if not entry.leased:
                del self.entries[entry.message.queue_id]
        return succeed(len(chosen))

    def expire(self, selection: Selection) -> Deferred[int]:
        chosen = [each for each in self.entries.values() if _selects(selection, each)]
        for entry in chosen:
            entry.message = replace(entry.message, expire=True)
        return succeed(len(chosen))

    def reroute(self, routes: Mapping[str, Mapping[int, Route]]) -> Deferred[None]:
        for queue_id, changed in routes.items():
            entry = self.entries[queue_id]
            recipients = tuple(
                replace(each, recipient=replace(each.recipient, route=changed[each.number]))
                if each.number in changed
                else each
                for each in entry.message.recipients
            )
            entry.message = replace(entry.message, recipients=recipients)
        return succeed(None)

    def totals(self) -> Deferred[Totals]:
        messages = dict.fromkeys(State, 0)
        octets = dict.fromkeys(State, 0)
        for entry in self.entries.values():
            messages[entry.state] += 1
            octets[entry.state] += entry.message.size
        oldest = min((each.message.arrival for each in self.entries.values()), default=None)
        return succeed(Totals(messages, octets, oldest))

    def close(self) -> Deferred[None]:
        return succeed(None)


def _selects(selection: Selection, entry: Entry) -> bool:
    message = entry.message
    recipients = [each.recipient for each in message.recipients]
    return all(
        (
            selection.queue_ids is None or message.queue_id in selection.queue_ids,
            selection.states is None or entry.state in selection.states,
            selection.sender is None or selection.sender == message.envelope.sender.internal,
            selection.site is None
            or any(each.address.domain.lower() == selection.site.lower() for each in recipients),
            selection.transport is None
            or any(each.route.transport == selection.transport for each in recipients),
            selection.nexthop is None
            or any(each.route.nexthop == selection.nexthop for each in recipients),
        )
    )


def _listed(entry: Entry) -> Listing:
    message = entry.message
    return Listing(
        message.queue_id,
        entry.state,
        message.arrival,
        message.size,
        message.envelope.sender,
        message.expire,
        entry.due,
        tuple(
            ListedRecipient(
                each.recipient.address,
                each.recipient.original,
                each.recipient.route.transport,
                each.recipient.route.nexthop,
                each.attempts,
                each.status,
                each.reason,
            )
            for each in message.recipients
        ),
    )
