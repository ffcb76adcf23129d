"""What two servers' reports on the same failure must have in common."""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.message import Message
from typing import Any

from tests.notify.pair import Received
from tests.notify.parsed import Fields, Part, parse_report

__all__ = ["likenesses"]

_DATES = ("Arrival-Date", "Will-Retry-Until")
_OURS_ONLY = ("Last-Attempt-Date",)
_OWN_WORDS_END = f"{'':>19}The mail system\n\n"
_TRACE = ("Received", "Date", "Message-Id")


def likenesses(reports: Sequence[Received]) -> list[dict[str, Any]]:
    """Each of the reports, without what cannot be alike, in an order of their own."""
    found = []
    for report in reports:
        one = {"sender": report.sender, "recipient": report.recipient, **_likeness(report.content)}
        found.append(one)
    return sorted(found, key=lambda one: (one["recipient"], one["Subject"], one["reasons"]))


def _likeness(octets: bytes) -> dict[str, Any]:
    parsed = parse_report(octets)
    assert len(parsed.header.get_all("Message-Id", [])) == 1
    names = ("From", "To", "Subject", "Auto-Submitted", "MIME-Version")
    opening, _, reasons = parsed.text.rpartition(_OWN_WORDS_END)
    recipients = [_values(fields) for fields in parsed.recipient_fields]
    return {
        **{name: _text(parsed.header, name) for name in names},
        "parts": [(part.description, part.kind) for part in parsed.parts],
        "has opening": opening.startswith("This is the mail system at host mx.test.\n\n"),
        "reasons": sorted(reasons.strip("\n").split("\n\n")),
        "message": _values(parsed.message_fields),
        "recipients": sorted(recipients, key=lambda fields: fields[0]),
        "original": _original(parsed.original),
    }


def _text(header: Message, name: str) -> str:
    """A field's octets: email gives what isn't ASCII as something else."""
    value = header.get(name)
    return str(value).encode("ascii", "surrogateescape").decode() if value else ""


def _values(fields: Fields) -> Fields:
    kept = []
    for name, value in fields:
        if name in _DATES or name.endswith("-Queue-ID"):
            kept.append((name, "…"))
        elif name == "Original-Recipient" and not value.isascii():
            # Postfix 3.7 calls it rfc822 if the client gave no ORCPT; RFC 6533 §3 does not.
            kept.append((name, value.replace("rfc822;", "utf-8;")))
        elif name not in _OURS_ONLY:
            kept.append((name, value))
    return kept


def _original(part: Part) -> Any:
    """The message or header that came back; a report that came back is looked at as one."""
    header, _, body = part.content.partition(b"\r\n\r\n")
    if b"Content-Type: multipart/report;" in header:
        start, _, content = part.content.partition(b"\r\n")
        nested = content if b"\r\n\r\n" in content else None
        return (_return_path(start), _likeness(nested) if nested else "a report's header")
    fields = [
        field
        for field in re.split(rb"\r\n(?![ \t])", header.rstrip(b"\r\n"))
        if field.partition(b":")[0].decode() not in _TRACE
    ]
    return (_return_path(fields[0]), sorted(fields[1:]), body)


def _return_path(field: bytes) -> bytes:
    """Postfix puts a name in the place of the null address; RFC 5321 §4.4 does not."""
    return b"Return-Path: <>" if field == b"Return-Path: <MAILER-DAEMON@mx.test>" else field
