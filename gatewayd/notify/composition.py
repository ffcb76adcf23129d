"""A report as a message: multipart/report with its three parts (RFC 3464, 6522, 6533).

Notification        text/plain                for people
Delivery report     message/delivery-status   for programs
Undelivered Message message/rfc822            or its header only: as its sender asked for,
                                              because it's large, or since nothing is lost
"""

from __future__ import annotations

from gatewayd.address import Address
from gatewayd.dates import mail_date
from gatewayd.message import Notify
from gatewayd.notify.fields import delivery_status, field
from gatewayd.notify.occasion import Occasion
from gatewayd.notify.settings import ReportSettings
from gatewayd.notify.text import SUBJECTS, explanation, reasons

__all__ = ["compose"]

_COPY_SUBJECTS = {
    Notify.FAILURE: "Postmaster Copy: Undelivered Mail",
    Notify.DELAY: "Postmaster Warning: Delayed Mail",
}
_BOUNDARY_LIMIT = 70
"""RFC 2046 §5.1.1."""


def compose(
    occasion: Occasion, to: Address, settings: ReportSettings, *, whole: bool, is_copy: bool = False
) -> bytes:
    """The report, CRLF line ends, without Received and Message-Id.

    ``whole``: with all of the message, if it isn't too large. ``is_copy``: for the postmaster,
    who knows what reports are.
    """
    utf8 = occasion.is_utf8
    status = delivery_status(occasion, settings)
    parts = [
        _notification(occasion, settings, is_copy=is_copy),
        _part(
            "Delivery report",
            "message/global-delivery-status" if utf8 else "message/delivery-status",
            status.encode(),
        ),
        _original(occasion, whole=whole and _is_complete(occasion, settings.size_limit)),
    ]
    boundary = _boundary(occasion, settings.host, parts)
    mark = f"--{boundary}".encode()
    body = b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"
    header = [
        field("Date", mail_date(occasion.now)),
        field("From", f"Mail Delivery System <MAILER-DAEMON@{settings.origin}>"),
        field("Subject", (_COPY_SUBJECTS if is_copy else SUBJECTS)[occasion.event]),
        field("To", str(to)),
        field("Auto-Submitted", "auto-generated" if is_copy else "auto-replied"),
        field("MIME-Version", "1.0"),
        "Content-Type: multipart/report; report-type=delivery-status;\r\n"
        f'\tboundary="{boundary}"\r\n',
        *_transfer_encoding(body),
    ]
    return "".join(header).encode() + b"\r\n" + body


def _notification(occasion: Occasion, settings: ReportSettings, *, is_copy: bool) -> bytes:
    text = reasons(occasion.results)
    if not is_copy:
        times = {"warning": settings.warning_time, "lifetime": settings.lifetime}
        text = explanation(occasion.event, settings.host, **times) + text
    charset = "us-ascii" if text.isascii() else "utf-8"
    content = text.replace("\n", "\r\n").encode()
    return _part("Notification", f"text/plain; charset={charset}", content)


def _is_complete(occasion: Occasion, limit: int) -> bool:
    """Whether we have all of the message, and may send it back."""
    size = occasion.message.size
    return occasion.original is not None and size <= min(limit, len(occasion.original))


def _original(occasion: Occasion, *, whole: bool) -> bytes:
    """The message itself, or its header only."""
    octets = occasion.original or b""
    description = "Message" if occasion.event is Notify.SUCCESS else "Undelivered Message"
    if whole:
        kind = "message/global" if occasion.is_utf8 else "message/rfc822"
    else:
        description += " Headers"
        kind = "message/global-headers" if occasion.is_utf8 else "text/rfc822-headers"
        octets = _header(octets)
    sender = field("Return-Path", f"<{occasion.message.envelope.sender}>")
    return _part(description, kind, sender.encode() + octets)


def _header(octets: bytes) -> bytes:
    """Whole lines of the header, as far as we have it."""
    end = octets.find(b"\r\n\r\n")
    return octets[: end + 2] if end >= 0 else octets[: octets.rfind(b"\n") + 1]


def _part(description: str, kind: str, content: bytes) -> bytes:
    fields = [field("Content-Description", description), field("Content-Type", kind)]
    return "".join([*fields, *_transfer_encoding(content)]).encode() + b"\r\n" + content


def _transfer_encoding(content: bytes) -> list[str]:
    return [] if content.isascii() else [field("Content-Transfer-Encoding", "8bit")]


def _boundary(occasion: Occasion, host: str, parts: list[bytes]) -> str:
    """One that doesn't stand in any of the parts: a message may hold a report of ours."""
    name = f"{occasion.message.queue_id}.{int(occasion.now)}/{host}"[: _BOUNDARY_LIMIT - 4]
    boundary, count = name, 0
    while any(boundary.encode() in part for part in parts):
        count += 1
        boundary = f"{count}.{name}"
    return boundary
