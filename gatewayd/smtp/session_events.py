"""What an SMTP server session asks of its edge: questions it waits for, and things to do.

After a question the session stands still until ``Session.answer()``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from gatewayd.address import Address
from gatewayd.message import Envelope, Origin, Recipient
from gatewayd.smtp.ports import SessionPolicy, Transaction

__all__ = [
    "Abort",
    "AskConnected",
    "AskData",
    "AskEndOfData",
    "AskEtrn",
    "AskGreeted",
    "AskRecipient",
    "AskSender",
    "AskVerify",
    "Begin",
    "Close",
    "Commit",
    "Content",
    "Event",
    "Logged",
    "PolicyQuestion",
    "Sleep",
]

Answer = Coroutine[Any, Any, object]


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all."""


@dataclass(frozen=True, slots=True)
class PolicyQuestion(Event, ABC):
    """Something for SessionPolicy to decide; the answer is what its method gives."""

    peer: Origin

    @abstractmethod
    def put(self, policy: SessionPolicy) -> Answer:
        """The coroutine that decides."""


@dataclass(frozen=True, slots=True)
class AskConnected(PolicyQuestion):
    """May this client talk to us at all?"""

    def put(self, policy: SessionPolicy) -> Answer:
        return policy.connected(self.peer)


@dataclass(frozen=True, slots=True)
class AskGreeted(PolicyQuestion):
    """HELO or EHLO."""

    def put(self, policy: SessionPolicy) -> Answer:
        return policy.greeted(self.peer)


@dataclass(frozen=True, slots=True)
class AskSender(PolicyQuestion):
    """MAIL."""

    transaction: Transaction

    def put(self, policy: SessionPolicy) -> Answer:
        return policy.sender(self.peer, self.transaction)


@dataclass(frozen=True, slots=True)
class AskRecipient(PolicyQuestion):
    """RCPT."""

    transaction: Transaction
    address: Address

    def put(self, policy: SessionPolicy) -> Answer:
        return policy.recipient(self.peer, self.transaction, self.address)


@dataclass(frozen=True, slots=True)
class AskData(PolicyQuestion):
    """DATA, or the first BDAT."""

    transaction: Transaction

    def put(self, policy: SessionPolicy) -> Answer:
        return policy.data(self.peer, self.transaction)


@dataclass(frozen=True, slots=True)
class AskEndOfData(PolicyQuestion):
    """All the content is there: ``size`` octets."""

    transaction: Transaction
    size: int

    def put(self, policy: SessionPolicy) -> Answer:
        return policy.end_of_data(self.peer, self.transaction, self.size)


@dataclass(frozen=True, slots=True)
class AskEtrn(PolicyQuestion):
    """ETRN."""

    site: str

    def put(self, policy: SessionPolicy) -> Answer:
        return policy.etrn(self.peer, self.site)


@dataclass(frozen=True, slots=True)
class AskVerify(PolicyQuestion):
    """VRFY."""

    address: Address

    def put(self, policy: SessionPolicy) -> Answer:
        return policy.verify(self.peer, self.address)


@dataclass(frozen=True, slots=True)
class Begin(Event):
    """Start a message in the queue. Answer: its queue ID, or a Reply that refuses."""

    envelope: Envelope
    recipients: tuple[Recipient, ...]


@dataclass(frozen=True, slots=True)
class Content(Event):
    """More of the message's content. No answer; Session.refuse_content() if it isn't wanted."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Commit(Event):
    """Make the message durable. Answer: None, or a Reply that refuses."""


@dataclass(frozen=True, slots=True)
class Abort(Event):
    """Forget the message that was begun."""


@dataclass(frozen=True, slots=True)
class Sleep(Event):
    """Wait so many seconds, then call Session.resume()."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Logged(Event):
    """A line for the log. ``queue_id`` is "" before there is one."""

    text: str
    queue_id: str = ""
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Close(Event):
    """Send what is to be sent, then end the connection."""
