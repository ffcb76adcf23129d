"""Flushing: one full pass over the waiting messages of a selection, whatever their time.

A pass goes through the queue by cursor, a window at a time, as there is room in active; nothing
is changed in the mass. A flush of what is waiting to be flushed anyway is the same flush.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from gatewayd.errors import StoreError
from gatewayd.interfaces import IQueueStore
from gatewayd.maillog import MailLog
from gatewayd.message import QueuedMessage
from gatewayd.queue.records import Selection

__all__ = ["EVERYTHING", "Flusher", "fold", "selects"]

_WINDOW = 200
_PASSES = 8
"""Passes at the same time; more selections wait their turn."""
_WAITING = 10000
"""Selections that wait; beyond it a flush of everything takes their place."""
_TROUBLE_PAUSE = 10.0
_TRIES = 30
"""A pass is given up when the store has failed so many times in a row."""

EVERYTHING = Selection()


def fold(text: str) -> str:
    """A domain or address for comparison: lower case in ASCII only."""
    return text.encode("utf-8", "surrogateescape").lower().decode("utf-8", "surrogateescape")


def selects(selection: Selection, message: QueuedMessage) -> bool:
    """Whether a waiting message is one of the selection, leaving its state aside."""
    if selection.queue_ids is not None and message.queue_id not in selection.queue_ids:
        return False
    sender = message.envelope.sender.internal
    if selection.sender is not None and fold(selection.sender) != fold(sender):
        return False
    recipients = [each.recipient for each in message.recipients]
    if selection.site is not None:
        site = fold(selection.site)
        if not any(fold(each.address.domain) == site for each in recipients):
            return False
    if selection.transport is not None and selection.nexthop is not None:
        pair = (selection.transport, selection.nexthop)
        return any((each.route.transport, each.route.nexthop) == pair for each in recipients)
    if selection.transport is not None:
        return any(each.route.transport == selection.transport for each in recipients)
    if selection.nexthop is not None:
        return any(each.route.nexthop == selection.nexthop for each in recipients)
    return True


class FlushHost(Protocol):
    """What a flush needs of the dispatcher."""

    reactor: IReactorTime
    now: Callable[[], float]

    def begin_flush(self, selection: Selection) -> int:
        """End what holds the selection back; gives the epoch its messages come with."""

    def when_room(self, comfortable: bool) -> Deferred[None]:
        """Fires when messages can be taken; ``comfortable``: and others still could be, too."""

    async def accept_flushed(self, messages: Sequence[QueuedMessage], epoch: int) -> None: ...


class Flusher:
    """Runs the passes, several at a time, so that one site need not wait for the whole queue."""

    def __init__(self, host: FlushHost, store: IQueueStore) -> None:
        self._host = host
        self._store = store
        self._log = MailLog("qmgr")
        self._waiting: dict[tuple[Selection, bool], None] = {}
        self._running: dict[tuple[Selection, bool], Deferred[None]] = {}
        self._stopped = False

    def flush(self, selection: Selection, override: bool = True) -> None:
        """Ask for a pass. Without ``override`` only the times of next attempts are set aside."""
        if self._stopped:
            return
        if len(self._waiting) >= _WAITING:
            self._waiting.clear()
            selection = EVERYTHING
        self._waiting[selection, override] = None
        self._start()

    def stop(self) -> None:
        """No further passes; those that run end."""
        self._stopped = True
        self._waiting.clear()
        for running in list(self._running.values()):
            running.cancel()

    def _start(self) -> None:
        for key in list(self._waiting):
            if len(self._running) >= _PASSES:
                return
            if key not in self._running:
                del self._waiting[key]
                self._run(key)

    def _run(self, key: tuple[Selection, bool]) -> None:
        epoch = self._host.begin_flush(key[0]) if key[1] else 0
        running = Deferred.fromCoroutine(self._pass(key[0], epoch))
        self._running[key] = running
        running.addErrback(self._failed)
        running.addCallback(self._ended, key)

    async def _pass(self, selection: Selection, epoch: int) -> None:
        after = 0
        failures = 0
        comfortable = selection == EVERYTHING
        while not self._stopped:
            await self._host.when_room(comfortable)
            try:
                messages, after = await self._store.lease_selected(selection, after, _WINDOW)
            except StoreError as error:
                failures += 1
                if failures >= _TRIES:
                    raise
                self._log.error(f"flush: cannot read the queue: {error}")
                await deferLater(self._host.reactor, _TROUBLE_PAUSE)
                continue
            failures = 0
            await self._host.accept_flushed(messages, epoch)
            if not after:
                return

    def _failed(self, failure: Failure) -> None:
        if not self._stopped:
            self._log.failure("a flush of the queue has failed", failure)

    def _ended(self, _: object, key: tuple[Selection, bool]) -> None:
        self._running.pop(key, None)
        if not self._stopped:
            self._start()
