"""What is due comes from the store into active, as far as there is room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from gatewayd.interfaces import IQueueStore
from gatewayd.maillog import MailLog
from gatewayd.message import QueuedMessage

__all__ = ["Feed", "FeedHost"]

BATCH = 200
_TROUBLE_PAUSE = 10.0
"""Seconds until the store is asked again after it failed."""
_LONGEST_PAUSE = 8.0
"""Seconds between looks at the queue while nothing of what is due can be taken."""
_SHORTEST_PAUSE = 0.05
_CLOCK_STEP = 60.0
"""A clock that goes back by more seconds was set; smaller steps do no harm."""


class FeedHost(Protocol):
    """What the feed needs of the dispatcher."""

    reactor: IReactorTime
    now: Callable[[], float]

    def space(self) -> int:
        """For how many more messages there is room."""

    async def accept(self, messages: Sequence[QueuedMessage]) -> int:
        """Take leased messages; gives how many of them became active."""

    def clock_was_set_back(self) -> None: ...


class Feed:
    """Leases what is due, and knows when to look again.

    It looks when told to (check), when the earliest message is due, and in any case every
    ``interval`` seconds, so that nothing waits for ever on a mistaken clock.
    """

    def __init__(self, host: FeedHost, store: IQueueStore) -> None:
        self._host = host
        self._store = store
        self._log = MailLog("qmgr")
        self.interval = 300.0
        self.longest_pause = 4000.0
        """Seconds from an attempt to the next, at most: what is due later was put off by another
        clock."""
        self._running = False
        self._looking = False
        self._again = False
        self.is_starved = False
        """It stopped for want of room: check() when there is some."""
        self._pause = 0.0
        self._timer: IDelayedCall | None = None
        self._latest: float | None = None

    def start(self) -> None:
        self._running = True
        self.check()

    def stop(self) -> None:
        self._running = False
        self._cancel_timer()

    def check(self) -> None:
        """Something may be due."""
        if not self._running:
            return
        if self._looking:
            self._again = True
            return
        self._cancel_timer()
        self._looking = True
        Deferred.fromCoroutine(self._look()).addErrback(self._trouble)

    def due_at(self, when: float) -> None:
        """Something will be due then (POSIX seconds)."""
        now = self._host.now()
        self._latest = max(self._latest or now, now)
        pause = max(0.0, when - now)
        at = self._host.reactor.seconds() + pause
        if (
            self._running
            and not self._looking
            and (self._timer is None or at < self._timer.getTime())
        ):
            self._wake_in(pause)
        elif self._looking and pause <= self.interval:
            self._again = True

    async def _look(self) -> None:
        await self._watch_clock()
        while True:
            self._again = False
            wait = await self._drain()
            if not self._again:
                break
        self._looking = False
        if self._running:
            self._wake_in(wait)

    async def _watch_clock(self) -> None:
        """Notice a clock that was set back since the last look, or since the gateway last ran."""
        latest = self._latest
        if latest is None:
            due = (await self._store.totals()).latest
            latest = 0.0 if due is None else due - self.longest_pause
        now = self._host.now()
        if now < latest - _CLOCK_STEP:
            self._host.clock_was_set_back()
        self._latest = now

    async def _drain(self) -> float:
        """Lease all that is due, while there is room. Gives the seconds until the next look."""
        host = self._host
        while self._running:
            space = min(BATCH, host.space())
            self.is_starved = space <= 0
            if space <= 0:
                return self.interval
            messages = await self._store.lease_due(host.now(), space)
            taken = await host.accept(messages)
            if messages and taken * 10 < len(messages):
                self._pause = min(max(1.0, 2 * self._pause), _LONGEST_PAUSE)
                return self._pause
            self._pause = 0.0
            if len(messages) < space:
                break
        due = await self._store.next_due()
        return self.interval if due is None else max(_SHORTEST_PAUSE, due - host.now())

    def _trouble(self, failure: Failure) -> None:
        self._looking = False
        self._log.error(f"cannot read the queue: {failure.getErrorMessage()}")
        if self._running:
            self._wake_in(_TROUBLE_PAUSE)

    def _wake_in(self, seconds: float) -> None:
        self._cancel_timer()
        self._timer = self._host.reactor.callLater(min(seconds, self.interval), self._woken)

    def _woken(self) -> None:
        self._timer = None
        self.check()

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
