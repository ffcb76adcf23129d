"""The message as a command reads it: line ends, added headers, quoting (postfix.md §3)."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from gatewayd.message import DeliveryRequest, QueuedRecipient
from gatewayd.plugins.pipe.attributes import Attributes

__all__ = ["BodyForm", "delivered_to", "has_delivered_to", "leading_headers"]

_DELIVERED_TO = re.compile(rb"^delivered-to:[ \t]*(.*?)\r?$", re.I | re.M)


def leading_headers(
    attributes: Attributes,
    request: DeliveryRequest,
    recipients: Sequence[QueuedRecipient],
    now: float,
) -> bytes:
    """From_, Return-Path, X-Original-To, Delivered-To: those that the flags ask for, in CRLF."""
    sender = request.sender
    flags = attributes.flags
    lines: list[str] = []
    if "F" in flags:
        date = time.strftime("%a %b %d %H:%M:%S %Y", time.localtime(now))
        lines.append(f"From {sender or 'MAILER-DAEMON'}  {date}")
    if "R" in flags:
        path = str(sender) if sender else attributes.null_sender
        lines.append(f"Return-Path: <{path}>" if path else "Return-Path: <>")
    if "O" in flags and len(recipients) == 1:
        recipient = recipients[0].recipient
        lines.append(f"X-Original-To: {recipient.original or recipient.address}")
    if "D" in flags and len(recipients) == 1:
        lines.append(f"Delivered-To: {delivered_to(recipients[0])}")
    return "".join(f"{line}\r\n" for line in lines).encode()


def delivered_to(queued: QueuedRecipient) -> str:
    """What Delivered-To names."""
    return str(queued.recipient.address)


def has_delivered_to(header: bytes, address: str) -> bool:
    """Whether a header block says that the message has been delivered there before."""
    wanted = address.encode().lower()
    return any(match[1].strip().lower() == wanted for match in _DELIVERED_TO.finditer(header))


class BodyForm:
    """A content in pieces, as the flags want it; memory is one piece."""

    def __init__(self, attributes: Attributes) -> None:
        self._attributes = attributes
        self._rest = b""
        self._at_start = True

    def feed(self, octets: bytes) -> bytes:
        """The next piece; a line's end that may go on is kept for later."""
        whole = self._rest + octets
        # Whole lines only, or a long piece of a line without its CR.
        end = whole.rfind(b"\n") + 1
        if not end and len(whole) > 65536:
            end = len(whole) - 1
        self._rest = whole[end:]
        return self._formed(whole[:end])

    def finish(self) -> bytes:
        """What was kept, and the blank line of flag B."""
        rest, self._rest = self._rest, b""
        last = self._formed(rest)
        return last + (self._attributes.eol if "B" in self._attributes.flags else b"")

    def _formed(self, octets: bytes) -> bytes:
        if not octets:
            return b""
        flags = self._attributes.flags
        marked = (b"\n" if self._at_start else b" ") + octets
        self._at_start = octets.endswith(b"\n")
        if "." in flags:
            marked = marked.replace(b"\n.", b"\n..")
        if ">" in flags:
            marked = marked.replace(b"\nFrom ", b"\n>From ")
        return marked[1:].replace(b"\r\n", self._attributes.eol)
