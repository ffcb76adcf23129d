"""Messages, reports and log for tests of the queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gatewayd.address import NULL, Address, parse_address
from gatewayd.message import (
    Envelope,
    MemoryContent,
    NewMessage,
    Notify,
    QueuedMessage,
    QueuedRecipient,
    Recipient,
    Route,
)
from gatewayd.status import Outcome


def recipient(text: str, route: str = "", notify: Notify = Notify.DEFAULT) -> Recipient:
    """A recipient; its route (``transport:nexthop``) is smtp and its domain if not given."""
    address = parse_address(text)
    transport, _, nexthop = (route or f"smtp:{address.domain}").partition(":")
    return Recipient(address, Route(transport, nexthop), text, notify)


def mail(
    queue_id: str,
    *recipients: str | Recipient,
    sender: str = "sender@example.net",
    arrival: float = 0.0,
    content: bytes = b"Subject: test\r\n\r\nbody\r\n",
) -> NewMessage:
    """A message for these recipients."""
    routed = tuple(recipient(each) if isinstance(each, str) else each for each in recipients)
    envelope = Envelope(parse_address(sender) if sender else NULL)
    return NewMessage(queue_id, arrival, envelope, routed, MemoryContent(content))


def queued(message: NewMessage) -> QueuedMessage:
    """The same as a store would give it."""
    numbered = tuple(QueuedRecipient(n, each) for n, each in enumerate(message.recipients, 1))
    return QueuedMessage(
        message.queue_id, message.arrival, message.envelope, numbered, message.content
    )


@dataclass(frozen=True)
class FakeReport:
    """What a report is to the dispatcher."""

    sender: Address
    recipient: Address
    content: bytes
    smtputf8: bool
    kind: str


Results = Sequence[tuple[QueuedRecipient, Outcome]]


class FakeReports:
    """Writes one-line reports to senders other than <> and records what it was asked."""

    def __init__(self) -> None:
        self.bounces: list[tuple[str, Results]] = []
        self.delays: list[tuple[str, Results]] = []
        self.successes: list[tuple[str, Results]] = []
        self.originals: list[bytes | None] = []
        self.broken: Exception | None = None

    def _report(
        self,
        kept: list[tuple[str, Results]],
        message: QueuedMessage,
        results: Results,
        original: bytes | None,
        kind: str,
    ) -> Sequence[FakeReport]:
        if self.broken is not None:
            raise self.broken
        kept.append((message.queue_id, list(results)))
        self.originals.append(original)
        sender = message.envelope.sender
        return [FakeReport(NULL, sender, b"report\r\n", False, kind)] if sender else []

    def is_postmaster_notice(self, message: QueuedMessage) -> bool:
        return message.envelope.sender.local == "double-bounce"

    def bounce(
        self, message: QueuedMessage, failures: Results, now: float, original: bytes | None
    ) -> Sequence[FakeReport]:
        kind = "sender non-delivery notification"
        return self._report(self.bounces, message, failures, original, kind)

    def delayed(
        self, message: QueuedMessage, failures: Results, now: float, original: bytes | None
    ) -> Sequence[FakeReport]:
        kind = "sender delay notification"
        return self._report(self.delays, message, failures, original, kind)

    def success(
        self, message: QueuedMessage, failures: Results, now: float, original: bytes | None
    ) -> Sequence[FakeReport]:
        kind = "sender delivery status notification"
        return self._report(self.successes, message, failures, original, kind)


class RecordedLog:
    """Makes logs by program name; ``lines`` has what was logged, as ``program: text``."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.problems: list[str] = []
        self.failures: list[BaseException] = []

    def __call__(self, program: str) -> Any:
        return _ProgramLog(self, program)


class _ProgramLog:
    def __init__(self, log: RecordedLog, program: str) -> None:
        self._log = log
        self._program = program

    def info(self, text: str, **fields: object) -> None:
        self._log.lines.append(f"{self._program}: {text}")

    def warning(self, text: str, **fields: object) -> None:
        self._log.problems.append(f"{self._program}: {text}")

    error = warning

    def failure(self, text: str, failure: Any, **fields: object) -> None:
        self._log.problems.append(f"{self._program}: {text}")
        self._log.failures.append(getattr(failure, "value", failure))
