"""What the SMTP server asks of the rest of the gateway, and nothing more.

``gatewayd.access`` implements SessionPolicy, ``gatewayd.receive`` implements Intake. Each answer
may take time (a table behind a network), so all of them are awaited; most are there at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from twisted.internet.defer import Deferred

from gatewayd.address import Address
from gatewayd.message import Envelope, Origin, QueuedMessage, Recipient
from gatewayd.status import Reply

__all__ = ["Incoming", "Intake", "Refused", "SessionPolicy", "Transaction"]


class Refused(Exception):
    """A message is not taken, for a reason found in its content: what to answer."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Transaction:
    """A mail transaction so far (RFC 5321 §3.3), as the access lists see it.

    ``size`` is what SIZE= declared, 0 if nothing. ``recipients`` are those accepted so far.
    """

    sender: Address
    size: int = 0
    recipients: tuple[Recipient, ...] = ()


class SessionPolicy(Protocol):
    """Who may send what where. A Reply refuses (or, for etrn and verify, answers).

    Never raises: what cannot be decided now is a 4xx reply.
    """

    async def connected(self, peer: Origin) -> Reply | None: ...

    async def greeted(self, peer: Origin) -> Reply | None: ...

    async def sender(self, peer: Origin, transaction: Transaction) -> Reply | None: ...

    async def recipient(
        self, peer: Origin, transaction: Transaction, address: Address
    ) -> Reply | Recipient:
        """The recipient as rewritten and routed, or a refusal.

        ``address`` is as the client gave it. The session fills in ``original``, ``notify`` and
        ``orcpt``.
        """

    async def data(self, peer: Origin, transaction: Transaction) -> Reply | None: ...

    async def end_of_data(
        self, peer: Origin, transaction: Transaction, size: int
    ) -> Reply | None: ...

    async def etrn(self, peer: Origin, site: str) -> Reply: ...

    async def verify(self, peer: Origin, address: Address) -> Reply: ...


class Incoming(Protocol):
    """A message on its way into the queue."""

    @property
    def queue_id(self) -> str: ...

    def write(self, octets: bytes) -> Deferred[None] | None:
        """Add content (CRLF lines, dots unstuffed). A Deferred: don't read the client until then.

        Raises Refused, StoreFull or StoreError, here or through the Deferred; after that, or
        after abort(), the message is gone, and further octets are to be thrown away.
        """

    async def commit(self) -> QueuedMessage:
        """On stable storage. Raises Refused (hops, size), StoreFull, StoreError."""

    def abort(self) -> None:
        """The client is gone or the transaction is given up."""


class Intake(Protocol):
    """The way into the queue, for every protocol that brings mail."""

    def begin(self, envelope: Envelope, recipients: tuple[Recipient, ...]) -> Incoming:
        """Start a message. Raises StoreFull or StoreError."""
