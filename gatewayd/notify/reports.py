"""Delivery reports: who is told of what, and the message that tells it (RFC 3461, 3464, 6533).

A report's sender is the null address, so that nobody reports about it; a copy for the postmaster
comes from double_bounce_sender. Mail with a null sender gets no report: if it cannot be delivered
the postmaster is told instead, where notify_classes has 2bounce.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import TYPE_CHECKING

from gatewayd.address import NULL, Address, parse_address
from gatewayd.errors import AddressSyntaxError
from gatewayd.message import Notify, QueuedMessage, QueuedRecipient
from gatewayd.notify.fields import delivery_status, field
from gatewayd.notify.report import Report
from gatewayd.notify.text import SUBJECTS, explanation
from gatewayd.status import Outcome

if TYPE_CHECKING:
    from gatewayd.config.settings import Settings

__all__ = ["ReportSettings", "Reports"]

Results = Sequence[tuple[QueuedRecipient, Outcome]]


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """The parameters of reports. Times are seconds."""

    host: str
    origin: str
    mail_name: str = "gatewayd"
    size_limit: int = 50000
    classes: frozenset[str] = frozenset(("resource", "software"))
    bounce_recipient: str = "postmaster"
    double_bounce_recipient: str = "postmaster"
    delay_recipient: str = "postmaster"
    double_bounce_sender: str = "double-bounce"
    lifetime: float = 432000.0
    warning_time: float = 0.0

    @classmethod
    def from_settings(cls, settings: Settings) -> ReportSettings:
        """As main.cf says. Raises ConfigError."""
        return cls(
            host=settings.text("myhostname"),
            origin=settings.text("myorigin"),
            mail_name=settings.text("mail_name"),
            size_limit=settings.number("bounce_size_limit"),
            classes=frozenset(settings.words("notify_classes")),
            bounce_recipient=settings.text("bounce_notice_recipient"),
            double_bounce_recipient=settings.text("2bounce_notice_recipient"),
            delay_recipient=settings.text("delay_notice_recipient"),
            double_bounce_sender=settings.text("double_bounce_sender"),
            lifetime=settings.seconds("maximal_queue_lifetime"),
            warning_time=settings.seconds("delay_warning_time"),
        )


class Reports:
    """Writes reports. Pure: time and content are given."""

    def __init__(self, settings: ReportSettings) -> None:
        self._settings = settings

    def bounce(
        self, message: QueuedMessage, failures: Results, now: float, original: bytes | None
    ) -> Sequence[Report]:
        """Mail could not be delivered, for good."""
        sender = message.envelope.sender
        settings = self._settings
        if self._is_double_bounce(sender):
            return ()
        if not sender:
            if not settings.classes & {"2bounce", "bounce"}:
                return ()
            to = settings.double_bounce_recipient
            return self._postmaster(message, failures, now, original, to, full=True)
        wanted = _wanting(failures, Notify.FAILURE)
        reports: list[Report] = []
        if wanted:
            reports.append(self._report("failed", message, wanted, now, original, sender))
        if "bounce" in settings.classes:
            to = settings.bounce_recipient
            reports += self._postmaster(message, failures, now, original, to, full=False)
        return reports

    def delayed(
        self, message: QueuedMessage, failures: Results, now: float, original: bytes | None
    ) -> Sequence[Report]:
        """Mail is late, and still tried."""
        sender = message.envelope.sender
        if not sender or self._is_double_bounce(sender):
            return ()
        reports: list[Report] = []
        if wanted := _wanting(failures, Notify.DELAY):
            reports.append(self._report("delayed", message, wanted, now, original, sender))
        if "delay" in self._settings.classes:
            to = self._address(self._settings.delay_recipient)
            report = self._report("delayed", message, failures, now, original, to)
            reports.append(self._as_copy(report, "postmaster delay notification"))
        return reports

    def success(
        self, message: QueuedMessage, failures: Results, now: float, original: bytes | None
    ) -> Sequence[Report]:
        """Mail was delivered or handed on, and its sender wanted to know."""
        sender = message.envelope.sender
        if not sender or self._is_double_bounce(sender):
            return ()
        wanted = _wanting(failures, Notify.SUCCESS)
        if not wanted:
            return ()
        return (self._report("success", message, wanted, now, original, sender),)

    # Who

    def _is_double_bounce(self, sender: Address) -> bool:
        settings = self._settings
        return sender.local.lower() == settings.double_bounce_sender.lower() and (
            sender.domain.lower() in ("", settings.host.lower(), settings.origin.lower())
        )

    def _address(self, text: str) -> Address:
        try:
            address = parse_address(text)
        except AddressSyntaxError:
            address = Address("postmaster")
        return address if address.domain else Address(address.local, self._settings.origin)

    def _postmaster(
        self,
        message: QueuedMessage,
        failures: Results,
        now: float,
        original: bytes | None,
        to: str,
        *,
        full: bool,
    ) -> tuple[Report, ...]:
        if not full:
            message = replace(message, envelope=replace(message.envelope, ret="HDRS"))
        report = self._report("failed", message, failures, now, original, self._address(to))
        return (self._as_copy(report, "postmaster non-delivery notification"),)

    def _as_copy(self, report: Report, kind: str) -> Report:
        content = report.content.replace(b"\r\nSubject: ", b"\r\nSubject: Postmaster Copy: ", 1)
        content = content.replace(
            b"Auto-Submitted: auto-replied", b"Auto-Submitted: auto-generated"
        )
        sender = Address(self._settings.double_bounce_sender, self._settings.origin)
        return replace(report, sender=sender, content=content, kind=kind)

    # What

    def _report(
        self,
        kind: str,
        message: QueuedMessage,
        results: Results,
        now: float,
        original: bytes | None,
        to: Address,
    ) -> Report:
        settings = self._settings
        utf8 = message.envelope.smtputf8 or not to.is_ascii
        boundary = f"{message.queue_id}.{int(now)}/{settings.host}"
        text = explanation(
            kind,
            results,
            settings.host,
            hours=int(settings.warning_time // 3600),
            days=settings.lifetime / 86400,
        )
        status = delivery_status(
            message,
            results,
            kind=kind,
            host=settings.host,
            mail_name=settings.mail_name,
            now=now,
            retry_until=message.arrival + settings.lifetime,
            smtputf8=utf8,
        )
        parts = [
            _part(
                "Notification",
                f"text/plain; charset={'us-ascii' if text.isascii() else 'utf-8'}",
                text.replace("\n", "\r\n").encode(),
            ),
            _part(
                "Delivery report",
                "message/global-delivery-status" if utf8 else "message/delivery-status",
                status.encode(),
            ),
            self._original(message, original, utf8=utf8),
        ]
        mark = f"--{boundary}".encode()
        body = b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"
        header = self._header(
            kind, to, boundary, now, message.queue_id, has_8bit=not body.isascii()
        )
        return Report(NULL, to, header + b"\r\n" + body, utf8, _LOG_KINDS[kind])

    def _header(
        self, kind: str, to: Address, boundary: str, now: float, queue_id: str, *, has_8bit: bool
    ) -> bytes:
        settings = self._settings
        fields = [
            field("Date", formatdate(now, localtime=True)),
            field("From", f"MAILER-DAEMON@{settings.origin} (Mail Delivery System)"),
            field("Subject", SUBJECTS[kind]),
            field("To", str(to)),
            field("Auto-Submitted", "auto-replied"),
            field("MIME-Version", "1.0"),
            "Content-Type: multipart/report; report-type=delivery-status;\r\n"
            f'\tboundary="{boundary}"\r\n',
        ]
        if has_8bit:
            fields.append(field("Content-Transfer-Encoding", "8bit"))
        stamp = f"{int(now * 1e6):x}.{queue_id}.{kind}"
        fields.append(field("Message-Id", f"<{stamp}@{settings.host}>"))
        return "".join(fields).encode()

    def _original(self, message: QueuedMessage, original: bytes | None, *, utf8: bool) -> bytes:
        """The message itself, or its header only: as asked, or because it's large."""
        octets = original or b""
        sender = f"Return-Path: <{message.envelope.sender}>\r\n".encode()
        whole = (
            original is not None
            and len(octets) >= message.size
            and message.envelope.ret != "HDRS"
            and message.size <= self._settings.size_limit
        )
        if whole:
            kind = "message/global" if utf8 else "message/rfc822"
            return _part("Undelivered Message", kind, sender + octets)
        end = octets.find(b"\r\n\r\n")
        header = octets[: end + 2] if end >= 0 else octets[: octets.rfind(b"\n") + 1]
        kind = "message/global-headers" if utf8 else "text/rfc822-headers"
        return _part("Undelivered Message Headers", kind, sender + header)


_LOG_KINDS = {
    "failed": "sender non-delivery notification",
    "delayed": "sender delay notification",
    "success": "sender delivery status notification",
}


def _wanting(results: Results, event: Notify) -> list[tuple[QueuedRecipient, Outcome]]:
    return [
        (queued, outcome) for queued, outcome in results if queued.recipient.notify.wants(event)
    ]


def _part(description: str, kind: str, content: bytes) -> bytes:
    fields = [field("Content-Description", description), field("Content-Type", kind)]
    if not content.isascii():
        fields.append(field("Content-Transfer-Encoding", "8bit"))
    return "".join(fields).encode() + b"\r\n" + content
