"""Routes are looked up again: at every attempt, and after a reload for all that is queued.

What comes out of the store for another attempt gets its routes anew, since tables change without
a reload, too. After a reload, or a start with another configuration, a walk in the background
brings all others up to date: first what waits in active, then the queue, a window at a time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from gatewayd.address import Address
from gatewayd.errors import StoreError, TableError
from gatewayd.interfaces import IQueueStore
from gatewayd.maillog import MailLog
from gatewayd.message import QueuedMessage, QueuedRecipient, Route
from gatewayd.queue.active import ActiveMessage
from gatewayd.queue.records import Listing, Selection, State
from gatewayd.queue.schedule import Schedule

__all__ = ["Rerouting"]

_WINDOW = 200
_PAUSE = 0.02
"""Seconds between two windows: mail that flows comes first."""
_TROUBLE_PAUSE = 10.0
_WAITING = Selection(states=(State.DEFERRED, State.HOLD))

Resolve = Callable[[Address, Address], Awaitable[Route]]


class ReroutingHost(Protocol):
    """What re-routing needs of the dispatcher."""

    schedule: Schedule

    def place(self, entry: ActiveMessage, recipients: tuple[QueuedRecipient, ...]) -> None: ...

    def refuse_unknown(self) -> None: ...

    def pump(self) -> None: ...


class Rerouting:
    """Walks the queue when asked to; asked during the walk, it starts anew.

    ``finished`` is called when a walk has been through the whole queue.
    """

    def __init__(
        self,
        host: ReroutingHost,
        store: IQueueStore,
        resolve: Resolve,
        reactor: Any,
        finished: Callable[[], None],
    ) -> None:
        self._host = host
        self._store = store
        self._resolve = resolve
        self._finished = finished
        self._reactor: IReactorTime = reactor
        self._log = MailLog("qmgr")
        self._running: Deferred[None] | None = None
        self._anew = False

    def start(self) -> None:
        """Routes may have changed."""
        self._anew = True
        if self._running is None:
            running = self._running = Deferred.fromCoroutine(self._walks())
            running.addErrback(self._failed)
            running.addCallback(self._ended)
            if running.called:
                self._running = None

    def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()

    async def routed(self, messages: Sequence[QueuedMessage]) -> Sequence[QueuedMessage]:
        """The messages, with routes by the present configuration and tables."""
        found = []
        all_changed: dict[str, dict[int, Route]] = {}
        for message in messages:
            recipients, changed = await self._resolved(message.envelope.sender, message.recipients)
            if changed:
                all_changed[message.queue_id] = changed
                message = replace(message, recipients=recipients)
            found.append(message)
        if all_changed:
            await self._record(all_changed)
        return found

    async def _walks(self) -> None:
        while self._anew:
            self._anew = False
            await self._active()
            self._host.refuse_unknown()
            self._host.pump()
            await self._queued()
        self._finished()

    async def _active(self) -> None:
        """What waits in active and has not been taken by a lane goes to its new destination."""
        schedule = self._host.schedule
        waiting = [
            (destination, part)
            for destination in schedule.destinations()
            for part in destination.parts
        ]
        for destination, part in waiting:
            entry: ActiveMessage = part.owner
            sender = entry.message.envelope.sender
            _, changed = await self._resolved(sender, part.recipients)
            if not changed:
                continue
            await self._record({entry.message.queue_id: changed})
            for left in schedule.withdraw(destination, entry, self._reactor.seconds()):
                moved = tuple(_moved(each, changed) for each in left.recipients)
                self._host.place(entry, moved)
            self._host.pump()

    async def _queued(self) -> None:
        after = 0
        while not self._anew:
            try:
                listings, after = await self._store.listing(_WAITING, after, _WINDOW)
                for listing in listings:
                    await self._requeue(listing)
            except StoreError as error:
                self._log.error(f"looking up routes again: {error}")
                await deferLater(self._reactor, _TROUBLE_PAUSE)
                continue
            if not after:
                return
            await deferLater(self._reactor, _PAUSE)

    async def _requeue(self, listing: Listing) -> None:
        """One message of the queue; its recipients' numbers are read only if it is to change."""
        for each in listing.recipients:
            route = await self._route(listing.sender, each.address)
            if route is not None and (route.transport, route.nexthop) != (
                each.transport,
                each.nexthop,
            ):
                break
        else:
            return
        message = await self._store.message(listing.queue_id)
        if message is not None:
            _, changed = await self._resolved(message.envelope.sender, message.recipients)
            if changed:
                await self._store.reroute({message.queue_id: changed})

    async def _resolved(
        self, sender: Address, recipients: tuple[QueuedRecipient, ...]
    ) -> tuple[tuple[QueuedRecipient, ...], dict[int, Route]]:
        """The recipients with their present routes, and those routes that have changed."""
        changed: dict[int, Route] = {}
        for each in recipients:
            route = await self._route(sender, each.recipient.address)
            if route is not None and route != each.recipient.route:
                changed[each.number] = route
        if not changed:
            return recipients, changed
        return tuple(_moved(each, changed) for each in recipients), changed

    async def _route(self, sender: Address, recipient: Address) -> Route | None:
        """None if that can't be told now: the old route stays."""
        try:
            return await self._resolve(sender, recipient)
        except TableError as error:
            self._log.warning(f"route of <{recipient}>: {error}; it keeps the one it has")
            return None

    async def _record(self, changed: Mapping[str, Mapping[int, Route]]) -> None:
        """Keep new routes; if the store can't now, the next reload or attempt finds them again."""
        try:
            await self._store.reroute(changed)
        except StoreError as error:
            self._log.error(f"{', '.join(changed)}: cannot record a new route: {error}")

    def _failed(self, failure: Failure) -> None:
        self._log.failure("looking up routes again has failed", failure)
        self._host.refuse_unknown()

    def _ended(self, _: object) -> None:
        self._running = None


def _moved(recipient: QueuedRecipient, routes: dict[int, Route]) -> QueuedRecipient:
    route = routes.get(recipient.number)
    if route is None:
        return recipient
    return replace(recipient, recipient=replace(recipient.recipient, route=route))
