"""The words of a report that are for people, and how its lines are broken."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from gatewayd.message import Notify, QueuedRecipient
from gatewayd.status import Outcome

__all__ = ["SUBJECTS", "explanation", "folded", "printable", "reason", "reasons"]

_WIDTH = 79
_INDENT = 4
_WORD_LIMIT = 900
"""Octets; RFC 5322 §2.1.1 allows 998 a line."""

# What no line of a report may hold: controls, what some take for a line end, lone surrogates.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

SUBJECTS = {
    Notify.FAILURE: "Undelivered Mail Returned to Sender",
    Notify.DELAY: "Delayed Mail (still being retried)",
    Notify.SUCCESS: "Successful Mail Delivery Report",
}

_OPENINGS = {
    Notify.FAILURE: (
        "Your message could not be delivered to the recipients named below; the reason stands "
        "beside each. Your message, or the beginning of it, comes with this report.",
        "If you need help, write to postmaster and send this report along. Your own message may "
        "be left out.",
    ),
    Notify.DELAY: (
        "Your message is late. This is only to let you know: there is no need to send it again.",
        "For {warning} it could not be delivered to the recipients named below. It will be tried "
        "until it is {lifetime} old.",
        "If you need help, write to postmaster and send this report along.",
    ),
    Notify.SUCCESS: (
        "Your message was delivered to the recipients named below, or handed on to a system that "
        "sends no such reports. In the latter case you may still hear of a failure later.",
    ),
}
_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60))


def explanation(event: Notify, host: str, *, warning: float, lifetime: float) -> str:
    """What it's all about, LF line ends; ``warning`` and ``lifetime`` in seconds."""
    times = {"warning": _span(warning), "lifetime": _span(lifetime)}
    opening = [f"This is the mail system at host {printable(host)}."]
    opening += [each.format(**times) for each in _OPENINGS[event]]
    parts = [folded(paragraph) for paragraph in opening]
    return "\n\n".join([*parts, f"{'':>19}The mail system"]) + "\n\n"


def reasons(results: Sequence[tuple[QueuedRecipient, Outcome]]) -> str:
    """A paragraph for each recipient, LF line ends."""
    paragraphs = [folded(_result(queued, outcome), _INDENT) for queued, outcome in results]
    return "\n\n".join(paragraphs) + "\n"


def _result(queued: QueuedRecipient, outcome: Outcome) -> str:
    recipient = queued.recipient
    address = str(recipient.address)
    origin = ""
    if recipient.original and recipient.original != address:
        origin = f" (expanded from <{recipient.original}>)"
    return printable(f"<{address}>{origin}: {reason(outcome)}")


def reason(outcome: Outcome) -> str:
    """What was said; of a success, where."""
    if outcome.is_success and outcome.relay not in ("", "none"):
        return f"delivery via {outcome.relay}: {outcome.text}"
    return outcome.text


def printable(text: str) -> str:
    """Text on one line: "?" in place of what could end it or is no text."""
    return _UNSAFE.sub("?", text)


def folded(
    text: str, indent: int = 0, width: int = _WIDTH, *, first: int = 0, end: str = "\n"
) -> str:
    """Lines of at most ``width`` octets where blanks allow it, those after the first indented.

    A longer word stays whole, unless no mail may have such a line. ``first``: octets that stand
    on the first line before.
    """
    lines: list[str] = []
    line, before = "", first
    for word in _words(text):
        joined = f"{line} {word}" if line else word
        if line and before + _octets(joined) > width:
            lines.append(line.rstrip(" "))
            line, before = word, indent
        else:
            line = joined
    lines.append(line)
    return (end + " " * indent).join(lines)


def _words(text: str) -> Iterator[str]:
    """The words, each short enough for a line; "" where two blanks stand together."""
    for word in text.rstrip(" ").split(" "):
        if _octets(word) <= _WORD_LIMIT:
            yield word
        else:
            step = _WORD_LIMIT if word.isascii() else _WORD_LIMIT // 4
            yield from (word[at : at + step] for at in range(0, len(word), step))


def _octets(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _span(seconds: float) -> str:
    """A time in the largest unit that it's a whole number of."""
    for unit, length in _UNITS:
        if seconds >= length and seconds % length == 0:
            return f"{int(seconds // length)} {unit}(s)"
    return f"{seconds:g} second(s)"
