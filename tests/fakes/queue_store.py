"""A queue store in memory: IQueueStore without a disk, that records what was asked of it.

tests/queue/test_store_model.py proves that it answers as the real one does.
"""

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
from gatewayd.queue.flush import fold
from gatewayd.queue.records import (
    ListedRecipient,
    Listing,
    Selection,
    Settlement,
    State,
    Totals,
)


class Entry:
    """A message with what the queue knows beside it.

    ``held``, ``doomed`` and ``hurried`` take effect once it isn't leased.
    """

    def __init__(self, message: QueuedMessage, due: float, position: int) -> None:
        self.message = message
        self.due = due
        self.position = position
        self.leased = False
        self.held = False
        self.doomed = False
        self.hurried = False

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
            message.queue_id,
            message.arrival,
            message.envelope,
            recipients,
            message.content,
            has_8bit=message.has_8bit,
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

    def _return(self, entry: Entry, due: float) -> None:
        """The lease ends: now is the time for what was asked meanwhile."""
        assert entry.leased, f"{entry.message.queue_id} was not leased"
        entry.leased = False
        self.leased -= 1
        if entry.doomed:
            del self.entries[entry.message.queue_id]
        else:
            self._set_due(entry, 0.0 if entry.hurried else due)
        entry.hurried = False

    def restart(self) -> None:
        """As after a crash: nobody has leases any more."""
        for entry in list(self.entries.values()):
            if entry.leased:
                self._return(entry, entry.due)

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
            if entry.position > after and entry.state is State.DEFERRED
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
                    remote_mta=deferral.remote_mta,
                    last_attempt=settlement.now if deferral.attempted else each.last_attempt,
                )
            left.append(each)
        for notice in settlement.notices:
            self.add(notice)
        entry.doomed = entry.doomed or settlement.remove or not left
        entry.message = replace(
            entry.message,
            recipients=tuple(left),
            warned=entry.message.warned or settlement.warned,
        )
        self._return(entry, settlement.next_attempt)

    def release(self, queue_ids: Iterable[str]) -> Deferred[None]:
        if self.failing:
            return fail(self.failing)
        for queue_id in queue_ids:
            self.released.append(queue_id)
            entry = self.entries[queue_id]
            self._return(entry, entry.due)
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

    def _selected(self, selection: Selection) -> list[Entry]:
        return [each for each in self.entries.values() if _selects(selection, each)]

    def hold(self, selection: Selection) -> Deferred[int]:
        chosen = [each for each in self._selected(selection) if each.state is not State.HOLD]
        for entry in chosen:
            entry.held = True
        return succeed(len(chosen))

    def unhold(self, selection: Selection) -> Deferred[int]:
        chosen = [each for each in self._selected(selection) if each.held]
        for entry in chosen:
            self._unhold(entry)
        return succeed(len(chosen))

    def _unhold(self, entry: Entry) -> None:
        entry.held = False
        if not entry.leased:
            self._set_due(entry, entry.due)

    def requeue(self, selection: Selection) -> Deferred[int]:
        chosen = self._selected(selection)
        for entry in chosen:
            self._hurry(entry)
            self._unhold(entry)
        return succeed(len(chosen))

    def expire(self, selection: Selection) -> Deferred[int]:
        chosen = self._selected(selection)
        for entry in chosen:
            self._hurry(entry)
            entry.message = replace(entry.message, expire=True)
        return succeed(len(chosen))

    def _hurry(self, entry: Entry) -> None:
        if entry.leased:
            entry.hurried = True
        else:
            self._set_due(entry, 0.0)

    def delete(self, selection: Selection) -> Deferred[int]:
        chosen = self._selected(selection)
        for entry in chosen:
            entry.doomed = True
            if not entry.leased:
                del self.entries[entry.message.queue_id]
        return succeed(len(chosen))

    def reroute(self, routes: Mapping[str, Mapping[int, Route]]) -> Deferred[None]:
        for queue_id, changed in routes.items():
            entry = self.entries.get(queue_id)
            if entry is None:
                continue
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
        oldest = next((each.message.arrival for each in self.entries.values()), None)
        waiting = (each.due for each in self.entries.values() if each.state is State.DEFERRED)
        return succeed(Totals(messages, octets, oldest, max(waiting, default=None)))

    def close(self) -> Deferred[None]:
        return succeed(None)


def _selects(selection: Selection, entry: Entry) -> bool:
    message = entry.message
    sender = message.envelope.sender.internal
    recipients = [each.recipient for each in message.recipients]
    return all(
        (
            selection.queue_ids is None or message.queue_id in selection.queue_ids,
            selection.states is None or entry.state in selection.states,
            selection.sender is None or fold(selection.sender) == fold(sender),
            selection.site is None
            or any(fold(each.address.domain) == fold(selection.site) for each in recipients),
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
