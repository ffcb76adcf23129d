"""What became of recipients: logged, collected, and the message settled with its last one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from twisted.python.failure import Failure

from gatewayd.maillog import MailLog
from gatewayd.message import QueuedRecipient
from gatewayd.queue.active import ActiveMessage
from gatewayd.queue.delivery_log import delivery_line, status_word
from gatewayd.queue.schedule import Refusal, TransportSettings
from gatewayd.queue.settling import Settler
from gatewayd.status import Action, Outcome, deferred

__all__ = ["Results"]

_NO_RESULT = deferred("4.3.0", "the mail transport gave no result for this recipient")


class Results:
    """Takes every outcome, from lanes and from refusals alike. ``now`` is POSIX time."""

    def __init__(
        self, settler: Settler, now: Callable[[], float], new_log: Callable[[str], MailLog]
    ) -> None:
        self._settler = settler
        self._now = now
        self._new_log = new_log
        self._log = new_log("qmgr")
        self._refusal_log = new_log("error")
        self._logs: dict[str, MailLog] = {}
        self._soft_bounce = False

    def configure(self, transports: Mapping[str, TransportSettings], soft_bounce: bool) -> None:
        self._logs = {
            name: self._new_log(each.program or name) for name, each in transports.items()
        }
        self._soft_bounce = soft_bounce

    def delivered(
        self,
        entry: ActiveMessage,
        recipients: tuple[QueuedRecipient, ...],
        outcomes: Mapping[int, Outcome],
        transport: str,
        taken: float,
    ) -> None:
        """A lane has the outcomes of a request that it took at ``taken``."""
        now = self._now()
        log = self._logs.get(transport, self._log)
        for recipient in recipients:
            outcome = outcomes.get(recipient.number)
            if outcome is None:
                self.complain(transport, f"{entry.message.queue_id}: a recipient has no result")
                outcome = _NO_RESULT
            self._record(entry, recipient, outcome, log, taken, now)
        self._settle_if_ended(entry)

    def refuse(
        self, entry: ActiveMessage, recipients: Iterable[QueuedRecipient], outcome: Outcome
    ) -> None:
        """An outcome without an attempt."""
        now = self._now()
        for recipient in recipients:
            self._record(entry, recipient, outcome, self._refusal_log, now, now, attempted=False)
        self._settle_if_ended(entry)

    def refused(
        self, refusals: Iterable[Refusal], transport: str = "", why: Outcome | None = None
    ) -> None:
        """What the schedule has given up for now; ``why`` is what a lane met in its attempt."""
        for refusal in refusals:
            entry: ActiveMessage = refusal.part.owner
            recipients = refusal.part.recipients
            if refusal.attempted and why is not None:
                outcomes = dict.fromkeys([each.number for each in recipients], why)
                self.delivered(entry, recipients, outcomes, transport, self._now())
            else:
                self.refuse(entry, recipients, deferred(refusal.status, refusal.text))

    def put_back(self, entry: ActiveMessage, count: int) -> None:
        """So many recipients of a message stay as they were."""
        entry.leave(count)
        self._settle_if_ended(entry)

    def complain(self, transport: str, text: str, failure: Failure | None = None) -> None:
        """A transport does what it should not."""
        log = self._logs.get(transport, self._log)
        if failure is None:
            log.error(text)
        else:
            log.failure(text, failure)

    def _settle_if_ended(self, entry: ActiveMessage) -> None:
        if not entry.pending:
            self._settler.settle(entry)

    def _record(
        self,
        entry: ActiveMessage,
        recipient: QueuedRecipient,
        outcome: Outcome,
        log: MailLog,
        taken: float,
        now: float,
        attempted: bool = True,
    ) -> None:
        if self._soft_bounce and outcome.action is Action.FAILED:
            outcome = replace(outcome, action=Action.DEFERRED, status=f"4{outcome.status[1:]}")
        message = entry.message
        log.info(
            delivery_line(message, recipient, outcome, entry.since, taken, now),
            queue_id=message.queue_id,
            recipient=str(recipient.recipient.address),
            relay=outcome.relay,
            dsn=outcome.status,
            status=status_word(outcome),
        )
        entry.record(recipient, outcome, attempted)
