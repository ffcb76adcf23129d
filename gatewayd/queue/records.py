"""What goes into the queue store and comes out of it, beside whole messages."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gatewayd.address import Address
from gatewayd.message import NewMessage

__all__ = ["Deferral", "ListedRecipient", "Listing", "Selection", "Settlement", "State", "Totals"]


class State(Enum):
    """Where a message is, in Postfix's words."""

    ACTIVE = "active"
    DEFERRED = "deferred"
    HOLD = "hold"
    CORRUPT = "corrupt"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which messages: the conjunction of what is given; nothing given means all.

    ``site`` is a recipient's domain and ``sender`` a whole address, both exactly, in any case.
    An index serves each of them.
    """

    queue_ids: tuple[str, ...] | None = None
    site: str | None = None
    transport: str | None = None
    nexthop: str | None = None
    sender: str | None = None
    states: tuple[State, ...] | None = None


@dataclass(frozen=True, slots=True)
class Deferral:
    """Why and until when a recipient waits. ``attempted`` is False if nobody tried to deliver."""

    number: int
    status: str
    reason: str
    remote_mta: str = ""
    attempted: bool = True


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of a message's turn in active.

    Recipients in ``done`` leave the queue; ``deferrals`` say why others stay; the rest are
    untouched. The message is due again at ``next_attempt``; without recipients left it is
    removed. ``notices`` enter the queue in the same transaction, so that a report is neither
    lost nor sent twice. ``now`` is when the attempt ended.
    """

    queue_id: str
    now: float
    done: tuple[int, ...] = ()
    deferrals: tuple[Deferral, ...] = ()
    next_attempt: float = 0.0
    warned: bool = False
    notices: tuple[NewMessage, ...] = ()
    remove: bool = False


@dataclass(frozen=True, slots=True)
class ListedRecipient:
    """A waiting recipient as lists show it."""

    address: Address
    original: str
    transport: str
    nexthop: str
    attempts: int
    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class Listing:
    """A waiting message as lists show it."""

    queue_id: str
    state: State
    arrival: float
    size: int
    sender: Address
    expire: bool
    next_attempt: float
    recipients: tuple[ListedRecipient, ...]


@dataclass(frozen=True, slots=True)
class Totals:
    """Messages and octets by state.

    ``oldest`` is the arrival of the message that was queued first, None if the queue is empty.
    ``latest`` is when the last of the deferred messages is due, None if there are none.
    """

    messages: dict[State, int]
    octets: dict[State, int]
    oldest: float | None
    latest: float | None = None
