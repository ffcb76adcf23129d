"""The SQLite store beside the store in memory: whatever is asked, both answer alike.

This proves the store, and the fake that the dispatcher's tests stand on.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gatewayd.address import NULL, Address
from gatewayd.interfaces import IQueueStore
from gatewayd.message import (
    Envelope,
    MemoryContent,
    NewMessage,
    Notify,
    Origin,
    QueuedMessage,
    Recipient,
    Route,
)
from gatewayd.queue.records import Deferral, Listing, Selection, Settlement, State
from gatewayd.queue.sqlite_store import SqliteStore
from tests.fakes.queue_store import MemoryStore
from tests.queue.stores import listed, new_store
from tests.reactor_run import run

_FIRST_NUMBER = 1
"""The number that the fake gives a first recipient; the real store begins with 0."""
_CRASHES = 2
"""Restarts that a lease may live through here: after more the real store grows suspicious."""

_times = st.sampled_from([0.0, 50.0, 100.0, 200.0, 1e9])
_locals = st.sampled_from(["u", "V", "a b", 'q"\\', "ü", "-x", "o'x", "json[]{}", "😀\u2028"])
_domains = st.sampled_from(
    ["a.example", "A.example", "b.example", "münchen.example", "[192.0.2.1]"]
)
_addresses = st.builds(Address, _locals, _domains)
_senders = st.sampled_from([NULL, Address("s", "x.example"), Address("S", "X.example")])
_routes = st.builds(
    Route, st.sampled_from(["smtp", "slow"]), st.sampled_from(["a.example", "hub", "Grüße\u2028"])
)
_recipients = st.builds(
    Recipient,
    _addresses,
    _routes,
    original=st.sampled_from(["", "u@alias.example"]),
    notify=st.sampled_from([Notify.DEFAULT, Notify.NEVER, Notify.SUCCESS | Notify.DELAY]),
    orcpt=st.sampled_from(["", "rfc822;u+40a.example"]),
)
_envelopes = st.builds(
    Envelope,
    _senders,
    body=st.sampled_from(["", "8BITMIME"]),
    smtputf8=st.booleans(),
    ret=st.sampled_from(["", "HDRS"]),
    envid=st.sampled_from(["", "id+3D1"]),
    origin=st.sampled_from([Origin(), Origin(user_id=0), Origin("ESMTP", "[x]", "unknown", "::1")]),
)
_contents = st.builds(
    lambda size, octet: MemoryContent(bytes([octet]) * size),
    st.sampled_from([0, 1, 40, 5000, 20_000]),
    st.integers(0, 255),
)
_states = st.none() | st.lists(st.sampled_from(State), max_size=3, unique=True).map(tuple)
_reasons = st.sampled_from(["", "452 full", "Gr\u00fc\u00dfe\u2028"])


class StoreMachine(RuleBasedStateMachine):
    """Verbs in any order, on ``real`` and on ``model``; both must say the same."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="store-model"))
        self.real: SqliteStore
        self.model = MemoryStore()
        self.leased: dict[str, QueuedMessage] = {}
        self.restarts: dict[str, int] = {}
        self.known: list[str] = []
        self.count = 0

    @initialize()
    def begin(self) -> None:
        run(self._open)

    async def _open(self) -> None:
        self.real = new_store(self.folder, file_threshold=16)
        await self.real.open()

    def teardown(self) -> None:
        async def close() -> None:
            await self.real.close()

        run(close)
        shutil.rmtree(self.folder)

    def both(self, ask: Callable[[IQueueStore], Awaitable[Any]]) -> Any:
        """The answer of both, which is the same."""

        async def compare() -> Any:
            real, model = await ask(self.real), await ask(self.model)
            assert real == model
            return real

        return run(compare)

    # Into the queue

    def _message(self, data: st.DataObject) -> NewMessage:
        self.count += 1
        queue_id = f"Q{self.count}"
        self.known.append(queue_id)
        return NewMessage(
            queue_id,
            data.draw(_times),
            data.draw(_envelopes),
            tuple(data.draw(st.lists(_recipients, min_size=1, max_size=3))),
            data.draw(_contents),
            hold=data.draw(st.sampled_from([False, False, True])),
            has_8bit=data.draw(st.booleans()),
        )

    @rule(data=st.data(), lease=st.booleans())
    def put(self, data: st.DataObject, lease: bool) -> None:
        message = self._message(data)

        async def ask(store: IQueueStore) -> Any:
            return await _plain(await store.put(message, lease), store)

        self.both(ask)
        if lease and not message.hold:
            self._have_leased([message.queue_id])

    # Leases

    def _have_leased(self, queue_ids: list[str]) -> None:
        for queue_id in queue_ids:
            assert queue_id not in self.leased, "leased twice"
            self.leased[queue_id] = self.model.entries[queue_id].message

    @rule(now=_times, limit=st.integers(1, 5))
    def lease_due(self, now: float, limit: int) -> None:
        async def ask(store: IQueueStore) -> Any:
            return [await _plain(each, store) for each in await store.lease_due(now, limit)]

        self._have_leased([each.queue_id for each in self.both(ask)])

    @rule(data=st.data(), page=st.integers(1, 3))
    def lease_selected(self, data: st.DataObject, page: int) -> None:
        selection = self._selection(data)

        async def ask(store: IQueueStore) -> Any:
            pages, after = [], 0
            while True:
                found, after = await store.lease_selected(selection, after, page)
                pages.append([await _plain(each, store) for each in found])
                if not after:
                    return pages

        self._have_leased([each.queue_id for page in self.both(ask) for each in page])

    def _one_leased(self, data: st.DataObject) -> str:
        queue_id = data.draw(st.sampled_from(sorted(self.leased)))
        self.restarts.pop(queue_id, None)
        return queue_id

    @precondition(lambda self: self.leased)
    @rule(data=st.data(), again=_times, warned=st.booleans())
    def settle(self, data: st.DataObject, again: float, warned: bool) -> None:
        queue_id = self._one_leased(data)
        done, deferrals = [], []
        for recipient in self.leased.pop(queue_id).recipients:
            number = recipient.number - _FIRST_NUMBER
            fate = data.draw(st.sampled_from(["done", "deferred", "untouched"]))
            if fate == "done":
                done.append(number)
            elif fate == "deferred":
                attempted = data.draw(st.booleans())
                reason = data.draw(_reasons)
                deferrals.append(Deferral(number, "4.2.0", reason, "mx.example", attempted))
        notices = tuple(self._message(data) for _ in range(data.draw(st.integers(0, 1))))
        remove = data.draw(st.sampled_from([False, False, True]))
        settlement = Settlement(
            queue_id, 70.0, tuple(done), tuple(deferrals), again, warned, notices, remove
        )

        async def ask(store: IQueueStore) -> Any:
            await store.settle(settlement if store is self.real else _numbered(settlement))

        self.both(ask)

    @precondition(lambda self: self.leased)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        queue_id = self._one_leased(data)
        del self.leased[queue_id]
        self.both(lambda store: store.release([queue_id]))

    @rule()
    def restart(self) -> None:
        """As after a crash: the store is opened again, and nobody has a lease."""
        patient = [each for each in self.leased if self.restarts.get(each, 0) < _CRASHES]
        tired = sorted(set(self.leased) - set(patient))
        for queue_id in patient:
            self.restarts[queue_id] = self.restarts.get(queue_id, 0) + 1
        for queue_id in tired:
            del self.restarts[queue_id]
        self.leased.clear()

        async def close() -> None:
            await self.real.close()

        self.both(lambda store: store.release(tired))
        run(close)
        run(self._open)
        self.model.restart()

    # Operators

    def _selection(self, data: st.DataObject) -> Selection:
        """Mostly of one or two conditions, so that it selects something."""
        fields: dict[str, st.SearchStrategy[Any]] = {
            "queue_ids": st.lists(st.sampled_from([*self.known, "NONE"]), max_size=3).map(tuple),
            "site": _domains,
            "transport": st.sampled_from(["smtp", "slow"]),
            "nexthop": st.sampled_from(["a.example", "hub", "Grüße\u2028"]),
            "sender": _senders.map(lambda each: each.internal),
            "states": _states,
        }
        chosen = data.draw(st.lists(st.sampled_from(sorted(fields)), max_size=2, unique=True))
        return Selection(**{name: data.draw(fields[name]) for name in chosen})

    @rule(data=st.data(), verb=st.sampled_from(["hold", "unhold", "delete", "expire", "requeue"]))
    def operate(self, data: st.DataObject, verb: str) -> None:
        selection = self._selection(data)
        if self.leased and data.draw(st.booleans()):
            selection = Selection(queue_ids=tuple(self.leased))
        self.both(lambda store: getattr(store, verb)(selection))

    @precondition(lambda self: self.known)
    @rule(data=st.data(), route=_routes)
    def reroute(self, data: st.DataObject, route: Route) -> None:
        queue_id = data.draw(st.sampled_from(self.known))
        number = data.draw(st.integers(0, 2))

        async def ask(store: IQueueStore) -> Any:
            first = 0 if store is self.real else _FIRST_NUMBER
            await store.reroute({queue_id: {number + first: route}})

        self.both(ask)

    @rule(data=st.data(), page=st.integers(1, 4))
    def list_some(self, data: st.DataObject, page: int) -> None:
        selection = self._selection(data)

        async def ask(store: IQueueStore) -> Any:
            return await listed(store, selection, page)

        self.both(ask)

    # What is true at any time

    @invariant()
    def same_queue(self) -> None:
        """All that waits, with its contents, its totals, and when something is due."""
        if not hasattr(self, "real"):
            return

        async def ask(store: IQueueStore) -> Any:
            entries = await listed(store, Selection())
            messages = [await _message(each, store) for each in entries]
            return entries, messages, await store.totals(), await store.next_due()

        entries, _, totals, _ = self.both(ask)
        assert sum(totals.messages.values()) == len(entries)


async def _plain(message: QueuedMessage, store: IQueueStore) -> QueuedMessage:
    """A message so that two can be compared: its content as octets, recipients from 0."""
    first = _FIRST_NUMBER if isinstance(store, MemoryStore) else 0
    octets: Any = await message.content.read(0, message.size)
    return replace(
        message,
        content=octets,
        recipients=tuple(replace(each, number=each.number - first) for each in message.recipients),
    )


async def _message(entry: Listing, store: IQueueStore) -> QueuedMessage:
    message = await store.message(entry.queue_id)
    assert message is not None
    return await _plain(message, store)


def _numbered(settlement: Settlement) -> Settlement:
    """A settlement with the numbers that the fake gives."""
    return replace(
        settlement,
        done=tuple(each + _FIRST_NUMBER for each in settlement.done),
        deferrals=tuple(
            replace(each, number=each.number + _FIRST_NUMBER) for each in settlement.deferrals
        ),
    )


StoreMachine.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
test_store_and_model = StoreMachine.TestCase
