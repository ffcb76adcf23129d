"""A message in active: what has come of its recipients so far, and how its turn ends."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gatewayd.message import Notify, QueuedMessage, QueuedRecipient
from gatewayd.queue.backoff import Backoff
from gatewayd.queue.records import Deferral
from gatewayd.status import Action, Outcome

__all__ = ["ActiveMessage", "Ending", "end"]

Results = list[tuple[QueuedRecipient, Outcome]]


class ActiveMessage:
    """A leased message with the outcomes that have come in.

    ``since`` is when it became active (POSIX seconds); ``epoch`` that of the flush which brought
    it, 0 if none; ``pending`` counts recipients without a result. ``again``: a flush came while
    some of its recipients were deferred already, so that it is due at once.
    """

    __slots__ = (
        "again",
        "deferrals",
        "done",
        "epoch",
        "failures",
        "message",
        "pending",
        "put_back",
        "since",
        "successes",
        "unattempted",
    )

    def __init__(self, message: QueuedMessage, since: float, epoch: int) -> None:
        self.message = message
        self.since = since
        self.epoch = epoch
        self.pending = len(message.recipients)
        self.done: list[int] = []
        self.successes: Results = []
        self.failures: Results = []
        self.deferrals: Results = []
        self.unattempted: set[int] = set()
        self.put_back = 0
        self.again = False

    def record(self, recipient: QueuedRecipient, outcome: Outcome, attempted: bool) -> None:
        """What became of one recipient."""
        self.pending -= 1
        action = outcome.action
        if action is Action.DEFERRED:
            self.deferrals.append((recipient, outcome))
            if not attempted:
                self.unattempted.add(recipient.number)
        elif action is Action.FAILED:
            self.failures.append((recipient, outcome))
        else:
            self.done.append(recipient.number)
            notify = recipient.recipient.notify
            if notify and notify.wants(Notify.SUCCESS) and action is not Action.PASSED:
                self.successes.append((recipient, outcome))

    def leave(self, count: int) -> None:
        """So many recipients stay as they were, unattempted."""
        self.pending -= count
        self.put_back += count

    @property
    def is_delivered(self) -> bool:
        """Whether all is done and nobody is to be told: by far the most frequent end."""
        return not (self.failures or self.deferrals or self.successes or self.put_back)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a message's turn in active ends: who gets which report, who stays until when.

    ``expired`` is the status= that the log tells, or "".
    """

    failures: Results
    deferrals: Results
    next_attempt: float
    expired: str
    warn: bool


def end(entry: ActiveMessage, backoff: Backoff, now: float) -> Ending:
    """What follows from the outcomes of all recipients.

    Expiry is looked at only here, after an attempt that left something deferred. What expires
    fails with the status and reason of its last deferral.
    """
    message = entry.message
    if not entry.deferrals or entry.put_back:
        return Ending(entry.failures, entry.deferrals, now, "", False)
    if backoff.is_expired(message, now):
        returned = [
            (recipient, replace(outcome, action=Action.FAILED))
            for recipient, outcome in entry.deferrals
        ]
        word = "force-expired" if message.expire else "expired"
        return Ending(entry.failures + returned, [], now, word, False)
    due = now if entry.again else backoff.next_attempt(message.arrival, now)
    warn = backoff.is_warning_due(message, now)
    return Ending(entry.failures, entry.deferrals, due, "", warn)


def deferral_records(entry: ActiveMessage, deferrals: Results) -> tuple[Deferral, ...]:
    """Deferrals in the form that the store keeps."""
    return tuple(
        Deferral(
            recipient.number,
            outcome.status,
            outcome.text,
            outcome.remote_mta,
            recipient.number not in entry.unattempted,
        )
        for recipient, outcome in deferrals
    )
