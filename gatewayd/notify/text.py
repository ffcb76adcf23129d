"""The words for people at the top of a report."""

from __future__ import annotations

from collections.abc import Sequence

from gatewayd.message import QueuedRecipient
from gatewayd.status import Outcome

__all__ = ["SUBJECTS", "explanation", "folded"]

_WIDTH = 79
_INDENT = 4

SUBJECTS = {
    "failed": "Undelivered Mail Returned to Sender",
    "delayed": "Delayed Mail (still being retried)",
    "success": "Successful Mail Delivery Report",
}

_OPENINGS = {
    "failed": (
        "Your message could not be delivered to the recipients named below; the reason stands "
        "beside each. Your message, or the beginning of it, comes with this report.",
        "If you need help, write to postmaster and send this report along. Your own message may "
        "be left out.",
    ),
    "delayed": (
        "Your message is late. This is only to let you know: there is no need to send it again.",
        "For {hours} hour(s) it could not be delivered to the recipients named below. It will be "
        "tried until it is {days:g} day(s) old.",
        "If you need help, write to postmaster and send this report along.",
    ),
    "success": (
        "Your message was delivered to the recipients named below, or handed on to a system that "
        "sends no such reports. In the latter case you may still hear of a failure later.",
    ),
}


def explanation(
    kind: str,
    results: Sequence[tuple[QueuedRecipient, Outcome]],
    host: str,
    *,
    hours: int,
    days: float,
) -> str:
    """The whole text part, LF line ends."""
    opening = [f"This is the mail system at host {host}."]
    opening += [each.format(hours=hours, days=days) for each in _OPENINGS[kind]]
    parts = [folded(paragraph, 0) for paragraph in opening]
    parts.append(f"{'':>19}The mail system")
    parts += [folded(_result(queued, outcome), _INDENT) for queued, outcome in results]
    return "\n\n".join(parts) + "\n"


def _result(queued: QueuedRecipient, outcome: Outcome) -> str:
    recipient = queued.recipient
    address = str(recipient.address)
    origin = ""
    if recipient.original and recipient.original != address:
        origin = f" (expanded from <{recipient.original}>)"
    return f"<{address}>{origin}: {outcome.text}"


def folded(text: str, indent: int) -> str:
    """Lines of at most 79 characters, those after the first indented; long words stay whole."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        width = _WIDTH - (indent if lines else 0)
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    lines.append(line)
    return ("\n" + " " * indent).join(lines)
