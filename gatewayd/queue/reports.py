"""What the dispatcher asks of those who write delivery reports (gatewayd.notify)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from gatewayd.message import NewMessage, QueuedMessage, QueuedRecipient
from gatewayd.status import Outcome

if TYPE_CHECKING:
    from gatewayd.notify.report import Report

__all__ = ["Prepare", "ReportWriter"]

Results = Sequence[tuple[QueuedRecipient, Outcome]]


class ReportWriter(Protocol):
    """Decides who is told of what, and writes it (RFC 3461, RFC 3464).

    ``original`` is the beginning of the message's content: at least its header, and all of it up
    to bounce_size_limit octets. Nothing is returned when nobody is to be told.
    """

    def is_postmaster_notice(self, message: QueuedMessage) -> bool: ...

    def bounce(
        self, message: QueuedMessage, failures: Results, now: float, original: bytes | None
    ) -> Sequence[Report]: ...

    def delayed(
        self, message: QueuedMessage, failures: Results, now: float, original: bytes | None
    ) -> Sequence[Report]: ...

    def success(
        self, message: QueuedMessage, failures: Results, now: float, original: bytes | None
    ) -> Sequence[Report]: ...


Prepare = Callable[["Report"], Awaitable[NewMessage]]
"""Makes a report a message that can be routed and queued."""
