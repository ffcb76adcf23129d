"""What happened to a message, of which there is to be a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gatewayd.message import Notify, QueuedMessage, QueuedRecipient
from gatewayd.status import Outcome

__all__ = ["Occasion", "Results"]

Results = Sequence[tuple[QueuedRecipient, Outcome]]


@dataclass(frozen=True, slots=True)
class Occasion:
    """``event`` (FAILURE, DELAY or SUCCESS) came to pass for the recipients of ``results``.

    ``now`` is POSIX time; ``original`` the beginning of the message, None if it can't be read.
    """

    event: Notify
    message: QueuedMessage
    results: Results
    now: float
    original: bytes | None

    @property
    def is_utf8(self) -> bool:
        """Whether the report has to be in the form of RFC 6533."""
        envelope = self.message.envelope
        return (
            envelope.smtputf8
            or not envelope.sender.is_ascii
            or any(not _is_ascii(queued) for queued, _ in self.results)
        )


def _is_ascii(queued: QueuedRecipient) -> bool:
    recipient = queued.recipient
    return recipient.address.is_ascii and recipient.original.isascii()
