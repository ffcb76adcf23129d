"""One mail transaction as the client's dialogue sees it, and what the dialogue tells of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from gatewayd.smtp.capabilities import Capabilities
from gatewayd.status import Outcome

__all__ = [
    "ContentWanted",
    "Event",
    "Exchange",
    "HungUp",
    "Opened",
    "SessionRefused",
    "Transacted",
]


@dataclass(slots=True, eq=False)
class Exchange:
    """A mail transaction. ``mail`` and ``recipients`` are whole command lines, without CRLF.

    ``size``: octets of content, about. ``outcomes`` has one entry for each recipient once it's
    all over. ``is_refused``: nobody wants the content any more. ``is_answered``: the server has
    answered something of it; until then it may as well not have seen it.
    """

    mail: bytes
    recipients: list[bytes]
    size: int
    outcomes: list[Outcome | None] = field(init=False)
    accepted: int = field(init=False, default=0)
    mail_accepted: bool = field(init=False, default=False)
    is_answered: bool = field(init=False, default=False)
    is_refused: bool = field(init=False, default=False)
    content_done: bool = field(init=False, default=False)
    answers_due: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.outcomes = [None] * len(self.recipients)

    @property
    def pending(self) -> Iterator[int]:
        """The places of recipients without an outcome."""
        return (place for place, outcome in enumerate(self.outcomes) if outcome is None)

    def settle(self, outcome: Outcome) -> None:
        """One outcome for all that have none."""
        self.outcomes = [each or outcome for each in self.outcomes]


@dataclass(frozen=True, slots=True)
class Opened:
    """The server is ready for mail."""

    capabilities: Capabilities


@dataclass(frozen=True, slots=True)
class SessionRefused:
    """The server doesn't talk to us. ``outcome`` is what that would mean for mail."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class ContentWanted:
    """The exchange's content is to be given to send() now, encoded for BDAT or for DATA."""

    exchange: Exchange
    bdat: bool


@dataclass(frozen=True, slots=True)
class Transacted:
    """The exchange is over; all its outcomes are there."""

    exchange: Exchange


@dataclass(frozen=True, slots=True)
class HungUp:
    """The session is over, by 421 or a breach of protocol: what that means for mail under way."""

    outcome: Outcome


Event = Opened | SessionRefused | ContentWanted | Transacted | HungUp
