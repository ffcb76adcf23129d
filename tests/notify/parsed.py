"""A report taken apart, and held against RFC 3462, 3464, 5322 and 6533."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import parsedate_to_datetime

__all__ = ["Parsed", "parse_report"]

Fields = list[tuple[str, str]]

_ONCE = ("Date", "From", "Subject", "To", "Auto-Submitted", "MIME-Version", "Content-Type")
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\Z")
_TYPED = re.compile(r"[A-Za-z0-9-]+;")
_CLASSES = {"failed": "45", "delayed": "4", "delivered": "2", "relayed": "2", "expanded": "2"}
_KNOWN_MESSAGE_FIELDS = {"Original-Envelope-Id", "Reporting-MTA", "Arrival-Date"}
_KNOWN_RECIPIENT_FIELDS = {
    "Original-Recipient",
    "Final-Recipient",
    "Action",
    "Status",
    "Remote-MTA",
    "Diagnostic-Code",
    "Last-Attempt-Date",
    "Will-Retry-Until",
}
_STATUS_TYPES = ("message/delivery-status", "message/global-delivery-status")
_ORIGINAL_TYPES = (
    ("message/rfc822", "text/rfc822-headers"),
    ("message/global", "message/global-headers"),
)


@dataclass(frozen=True)
class Part:
    """One of the three: its header, as octets too, and its content."""

    header: Message
    written: bytes
    content: bytes

    @property
    def kind(self) -> str:
        return self.header.get_content_type()

    @property
    def description(self) -> str:
        return str(self.header["Content-Description"])


@dataclass(frozen=True)
class Parsed:
    """``message_fields`` and ``recipient_fields`` are those of the delivery report."""

    header: Message
    parts: list[Part]
    message_fields: Fields
    recipient_fields: list[Fields]

    @property
    def text(self) -> str:
        return self.parts[0].content.decode().replace("\r\n", "\n")

    @property
    def original(self) -> Part:
        return self.parts[2]


def parse_report(octets: bytes) -> Parsed:
    """Take a report apart. AssertionError if it isn't one, in all that the RFCs ask for."""
    header, parts = _parts(octets)
    blocks = [_fields(block) for block in parts[1].content.rstrip(b"\r\n").split(b"\r\n\r\n")]
    parsed = Parsed(header, parts, blocks[0], blocks[1:])
    _check_header(header)
    _check_parts(parsed, octets)
    _check_message_fields(parsed.message_fields)
    assert parsed.recipient_fields
    for fields in parsed.recipient_fields:
        _check_recipient_fields(fields)
    return parsed


def _parts(octets: bytes) -> tuple[Message, list[Part]]:
    """Cut at the boundaries by hand, and made sure that email finds the same parts."""
    whole = message_from_bytes(octets)
    assert not whole.defects
    assert whole.get_content_type() == "multipart/report"
    assert whole.get_param("report-type") == "delivery-status"
    boundary = str(whole.get_boundary())
    assert 1 <= len(boundary) <= 70
    head, _, body = octets.partition(b"\r\n\r\n")
    body = b"\r\n" + body
    body, end, _ = body.partition(f"\r\n--{boundary}--\r\n".encode())
    assert end, "the last boundary"
    sections = body.split(f"\r\n--{boundary}\r\n".encode())[1:]
    assert len(sections) == 3
    parts = []
    for section in sections:
        start, _, content = section.partition(b"\r\n\r\n")
        header = BytesHeaderParser().parsebytes(start + b"\r\n\r\n")
        parts.append(Part(header, start, content))
    payload = whole.get_payload()
    assert isinstance(payload, list)
    assert [each.get_content_type() for each in payload] == [each.kind for each in parts]
    assert not any(each.defects for each in payload)
    return BytesHeaderParser().parsebytes(head + b"\r\n\r\n"), parts


def _fields(block: bytes) -> Fields:
    parsed = message_from_bytes(block + b"\r\n\r\n", policy=policy.compat32)
    assert not parsed.defects, parsed.defects
    assert not parsed.get_payload(), "every line is a field"
    raw = [line for line in block.split(b"\r\n") if not line.startswith((b" ", b"\t"))]
    assert len(raw) == len(parsed.keys())
    found = []
    for line in raw:
        assert re.match(rb"[!-9;-~]+: \S", line), line
    for name, value in re.findall(rb"([!-9;-~]+): ((?:[^\r]|\r\n[ \t])*)", block):
        found.append((name.decode(), value.replace(b"\r\n", b"\n").decode()))
    assert [name for name, _ in found] == list(parsed.keys())
    return found


def _check_header(header: Message) -> None:
    for name in _ONCE:
        assert len(header.get_all(name, [])) == 1, name
    assert header["MIME-Version"] == "1.0"
    assert header["Auto-Submitted"] in ("auto-replied", "auto-generated")
    parsedate_to_datetime(header["Date"])


def _check_parts(parsed: Parsed, octets: bytes) -> None:
    notification, status, original = parsed.parts
    assert notification.kind == "text/plain"
    assert status.kind in _STATUS_TYPES
    assert original.kind in _ORIGINAL_TYPES[_STATUS_TYPES.index(status.kind)]
    notification.content.decode(notification.header.get_content_charset("us-ascii"))
    for part in parsed.parts:
        assert part.content.isascii() or _is_8bit(part.header), part.description
        if _is_8bit(part.header):
            assert _is_8bit(parsed.header)
    if status.kind == "message/delivery-status":
        assert status.content.isascii()
    assert octets.partition(b"\r\n\r\n")[0].isascii() or status.kind != _STATUS_TYPES[0]
    return_path = re.match(rb"Return-Path: (?:[^\r]|\r\n[ \t])*\r\n", original.content)
    assert return_path
    for written in (
        octets.partition(b"\r\n\r\n")[0],
        *(part.written for part in parsed.parts),
        notification.content,
        status.content,
        return_path[0],
    ):
        _check_lines(written)


def _check_lines(written: bytes) -> None:
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", written), "controls"
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", written), "a line end other than CRLF"
    assert max(map(len, written.split(b"\r\n"))) <= 998


def _is_8bit(header: Message) -> bool:
    return str(header["Content-Transfer-Encoding"]) == "8bit"


def _check_message_fields(fields: Fields) -> None:
    names = [name for name, _ in fields]
    assert len(set(names)) == len(names)
    assert {name for name in names if not name.startswith("X-")} <= _KNOWN_MESSAGE_FIELDS
    values = dict(fields)
    assert values["Reporting-MTA"].startswith("dns; ")
    parsedate_to_datetime(values["Arrival-Date"])


def _check_recipient_fields(fields: Fields) -> None:
    names = [name for name, _ in fields]
    assert len(set(names)) == len(names)
    assert set(names) <= _KNOWN_RECIPIENT_FIELDS
    values = dict(fields)
    assert _STATUS.match(values["Status"]), values["Status"]
    assert values["Status"][0] in _CLASSES[values["Action"]]
    for name in ("Final-Recipient", "Original-Recipient", "Remote-MTA", "Diagnostic-Code"):
        assert name not in values or _TYPED.match(values[name]), values[name]
    assert "Final-Recipient" in values
    for name in ("Last-Attempt-Date", "Will-Retry-Until"):
        if name in values:
            parsedate_to_datetime(values[name])
