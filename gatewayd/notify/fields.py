"""The machine-readable part of a report: message/delivery-status (RFC 3464, RFC 6533)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from email.utils import formatdate

from gatewayd.message import QueuedMessage, QueuedRecipient
from gatewayd.status import Action, Outcome

__all__ = ["delivery_status", "field"]

_UNSAFE = re.compile(r"[\x00-\x1f\x7f]")
_LINE = 990
_ACTIONS = {
    Action.DELIVERED: "delivered",
    Action.RELAYED: "relayed",
    Action.PASSED: "relayed",
    Action.DEFERRED: "delayed",
    Action.FAILED: "failed",
}
_XTEXT = re.compile(r"\+([0-9A-F]{2})")


def field(name: str, value: str) -> str:
    """One header line, CRLF included. Control characters become blanks: none can end the line.

    Long values are folded at blanks, and cut where there are none.
    """
    text = _UNSAFE.sub(" ", value).strip()
    line = f"{name}: {text}"
    lines: list[str] = []
    while len(line.encode()) > _LINE:
        cut = line.rfind(" ", 1, _LINE // 4)
        cut = cut if cut > len(name) + 2 else _LINE // 4
        lines.append(line[:cut].rstrip())
        line = "    " + line[cut:].lstrip()
    lines.append(line)
    return "\r\n".join(lines) + "\r\n"


def delivery_status(
    message: QueuedMessage,
    results: Sequence[tuple[QueuedRecipient, Outcome]],
    *,
    kind: str,
    host: str,
    mail_name: str,
    now: float,
    retry_until: float,
    smtputf8: bool,
) -> str:
    """The part's content, CRLF line ends: fields of the message, then of each recipient."""
    envelope = message.envelope
    kind_of_address = "utf-8" if smtputf8 else "rfc822"
    lines = [field("Reporting-MTA", f"dns; {host}")]
    if envelope.envid:
        lines.append(field("Original-Envelope-Id", _plain(envelope.envid)))
    prefix = f"X-{mail_name[:1].upper()}{mail_name[1:]}"
    lines.append(field(f"{prefix}-Queue-ID", message.queue_id))
    lines.append(field(f"{prefix}-Sender", f"{kind_of_address}; {envelope.sender}"))
    lines.append(field("Arrival-Date", formatdate(message.arrival, localtime=True)))
    for queued, outcome in results:
        lines.append("\r\n")
        lines.extend(_recipient(queued, outcome, kind, now, retry_until, kind_of_address))
    return "".join(lines)


def _recipient(
    queued: QueuedRecipient,
    outcome: Outcome,
    kind: str,
    now: float,
    retry_until: float,
    kind_of_address: str,
) -> Iterable[str]:
    recipient = queued.recipient
    yield field("Final-Recipient", f"{kind_of_address}; {recipient.address}")
    if recipient.orcpt:
        address_type, _, address = recipient.orcpt.partition(";")
        yield field("Original-Recipient", f"{address_type};{_plain(address)}")
    elif recipient.original:
        yield field("Original-Recipient", f"{kind_of_address};{recipient.original}")
    yield field("Action", "failed" if kind == "failed" else _ACTIONS[outcome.action])
    yield field("Status", outcome.status)
    if outcome.remote_mta:
        yield field("Remote-MTA", f"dns; {outcome.remote_mta}")
    diagnostic = outcome.diagnostic
    if diagnostic is not None:
        yield field("Diagnostic-Code", f"{diagnostic.kind}; {diagnostic.text}")
    elif not outcome.is_success:
        yield field("Diagnostic-Code", f"X-Postfix; {outcome.text}")
    if kind == "delayed":
        yield field("Last-Attempt-Date", formatdate(now, localtime=True))
        yield field("Will-Retry-Until", formatdate(retry_until, localtime=True))


def _plain(xtext: str) -> str:
    """xtext decoded (RFC 3461 §4)."""
    return _XTEXT.sub(lambda found: chr(int(found[1], 16)), xtext)
