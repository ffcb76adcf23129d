"""A message on its way: envelope, recipients, content, and the requests made of transports.

RFC 5321 §2.3.1: a mail object is an envelope and content. All classes here are values; what
changes while a message waits (state, attempts, next attempt) lives in the queue.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Protocol

from gatewayd.address import Address

__all__ = [
    "Content",
    "DeliveryRequest",
    "Envelope",
    "MemoryContent",
    "NewMessage",
    "Notify",
    "Origin",
    "QueuedMessage",
    "QueuedRecipient",
    "Recipient",
    "Route",
]


class Notify(IntFlag):
    """RFC 3461 §4.1 NOTIFY; DEFAULT (no parameter) means failure and delay."""

    DEFAULT = 0
    NEVER = 1
    SUCCESS = 2
    FAILURE = 4
    DELAY = 8

    def wants(self, event: Notify) -> bool:
        """Whether ``event`` (SUCCESS, FAILURE or DELAY) is to be reported."""
        if self is Notify.DEFAULT:
            return event is not Notify.SUCCESS
        return bool(self & event)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a message came from, for trace headers, logs and pipe macros. "" means unknown."""

    protocol: str = ""
    """SMTP, ESMTP, LMTP, …; "" for mail made on this machine."""
    helo: str = ""
    client_name: str = ""
    """Verified host name, or ``unknown``."""
    client_address: str = ""
    client_port: int = 0
    user_id: int = -1
    """Who called the sendmail command."""
    sasl_method: str = ""
    sasl_username: str = ""
    sasl_sender: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """Where mail goes next: a master.cf service and its next hop, text verbatim."""

    transport: str
    nexthop: str

    def __str__(self) -> str:
        return f"{self.transport}:{self.nexthop}"


@dataclass(frozen=True, slots=True)
class Recipient:
    """One forward-path, rewritten and routed.

    ``original`` is the address as the client gave it, in external form (the log's orig_to= and
    a report's Original-Recipient when there is no ORCPT). ``orcpt`` is RFC 3461's parameter as
    received: ``rfc822;xtext``, or "".
    """

    address: Address
    route: Route
    original: str = ""
    notify: Notify = Notify.DEFAULT
    orcpt: str = ""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What RFC 5321 and its extensions say of a message beside its recipients and content."""

    sender: Address
    body: str = ""
    """BODY= as received: 7BIT, 8BITMIME or ""."""
    smtputf8: bool = False
    ret: str = ""
    """FULL, HDRS or "" (RFC 3461 §4.3)."""
    envid: str = ""
    """ENVID as received, in xtext (RFC 3461 §4.4)."""
    origin: Origin = field(default_factory=Origin)


class Content(Protocol):
    """A message's header and body: CRLF line ends, no dot-stuffing, ending in CRLF.

    Large contents are on disk and are read piece by piece.
    """

    @property
    def size(self) -> int:
        """Octets."""

    def read(self, offset: int, length: int) -> Awaitable[bytes]:
        """Up to ``length`` octets from ``offset``; b"" at the end. Raises StoreError."""


class MemoryContent:
    """Content held in memory: answers at once."""

    __slots__ = ("octets",)

    def __init__(self, octets: bytes) -> None:
        self.octets = octets

    @property
    def size(self) -> int:
        return len(self.octets)

    async def read(self, offset: int, length: int) -> bytes:
        if offset == 0 and length >= len(self.octets):
            return self.octets
        return self.octets[offset : offset + length]


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message complete but for its place in the queue; the store makes it durable.

    ``arrival`` is POSIX time in seconds. ``hold`` puts it on hold at once. ``has_8bit``: the
    content holds octets above 127.
    """

    queue_id: str
    arrival: float
    envelope: Envelope
    recipients: tuple[Recipient, ...]
    content: Content
    hold: bool = False
    has_8bit: bool = False


@dataclass(frozen=True, slots=True)
class QueuedRecipient:
    """A recipient that still waits, with what has happened to it so far.

    ``number`` names it within its message for ever. ``attempts`` counts tries that were made;
    ``status`` and ``reason`` are those of the last deferral, "" if none.
    """

    number: int
    recipient: Recipient
    attempts: int = 0
    status: str = ""
    reason: str = ""
    remote_mta: str = ""
    last_attempt: float = 0.0


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message as the queue holds it, with those of its recipients that are not done.

    ``warned``: the delay notice has gone out. ``expire``: the operator wants it returned after
    the next attempt whatever its age. ``flush``: this time, defer_transports and dead
    destinations don't hold it back.
    """

    queue_id: str
    arrival: float
    envelope: Envelope
    recipients: tuple[QueuedRecipient, ...]
    content: Content
    warned: bool = False
    expire: bool = False
    flush: bool = False
    has_8bit: bool = False

    @property
    def size(self) -> int:
        return self.content.size


@dataclass(frozen=True, slots=True)
class DeliveryRequest:
    """One message, one next hop, some recipients: what a transport is asked to deliver."""

    message: QueuedMessage
    route: Route
    recipients: tuple[QueuedRecipient, ...]

    @property
    def queue_id(self) -> str:
        return self.message.queue_id

    @property
    def sender(self) -> Address:
        return self.message.envelope.sender
