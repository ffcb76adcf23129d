"""The lines that tell a message's way, in Postfix's layout, so that its log tools read them."""

from __future__ import annotations

from gatewayd.message import QueuedMessage, QueuedRecipient
from gatewayd.status import Action, Outcome

__all__ = ["active_line", "delay_text", "delivery_line", "expired_line", "status_word"]

# A delay has two significant digits and none behind the second decimal place; they are looked
# up, since there are five in every line.
_HUNDREDTHS = [f"{n / 100:g}" for n in range(100)]
_TENTHS = [f"{n / 10:g}" for n in range(100)]

_WORDS = {Action.DEFERRED: "deferred", Action.FAILED: "bounced"}


def delay_text(seconds: float) -> str:
    """Seconds as ``0.03``, ``1.2`` or ``345``; a negative time (clock set back) is 0."""
    if seconds < 0.995:
        return _HUNDREDTHS[int(seconds * 100 + 0.5)] if seconds > 0 else "0"
    if seconds < 9.95:
        return _TENTHS[int(seconds * 10 + 0.5)]
    return str(int(seconds + 0.5))


def active_line(message: QueuedMessage) -> str:
    """The message has become active."""
    return (
        f"{message.queue_id}: from=<{message.envelope.sender}>, size={message.content.size}, "
        f"nrcpt={len(message.recipients)} (queue active)"
    )


def expired_line(message: QueuedMessage, word: str) -> str:
    """The message is given up; ``word`` is ``expired`` or ``force-expired``."""
    return (
        f"{message.queue_id}: from=<{message.envelope.sender}>, status={word}, returned to sender"
    )


def status_word(outcome: Outcome) -> str:
    return _WORDS.get(outcome.action, "sent")


def delivery_line(
    message: QueuedMessage,
    recipient: QueuedRecipient,
    outcome: Outcome,
    since: float,
    taken: float,
    now: float,
) -> str:
    """What became of one recipient.

    ``since`` is when the message became active, ``taken`` when a transport took it, ``now`` when
    it had its result: POSIX seconds.
    """
    address = str(recipient.recipient.address)
    original = recipient.recipient.original
    orig_to = f" orig_to=<{original}>," if original and original != address else ""
    conn_use = f" conn_use={outcome.conn_use}," if outcome.conn_use > 1 else ""
    arrival = message.arrival
    return (
        f"{message.queue_id}: to=<{address}>,{orig_to} relay={outcome.relay},{conn_use}"
        f" delay={delay_text(now - arrival)}, delays={delay_text(since - arrival)}/"
        f"{delay_text(taken - since)}/{delay_text(outcome.connect)}/"
        f"{delay_text(outcome.transmit)}, dsn={outcome.status},"
        f" status={status_word(outcome)} ({outcome.text})"
    )
