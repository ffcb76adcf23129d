"""Failures to report, and reports on them."""

from __future__ import annotations

from collections.abc import Sequence

from gatewayd.address import Address
from gatewayd.message import (
    Envelope,
    MemoryContent,
    Notify,
    QueuedMessage,
    QueuedRecipient,
    Recipient,
    Route,
)
from gatewayd.notify.report import Report
from gatewayd.notify.reports import Reports
from gatewayd.notify.settings import ReportSettings
from gatewayd.status import Action, Outcome, deferred, failed

NOW = 1_700_000_000.0
CONTENT = b"Received: by x\r\nSubject: hello\r\n\r\nthe body\r\n"
SENDER = Address("me", "sender.test")
ALL_CLASSES = frozenset(("bounce", "2bounce", "delay"))
REFUSED = failed("5.1.1", "no such user")
LATE = deferred("4.2.2", "mailbox full")
DELIVERED = Outcome(Action.RELAYED, "2.0.0", "250 ok", "mx[192.0.2.1]:25", "mx")
OUTCOMES = {Notify.FAILURE: REFUSED, Notify.DELAY: LATE, Notify.SUCCESS: DELIVERED}


def recipient(
    number: int = 1,
    address: Address | None = None,
    notify: Notify = Notify.DEFAULT,
    original: str = "",
    orcpt: str = "",
) -> QueuedRecipient:
    address = address or Address(f"you{number}", "far.test")
    route = Route("smtp", "far.test")
    return QueuedRecipient(number, Recipient(address, route, original, notify, orcpt))


def queued(
    recipients: Sequence[QueuedRecipient],
    envelope: Envelope | None = None,
    content: bytes = CONTENT,
) -> QueuedMessage:
    envelope = envelope or Envelope(SENDER)
    return QueuedMessage("A1B2C3", NOW - 60, envelope, tuple(recipients), MemoryContent(content))


def settings(**changed: object) -> ReportSettings:
    return ReportSettings(host="mx.test", origin="origin.test", **changed)  # type: ignore[arg-type]


def report_on(
    event: Notify,
    message: QueuedMessage,
    outcome: Outcome | None = None,
    **changed: object,
) -> Sequence[Report]:
    """What is sent out if the same becomes of all recipients of a message."""
    reports = Reports(settings(**changed))
    write = {
        Notify.FAILURE: reports.bounce,
        Notify.DELAY: reports.delayed,
        Notify.SUCCESS: reports.success,
    }[event]
    results = [(each, outcome or OUTCOMES[event]) for each in message.recipients]
    content = message.content
    assert isinstance(content, MemoryContent)
    return write(message, results, NOW, content.octets)
