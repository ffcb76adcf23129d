"""What became of a recipient: outcomes with the status codes of RFC 3463."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

__all__ = ["Action", "Diagnostic", "Outcome", "Reply", "deferred", "failed", "split_status"]

_STATUS = re.compile(r"\s*([245])\.(\d{1,3})\.(\d{1,3})(?:\s+|\Z)")


@dataclass(frozen=True, slots=True)
class Reply:
    """An SMTP reply (RFC 5321 §4.2), with its enhanced status code (RFC 2034) or "" for none.

    ``text`` may hold line feeds: a multi-line reply. ``close``: the connection ends after it.
    """

    code: int
    status: str
    text: str
    close: bool = False

    @property
    def is_positive(self) -> bool:
        return self.code < 400

    def __str__(self) -> str:
        return (
            f"{self.code} {self.status} {self.text}" if self.status else f"{self.code} {self.text}"
        )


class Action(Enum):
    """What was done for a recipient, close to the words of RFC 3464 §2.3.3."""

    DELIVERED = "delivered"
    """Final delivery: it is in the mailbox or was taken by the command that stands for one."""
    RELAYED = "relayed"
    """Handed to a system that reports no success of its own."""
    PASSED = "passed"
    """Handed to a system that has taken over the duty to report success (RFC 3461 §5.2)."""
    DEFERRED = "deferred"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A report's Diagnostic-Code field: type (``smtp``, ``x-unix``) and text."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one delivery attempt for one recipient.

    ``status`` is an RFC 3463 code, whose class agrees with the action. ``text`` is the reason as
    log and queue show it, one line. ``relay`` is the log's relay= value (``host[ip]:port``,
    the service's name, or ``none``); ``remote_mta`` the host name for Remote-MTA, if any.
    ``connect`` and ``transmit`` are seconds: the last two of the log's delays=a/b/c/d;
    ``conn_use`` counts messages on this connection, this one included (0: not a connection).
    """

    action: Action
    status: str
    text: str
    relay: str = "none"
    remote_mta: str = ""
    diagnostic: Diagnostic | None = None
    connect: float = 0.0
    transmit: float = 0.0
    conn_use: int = 0

    @property
    def is_success(self) -> bool:
        return self.action not in (Action.DEFERRED, Action.FAILED)


def deferred(status: str, text: str, *, relay: str = "none") -> Outcome:
    """An outcome to try again later."""
    return Outcome(Action.DEFERRED, status, text, relay)


def failed(status: str, text: str, *, relay: str = "none") -> Outcome:
    """An outcome that is final: the sender gets it back."""
    return Outcome(Action.FAILED, status, text, relay)


def split_status(text: str, default: str) -> tuple[str, str]:
    """(status, remaining text) of text that may begin with an RFC 3463 code."""
    match = _STATUS.match(text)
    if match is None:
        return default, text.strip()
    return ".".join(match.groups()), text[match.end() :].strip()
