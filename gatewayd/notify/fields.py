"""The machine-readable part of a report: message/delivery-status (RFC 3464, RFC 6533)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from gatewayd.address import Address
from gatewayd.dates import mail_date
from gatewayd.message import Notify, QueuedRecipient
from gatewayd.notify.occasion import Occasion
from gatewayd.notify.settings import ReportSettings
from gatewayd.notify.text import folded, printable, reason
from gatewayd.status import Action, Outcome

__all__ = ["delivery_status", "field"]

_LONG = 990
_FOLDED = 79
_INDENT = 4
_NAME_LIMIT = 40
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9-]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_ORCPT = re.compile(r"([A-Za-z0-9-]+);(.+)", re.DOTALL)
_XTEXT = re.compile(r"\+([0-9A-Fa-f]{2})")
_UNICODE_XTEXT = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")
_ACTIONS = {
    Action.DELIVERED: "delivered",
    Action.RELAYED: "relayed",
    Action.PASSED: "relayed",
    Action.DEFERRED: "delayed",
    Action.FAILED: "failed",
}


def field(name: str, value: str, width: int = _LONG) -> str:
    """One header field, CRLF included; nothing in ``value`` can end it.

    It's folded at blanks to lines of ``width`` octets, at most 998 in any case.
    """
    start = f"{name}: "
    text = printable(value).strip(" ")
    return start + folded(text, _INDENT, width, first=len(start), end="\r\n") + "\r\n"


def delivery_status(occasion: Occasion, settings: ReportSettings) -> str:
    """The part's content, CRLF line ends: fields of the message, then of each recipient."""
    writer = _Writer(occasion, settings)
    blocks = [writer.message()]
    blocks += [writer.recipient(queued, outcome) for queued, outcome in occasion.results]
    return "\r\n".join("".join(block) for block in blocks)


class _Writer:
    """Writes the blocks. Where ``_is_utf8`` is false they must be ASCII (RFC 3464 §2.1)."""

    def __init__(self, occasion: Occasion, settings: ReportSettings) -> None:
        self._occasion = occasion
        self._settings = settings
        self._is_utf8 = occasion.is_utf8
        name = settings.mail_name[:_NAME_LIMIT]
        self._ours = "X-" + _NOT_IN_NAME.sub("-", f"{name[:1].upper()}{name[1:]}")

    def message(self) -> Iterator[str]:
        message = self._occasion.message
        envelope = message.envelope
        host = self._settings.host
        sender = envelope.sender or Address("MAILER-DAEMON", host)
        yield self._field("Reporting-MTA", f"dns; {host}")
        if envid := _decoded(envelope.envid).strip():
            yield self._field("Original-Envelope-Id", envid)
        yield self._field(f"{self._ours}-Queue-ID", message.queue_id)
        yield self._field(f"{self._ours}-Sender", f"{_kind(sender)}; {sender}")
        yield self._field("Arrival-Date", mail_date(message.arrival))

    def recipient(self, queued: QueuedRecipient, outcome: Outcome) -> Iterator[str]:
        event = self._occasion.event
        address = queued.recipient.address
        yield self._field("Final-Recipient", f"{_kind(address)}; {address}")
        if original := self._original(queued):
            yield self._field("Original-Recipient", original)
        action = "failed" if event is Notify.FAILURE else _ACTIONS[outcome.action]
        yield self._field("Action", action)
        yield self._field("Status", outcome.status)
        if outcome.remote_mta:
            yield self._field("Remote-MTA", f"dns; {outcome.remote_mta}")
        yield self._diagnostic(outcome)
        if event is Notify.DELAY:
            yield from self._times()

    def _original(self, queued: QueuedRecipient) -> str:
        """The recipient as its sender knows it: type and address."""
        given = _ORCPT.fullmatch(queued.recipient.orcpt)
        if given is None:
            text = queued.recipient.original
            return f"{'rfc822' if text.isascii() else 'utf-8'};{text}" if text else ""
        kind, text = given.groups()
        if kind.lower() != "utf-8":
            return f"{kind};{_decoded(text)}"
        if self._is_utf8:
            return f"{kind};{_UNICODE_XTEXT.sub(_character, text)}"
        return f"{kind};{_NOT_ASCII.sub(_in_ascii, text)}"

    def _diagnostic(self, outcome: Outcome) -> str:
        given = outcome.diagnostic
        kind, text = (given.kind, given.text) if given else (self._ours, reason(outcome))
        return self._field("Diagnostic-Code", f"{kind}; {text}", _FOLDED)

    def _times(self) -> Iterable[str]:
        occasion = self._occasion
        yield self._field("Last-Attempt-Date", mail_date(occasion.now))
        until = occasion.message.arrival + self._settings.lifetime
        yield self._field("Will-Retry-Until", mail_date(until))

    def _field(self, name: str, value: str, width: int = _LONG) -> str:
        return field(name, value if self._is_utf8 else _NOT_ASCII.sub("?", value), width)


def _kind(address: Address) -> str:
    return "rfc822" if address.is_ascii else "utf-8"


def _decoded(xtext: str) -> str:
    """RFC 3461 §4."""
    return _XTEXT.sub(lambda found: chr(int(found[1], 16)), xtext)


def _character(found: re.Match[str]) -> str:
    """RFC 6533 §3; what is no character stays as it is."""
    code = int(found[1], 16)
    return chr(code) if code <= 0x10FFFF else found[0]


def _in_ascii(character: re.Match[str]) -> str:
    return f"\\x{{{ord(character[0]):X}}}"
