"""The dispatcher: brings waiting mail to its transports and records what became of it.

    submit / feed / flush ─► active message ─► schedule (pure) ─► lanes ─► transports
                                  ▲                                  │
                        settling ─┴──────────── outcomes ◄───────────┘

What waits, for whom and for how long is the schedule's decision; when a message ends, and how,
is active.end()'s. This module moves things between them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from gatewayd.address import Address
from gatewayd.interfaces import IQueueStore, ITransport
from gatewayd.maillog import MailLog
from gatewayd.message import QueuedMessage, QueuedRecipient, Route
from gatewayd.queue.active import ActiveMessage
from gatewayd.queue.delivery_log import active_line
from gatewayd.queue.dispatch_settings import DispatchSettings
from gatewayd.queue.dispatch_status import DispatchStatus, take_status
from gatewayd.queue.feed import Feed
from gatewayd.queue.flush import EVERYTHING, Flusher, selects
from gatewayd.queue.lanes import Lane
from gatewayd.queue.placing import Placing
from gatewayd.queue.records import Selection, Settlement
from gatewayd.queue.reports import Prepare, ReportWriter
from gatewayd.queue.rerouting import Rerouting
from gatewayd.queue.results import Results
from gatewayd.queue.retirement import Retirement
from gatewayd.queue.room import Room
from gatewayd.queue.schedule import (
    End,
    Open,
    Refusal,
    Schedule,
    Serve,
    TransportSettings,
)
from gatewayd.queue.settling import Settler
from gatewayd.status import Outcome

__all__ = ["Dispatcher"]

_POSTPONED = 60.0
"""Seconds until a message that came beyond that share is looked at again."""
_CANCEL_PATIENCE = 5.0
"""Seconds that cancelled deliveries have to end when stopping."""


class Dispatcher:
    """Everything between the queue's store and the transports.

    ``now`` tells POSIX time, ``reactor`` measures waits; a reactor whose seconds() are monotonic
    makes it indifferent to a clock that is set. ``resolve(sender, recipient)`` gives the route
    by the present configuration; it raises TableError if it can't tell now. ``rerouted`` is
    called when all routes in the queue are those of the present configuration.
    """

    def __init__(
        self,
        *,
        store: IQueueStore,
        transports: Mapping[str, ITransport],
        settings: DispatchSettings,
        transport_settings: Mapping[str, TransportSettings],
        reports: ReportWriter,
        prepare: Prepare,
        resolve: Callable[[Address, Address], Awaitable[Route]],
        rerouted: Callable[[], None] = lambda: None,
        reactor: IReactorTime,
        now: Callable[[], float] | None = None,
        log: Callable[[str], MailLog] = MailLog,
    ) -> None:
        self.reactor = reactor
        self.now: Callable[[], float] = now or reactor.seconds
        self.is_stopping = False
        self.schedule = Schedule(
            _known(transports, transport_settings),
            settings.backoff.minimal,
            settings.transport_retry_time,
        )
        self._store = store
        self._active: dict[str, ActiveMessage] = {}
        self._room = Room(settings.active_limit, settings.recipient_limit)
        self._lanes: dict[Lane, None] = {}
        self._idle_waiters: list[Deferred[None]] = []
        self._pumping = False
        self._alarm: IDelayedCall | None = None
        self._settler = Settler(store, reports, prepare, reactor, self.now, self._settled, log)
        self._feed = Feed(self, store)
        self._flusher = Flusher(self, store)
        self._rerouting = Rerouting(self, store, resolve, reactor, rerouted)
        self._log = log("qmgr")
        self._retired = Retirement(reactor, self._log)
        self.results = Results(self._settler, self.now, log)
        self._placing = Placing(self.schedule, self.results, reactor.seconds)
        self._transports: dict[str, ITransport] = {}
        self._configure(settings, transports, transport_settings)

    def _configure(
        self,
        settings: DispatchSettings,
        transports: Mapping[str, ITransport],
        transport_settings: Mapping[str, TransportSettings],
    ) -> None:
        self._transports = dict(transports)
        known = _known(transports, transport_settings)
        self.results.configure(known, settings.soft_bounce)
        self._placing.configure(settings, self._transports)
        self._feed.interval = settings.queue_run_delay
        self._feed.longest_pause = max(settings.backoff.maximal, _POSTPONED)
        self._settler.backoff = settings.backoff
        self._settler.original_limit = settings.original_limit
        self._room.limit(settings.active_limit, settings.recipient_limit)

    # For the rest of the gateway

    def start(self, *, routes_changed: bool = False) -> None:
        """Begin to take what is due from the store.

        ``routes_changed``: the queue's routes may be those of another configuration.
        """
        if routes_changed:
            self._rerouting.start()
        self._feed.start()

    def room(self) -> bool:
        """Whether a message that has just come in may be leased to submit() it.

        If not it is left in the store, where we look as soon as there is room.
        """
        if self.is_stopping:
            return False
        has_room = self._room.space > 0
        if not has_room:
            self._feed.is_starved = True
        return has_room

    def submit(self, message: QueuedMessage) -> None:
        """A message leased to us, fresh from the store: deliver it at once."""
        if self.is_stopping:
            self._store.release([message.queue_id]).addErrback(self._unreleased)
        elif self._room.is_crowded and self._is_over_share(message):
            self._postpone(message)
        else:
            self._admit(message, 0)
            self.pump()

    def check(self) -> None:
        """The queue was changed by others (released from hold, put in from outside): look now."""
        self._feed.check()

    def flush(self, selection: Selection = EVERYTHING) -> None:
        """Try all that waits in a selection once, whatever its time, and whatever held it back."""
        self._flusher.flush(selection)

    def reload(
        self,
        settings: DispatchSettings,
        transports: Mapping[str, ITransport],
        transport_settings: Mapping[str, TransportSettings],
    ) -> None:
        """Take a new configuration over, and look up the routes of all that waits again.

        Deliveries under way end as they began; a transport that is no longer in ``transports``
        is closed after its last one.
        """
        kept = {id(transport) for transport in transports.values()}
        old = self._transports
        self._retired.add(each for each in old.values() if id(each) not in kept)
        self._configure(settings, transports, transport_settings)
        self.schedule.dead_for = settings.backoff.minimal
        self.schedule.broken_for = settings.transport_retry_time
        self.schedule.configure(_known(transports, transport_settings), self.reactor.seconds())
        for lane in list(self._lanes):
            if id(lane.transport) not in kept:
                lane.finish()
        self._close_retired()
        self._rerouting.start()
        self._feed.check()

    def status(self) -> DispatchStatus:
        """What is going on, for people and metrics."""
        return take_status(
            self.schedule, self._room.messages, self._room.recipients, self.reactor.seconds()
        )

    async def stop(self, bound_seconds: float) -> None:
        """Take nothing more; end what runs, within so many seconds; put the rest back."""
        self.is_stopping = True
        self._feed.stop()
        self._flusher.stop()
        self._rerouting.stop()
        self._withdraw_all()
        for lane in list(self._lanes):
            lane.finish()
        await self._until_idle(bound_seconds)
        for lane in list(self._lanes):
            lane.cancel()
        await self._until_idle(_CANCEL_PATIENCE)
        self._settler.stop()
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()
        await self._retired.close_all(self._transports.values())

    # Into active

    def space(self) -> int:
        return 0 if self.is_stopping else self._room.space

    async def accept(self, messages: Sequence[QueuedMessage]) -> int:
        """Take what is due; puts off what would give a destination more than its share."""
        messages = await self._rerouting.routed(messages)
        taken = 0
        for message in messages:
            if self.is_stopping:
                self._store.release([message.queue_id]).addErrback(self._unreleased)
            elif self._room.is_crowded and self._is_over_share(message):
                self._postpone(message)
            else:
                self._admit(message, 0)
                taken += 1
        self.pump()
        return taken

    async def accept_flushed(self, messages: Sequence[QueuedMessage], epoch: int) -> None:
        for message in await self._rerouting.routed(messages):
            if self.is_stopping:
                self._store.release([message.queue_id]).addErrback(self._unreleased)
            else:
                self._admit(message, epoch)
        self.pump()

    def begin_flush(self, selection: Selection) -> int:
        schedule = self.schedule
        schedule.epoch += 1
        if selection == EVERYTHING:
            schedule.revive()
        for entry in self._active.values():
            if entry.deferrals and selects(selection, entry.message):
                entry.again = True
        return schedule.epoch

    def clock_was_set_back(self) -> None:
        """What was due in the old future would wait for all of the step: try everything once."""
        self._log.warning("the clock was set back: looking at the whole queue")
        self._flusher.flush(EVERYTHING, override=False)

    def when_room(self, comfortable: bool) -> Deferred[None]:
        return self._room.when_free(comfortable)

    def _is_over_share(self, message: QueuedMessage) -> bool:
        """Whether all of the message's destinations have their share of active waiting."""
        for recipient in message.recipients:
            waiting = self.schedule.waiting_for(recipient.recipient.route)
            if waiting < self._room.share:
                return False
        return True

    def _postpone(self, message: QueuedMessage) -> None:
        """No attempt, no deferral: just later, so that others get into active."""
        now = self.now()
        settlement = Settlement(message.queue_id, now, next_attempt=now + _POSTPONED)
        self._store.settle(settlement).addErrback(self._unreleased)

    def _unreleased(self, failure: Failure) -> None:
        self._log.error(f"a message cannot be put back: {failure.getErrorMessage()}")

    def _admit(self, message: QueuedMessage, epoch: int) -> None:
        if message.queue_id in self._active:
            self._log.error(f"{message.queue_id}: given to the dispatcher twice")
            return
        entry = ActiveMessage(message, self.now(), epoch)
        self._active[message.queue_id] = entry
        self._room.enter(len(message.recipients))
        self._log.info(
            active_line(message),
            queue_id=message.queue_id,
            sender=str(message.envelope.sender),
            size=message.content.size,
            nrcpt=len(message.recipients),
        )
        if entry.pending:
            self.place(entry, message.recipients)
        else:
            self._settler.settle(entry)

    def place(self, entry: ActiveMessage, recipients: tuple[QueuedRecipient, ...]) -> None:
        """Let recipients of an active message wait for their destinations, or refuse them."""
        self._placing.place(entry, recipients)

    # Lanes

    def pump(self) -> None:
        """Make all the moves that the schedule has; called within itself, it does nothing."""
        if self._pumping:
            return
        self._pumping = True
        schedule = self.schedule
        try:
            while not self.is_stopping:
                move = schedule.next_move(self.reactor.seconds())
                if move is None:
                    break
                self._make(move)
        finally:
            self._pumping = False
        self._set_alarm()

    def _make(self, move: Open | Serve | End) -> None:
        if isinstance(move, Open):
            destination = move.destination
            transport = self._transports.get(destination.route.transport)
            if transport is None:
                return  # removed by a reload: what waits is being routed anew
            turn = self.schedule.open(destination, self.reactor.seconds())
            lane = turn.holder = Lane(self, turn, transport)
            self._lanes[lane] = None
            lane.start()
        elif isinstance(move, Serve):
            move.turn.holder.resume()
        else:
            move.turn.holder.finish()

    def _set_alarm(self) -> None:
        at = self.schedule.wake_at()
        if at is None or self.is_stopping:
            return
        alarm = self._alarm
        if alarm is not None and alarm.active():
            if alarm.getTime() <= at:
                return
            alarm.cancel()
        self._alarm = self.reactor.callLater(max(0.0, at - self.reactor.seconds()), self._wake)

    def _wake(self) -> None:
        self._alarm = None
        self.schedule.wake(self.reactor.seconds())
        self.pump()
        self._set_alarm()

    def lane_closed(self, lane: Lane, refusals: list[Refusal], why: Outcome | None) -> None:
        self._lanes.pop(lane, None)
        self.results.refused(refusals, lane.name, why)
        if self._retired:
            self._close_retired()
        self.pump()
        self._tell_idle()

    def _settled(self, entry: ActiveMessage, settlement: Settlement | None) -> None:
        """The store has taken it in: the message leaves active."""
        message = entry.message
        self._active.pop(message.queue_id, None)
        self._room.leave(len(message.recipients))
        if self.is_stopping:
            self._tell_idle()
            return
        if settlement is not None and not settlement.remove:
            self._feed.due_at(settlement.next_attempt)
            if entry.again:
                self._flusher.flush(Selection(queue_ids=(message.queue_id,)))
        if settlement is not None and settlement.notices:
            self._feed.check()
        if self._feed.is_starved and self._room.is_airy:
            self._feed.check()
        self._room.tell()

    # Reload and stop

    def refuse_unknown(self) -> None:
        self._placing.refuse_unknown()

    def _withdraw_all(self) -> None:
        for destination in list(self.schedule.destinations()):
            parts = self.schedule.withdraw_all(destination)
            for part in parts:
                self.results.put_back(part.owner, len(part.recipients))

    def _close_retired(self) -> None:
        self._retired.close_unused({id(lane.transport) for lane in self._lanes})

    def _tell_idle(self) -> None:
        if self.is_stopping and not self._lanes and not self._active:
            waiters, self._idle_waiters = self._idle_waiters, []
            for waiter in waiters:
                if not waiter.called:
                    waiter.callback(None)

    async def _until_idle(self, bound_seconds: float) -> None:
        if self._lanes or self._active:
            waiter: Deferred[None] = Deferred()
            self._idle_waiters.append(waiter)
            limit = deferLater(self.reactor, bound_seconds, self._give_up, waiter)
            await waiter
            limit.addErrback(lambda _: None)
            limit.cancel()

    def _give_up(self, waiter: Deferred[None]) -> None:
        if not waiter.called:
            waiter.callback(None)


def _known(
    transports: Mapping[str, ITransport], settings: Mapping[str, TransportSettings]
) -> dict[str, TransportSettings]:
    """Settings for every transport there is."""
    return {name: settings.get(name) or TransportSettings(name, name) for name in transports}
