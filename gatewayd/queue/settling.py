"""The end of a message's turn in active: reports if any, and one settlement in the store.

A settlement that the store cannot take now is tried again until it can: what was delivered must
not be delivered twice because a disk was full for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from gatewayd.interfaces import IQueueStore
from gatewayd.maillog import MailLog
from gatewayd.message import NewMessage, QueuedMessage
from gatewayd.queue.active import ActiveMessage, Ending, deferral_records, end
from gatewayd.queue.backoff import Backoff
from gatewayd.queue.delivery_log import expired_line
from gatewayd.queue.records import Settlement
from gatewayd.queue.reports import Prepare, ReportWriter
from gatewayd.status import Action, Outcome

if TYPE_CHECKING:
    from gatewayd.notify.report import Report

__all__ = ["Settler"]

_RETRY_FIRST = 1.0
_RETRY_LONGEST = 60.0
"""Seconds between tries to settle with a store that fails."""


class Settler:
    """Settles messages. ``settled(entry, settlement)`` is called once that is on stable storage."""

    def __init__(
        self,
        store: IQueueStore,
        reports: ReportWriter,
        prepare: Prepare,
        reactor: IReactorTime,
        now: Callable[[], float],
        settled: Callable[[ActiveMessage, Settlement | None], None],
        log: Callable[[str], MailLog] = MailLog,
    ) -> None:
        self._store = store
        self._reports = reports
        self._prepare = prepare
        self._reactor = reactor
        self._now = now
        self._settled = settled
        self._retries: set[IDelayedCall] = set()
        self._log = log("qmgr")
        self._bounce_log = log("bounce")
        self.backoff = Backoff()
        self.original_limit = 50000

    def settle(self, entry: ActiveMessage) -> None:
        """All recipients of the message have their outcomes, or were put back."""
        now = self._now()
        message = entry.message
        if entry.is_delivered:
            settlement = Settlement(message.queue_id, now, tuple(entry.done), remove=True)
            self._commit(entry, settlement, _RETRY_FIRST)
            return
        if entry.put_back and not (entry.done or entry.failures or entry.deferrals):
            self._release(entry)
            return
        ending = end(entry, self.backoff, now)
        if ending.expired:
            self._log.info(
                expired_line(message, ending.expired),
                queue_id=message.queue_id,
                sender=str(message.envelope.sender),
                status=ending.expired,
            )
        if ending.failures or ending.warn or entry.successes:
            reported = Deferred.fromCoroutine(self._report(entry, ending, now))
            reported.addErrback(self._unreported, entry, ending)
            return
        self._finish(entry, ending, (), now)

    def stop(self) -> None:
        """Give up settlements that wait for the store to recover: they may be delivered again."""
        for call in self._retries:
            call.cancel()
        self._retries.clear()

    def _finish(
        self, entry: ActiveMessage, ending: Ending, notices: tuple[NewMessage, ...], now: float
    ) -> None:
        done = entry.done + [recipient.number for recipient, _ in ending.failures]
        stays = bool(ending.deferrals) or bool(entry.put_back)
        settlement = Settlement(
            entry.message.queue_id,
            now,
            tuple(done),
            deferral_records(entry, ending.deferrals),
            ending.next_attempt if stays else 0.0,
            entry.message.warned or ending.warn,
            notices,
            remove=not stays,
        )
        self._commit(entry, settlement, _RETRY_FIRST)

    # Reports

    async def _report(self, entry: ActiveMessage, ending: Ending, now: float) -> None:
        message = entry.message
        original = await message.content.read(0, min(message.size, self.original_limit))
        reports: list[Report] = []
        if ending.failures:
            reports += self._reports.bounce(message, ending.failures, now, original)
            if self._reports.is_postmaster_notice(message):
                self._bounce_log.warning(
                    f"{message.queue_id}: undeliverable postmaster notification discarded",
                    queue_id=message.queue_id,
                )
        if entry.successes:
            reports += self._reports.success(message, entry.successes, now, original)
        if ending.warn:
            reports += self._reports.delayed(message, ending.deferrals, now, original)
        notices = await self._prepared(message, reports)
        self._finish(entry, ending, notices, now)

    async def _prepared(
        self, message: QueuedMessage, reports: Sequence[Report]
    ) -> tuple[NewMessage, ...]:
        notices = []
        for report in reports:
            notice = await self._prepare(report)
            self._bounce_log.info(
                f"{message.queue_id}: {report.kind}: {notice.queue_id}",
                queue_id=message.queue_id,
                notification=notice.queue_id,
            )
            notices.append(notice)
        return tuple(notices)

    def _unreported(self, failure: Failure, entry: ActiveMessage, ending: Ending) -> None:
        """No report could be made: those who failed stay until one can be."""
        message = entry.message
        self._log.failure(f"{message.queue_id}: cannot make a delivery report", failure)
        now = self._now()
        kept = [
            (
                recipient,
                Outcome(
                    Action.DEFERRED,
                    f"4{outcome.status[1:]}",
                    f"cannot make a delivery report of: {outcome.text}",
                    remote_mta=outcome.remote_mta,
                ),
            )
            for recipient, outcome in ending.failures
        ]
        again = self.backoff.next_attempt(message.arrival, now)
        put_off = Ending([], kept + ending.deferrals, again, "", False)
        self._finish(entry, put_off, (), now)

    # The store

    def _commit(self, entry: ActiveMessage, settlement: Settlement, pause: float) -> None:
        self._store.settle(settlement).addCallbacks(
            self._committed,
            self._refused,
            callbackArgs=(entry, settlement),
            errbackArgs=(entry, settlement, pause),
        )

    def _committed(self, _: None, entry: ActiveMessage, settlement: Settlement) -> None:
        if settlement.remove:
            queue_id = settlement.queue_id
            self._log.info(f"{queue_id}: removed", queue_id=queue_id)
        self._settled(entry, settlement)

    def _refused(
        self, failure: Failure, entry: ActiveMessage, settlement: Settlement, pause: float
    ) -> None:
        self._log.error(
            f"{settlement.queue_id}: the queue cannot record what was delivered, "
            f"trying again in {pause:g} s: {failure.getErrorMessage()}",
            queue_id=settlement.queue_id,
        )

        def again() -> None:
            self._retries.discard(call)
            self._commit(entry, settlement, min(2 * pause, _RETRY_LONGEST))

        call = self._reactor.callLater(pause, again)
        self._retries.add(call)

    def _release(self, entry: ActiveMessage) -> None:
        """Nothing was tried: as if it had never been leased; a restart does it otherwise."""

        def failed(failure: Failure) -> None:
            self._log.error(
                f"{entry.message.queue_id}: cannot be put back: {failure.getErrorMessage()}"
            )

        released = self._store.release([entry.message.queue_id])
        released.addErrback(failed)
        released.addCallback(lambda _: self._settled(entry, None))
