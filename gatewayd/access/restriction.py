"""What a restriction is, what it is asked about, and the registry of all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from gatewayd.address import Address
from gatewayd.message import Origin
from gatewayd.smtp.ports import Transaction
from gatewayd.status import Reply

if TYPE_CHECKING:
    from gatewayd.access.policy import AccessSettings
    from gatewayd.access.recipients import RecipientLists
    from gatewayd.routing.router import Resolution, Router
    from gatewayd.tables.match_list import NetworkList

__all__ = [
    "PERMIT",
    "REGISTRY",
    "Check",
    "Environment",
    "Inquiry",
    "Permit",
    "Stage",
    "Verdict",
    "restriction",
]


class Stage(Enum):
    """The command at which a list is evaluated: how the log and how a reply calls it."""

    CLIENT = ("CONNECT", "Client host")
    HELO = ("HELO", "Helo command")
    SENDER = ("MAIL", "Sender address")
    RECIPIENT = ("RCPT", "Recipient address")
    DATA = ("DATA", "Data command")
    END_OF_DATA = ("END-OF-MESSAGE", "End-of-data")
    ETRN = ("ETRN", "Etrn command")

    def __init__(self, command: str, subject: str) -> None:
        self.command = command
        self.subject = subject


class Permit(Enum):
    """The verdict that ends a list in the client's favour; lists after it still count."""

    PERMIT = "permit"


PERMIT = Permit.PERMIT

Verdict = Permit | Reply | None
"""None: this restriction has nothing to say, ask the next."""


class Inquiry:
    """What is being asked: everything known of session and transaction at this command.

    ``stage`` is the list being evaluated, which with smtpd_delay_reject may be an earlier one
    than ``command``'s. ``sender`` and ``recipient`` are as the client gave them; None before.
    ``defer_if_permit`` and ``defer_if_reject`` are what lists so far have asked for.
    """

    __slots__ = (
        "checked_recipient",
        "command",
        "defer_if_permit",
        "defer_if_reject",
        "is_repeated",
        "peer",
        "recipient",
        "resolution",
        "site",
        "stage",
        "transaction",
    )

    def __init__(
        self, command: Stage, peer: Origin, transaction: Transaction | None = None
    ) -> None:
        self.command = self.stage = command
        self.peer = peer
        self.transaction = transaction
        self.recipient: Address | None = None
        self.resolution: Resolution | None = None
        self.site = ""
        self.defer_if_permit: Reply | None = None
        self.defer_if_reject: Reply | None = None
        self.checked_recipient = False
        self.is_repeated = False

    @property
    def sender(self) -> Address | None:
        return None if self.transaction is None else self.transaction.sender

    @property
    def subject(self) -> str:
        """What the stage's list judges, as a reply names it: ``<name>: Sender address``."""
        return f"<{self._name()}>: {self.stage.subject}"

    def _name(self) -> str:
        stage = self.stage
        if stage is Stage.RECIPIENT:
            return str(self.recipient or "")
        if stage is Stage.SENDER:
            return str(self.sender or "")
        if stage is Stage.CLIENT:
            return f"{self.peer.client_name}[{self.peer.client_address}]"
        if stage is Stage.HELO:
            return self.peer.helo
        return self.site if stage is Stage.ETRN else stage.command

    def rejection(self, code: int, status: str, reason: str) -> Reply:
        """The usual refusal of what the stage judges; the status follows the code's class."""
        return Reply(code, f"{code // 100}{status[1:]}", f"{self.subject} rejected: {reason}")


Check = Callable[[Inquiry], Awaitable[Verdict]]


@dataclass(frozen=True, slots=True)
class Environment:
    """What restrictions may use."""

    settings: AccessSettings
    router: Router
    recipients: RecipientLists
    networks: NetworkList
    own_addresses: frozenset[str]


Builder = Callable[..., Check]


@dataclass(frozen=True, slots=True)
class Entry:
    """A restriction's builder and how many words follow its name."""

    build: Builder
    arguments: int


REGISTRY: dict[str, Entry] = {}
"""All restrictions that can be named, by name."""


def restriction(*names: str, arguments: int = 0) -> Callable[[Any], Any]:
    """Register a function that takes (environment, *argument words) and gives the Check.

    It is called once, at configuration; it may raise ConfigError. Further names are synonyms.
    """

    def register(build: Builder) -> Builder:
        for name in names:
            REGISTRY[name] = Entry(build, arguments)
        return build

    return register
