"""Delivery reports: who is told of what (RFC 3461, 3464).

A report's sender is the null address, so that nobody reports about it; a copy for the postmaster
comes from double_bounce_sender. Mail with a null sender gets no report: if it cannot be delivered
the postmaster is told instead, where notify_classes has 2bounce or bounce. What the postmaster
can't get ends there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gatewayd.address import NULL, Address
from gatewayd.message import Notify, QueuedMessage
from gatewayd.notify.composition import compose
from gatewayd.notify.occasion import Occasion, Results
from gatewayd.notify.report import Report
from gatewayd.notify.settings import ReportSettings

__all__ = ["Reports"]

_KINDS = {
    Notify.FAILURE: "sender non-delivery notification",
    Notify.DELAY: "sender delay notification",
    Notify.SUCCESS: "sender delivery status notification",
}
_COPY_KINDS = {
    Notify.FAILURE: "postmaster non-delivery notification",
    Notify.DELAY: "postmaster delay notification",
}


class Reports:
    """Writes reports. Pure: time and content are given."""

    def __init__(self, settings: ReportSettings) -> None:
        self._settings = settings
        self._double_bounce = Address(settings.double_bounce_sender, settings.host)

    def is_postmaster_notice(self, message: QueuedMessage) -> bool:
        """Whether it's a copy of a report: nobody is told what becomes of it."""
        sender, ours = message.envelope.sender, self._double_bounce
        return (sender.local.lower(), sender.domain.lower()) == (
            ours.local.lower(),
            ours.domain.lower(),
        )

    def bounce(
        self, message: QueuedMessage, failures: Results, now: float, original: bytes | None
    ) -> Sequence[Report]:
        """Mail could not be delivered, for good."""
        if self.is_postmaster_notice(message):
            return ()
        settings = self._settings
        occasion = Occasion(Notify.FAILURE, message, failures, now, original)
        if not message.envelope.sender:
            if not settings.classes & {"2bounce", "bounce"}:
                return ()
            return (self._copy(occasion, settings.double_bounce_recipient, whole=True),)
        reports = self._to_sender(occasion, whole=message.envelope.ret != "HDRS")
        if "bounce" in settings.classes:
            reports.append(self._copy(occasion, settings.bounce_recipient, whole=False))
        return reports

    def delayed(
        self, message: QueuedMessage, deferrals: Results, now: float, original: bytes | None
    ) -> Sequence[Report]:
        """Mail is late, and still tried."""
        if not self._may_be_told(message):
            return ()
        occasion = Occasion(Notify.DELAY, message, deferrals, now, original)
        reports = self._to_sender(occasion, whole=False)
        if "delay" in self._settings.classes:
            reports.append(self._copy(occasion, self._settings.delay_recipient, whole=False))
        return reports

    def success(
        self, message: QueuedMessage, successes: Results, now: float, original: bytes | None
    ) -> Sequence[Report]:
        """Mail was delivered or handed on, and its sender wanted to know."""
        if not self._may_be_told(message):
            return ()
        return self._to_sender(
            Occasion(Notify.SUCCESS, message, successes, now, original), whole=False
        )

    def _may_be_told(self, message: QueuedMessage) -> bool:
        return bool(message.envelope.sender) and not self.is_postmaster_notice(message)

    def _to_sender(self, occasion: Occasion, *, whole: bool) -> list[Report]:
        """A report on those recipients whose NOTIFY asks for it, if there are any."""
        event = occasion.event
        wanted = [each for each in occasion.results if each[0].recipient.notify.wants(event)]
        if not wanted:
            return []
        occasion = replace(occasion, results=wanted)
        to = occasion.message.envelope.sender
        content = compose(occasion, to, self._settings, whole=whole)
        return [Report(NULL, to, content, occasion.is_utf8, _KINDS[event])]

    def _copy(self, occasion: Occasion, to: Address, *, whole: bool) -> Report:
        """The postmaster's, on all recipients."""
        to = to if to.domain else Address(to.local, self._settings.origin)
        content = compose(occasion, to, self._settings, whole=whole, is_copy=True)
        kind = _COPY_KINDS[occasion.event]
        utf8 = occasion.is_utf8 or not to.is_ascii
        return Report(self._double_bounce, to, content, utf8, kind)
