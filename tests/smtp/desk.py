"""The other side of an SMTP server session: a policy and a queue that tests can script."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gatewayd.address import Address
from gatewayd.message import Envelope, Origin, QueuedMessage, Recipient, Route
from gatewayd.smtp.ports import Transaction
from gatewayd.smtp.session import Session
from gatewayd.smtp.session_events import (
    Abort,
    AskConnected,
    AskEtrn,
    AskRecipient,
    AskVerify,
    Begin,
    Close,
    Commit,
    Content,
    Event,
    Logged,
    PolicyQuestion,
    Sleep,
)
from gatewayd.smtp.smtpd_settings import SmtpdSettings
from gatewayd.status import Reply

PEER = Origin("SMTP", "", "client.test", "192.0.2.1", 4711)
ROUTE = Route("discard", "test")
NO_SLEEP = {"error_sleep_time": 0.0, "hard_error_limit": 1000}


def settings(**changes: Any) -> SmtpdSettings:
    """Postfix's defaults for a host named mx.test."""
    return SmtpdSettings("mx.test", banner="mx.test ESMTP", **changes)


@dataclass
class Taken:
    """A message that was committed."""

    queue_id: str
    envelope: Envelope
    recipients: tuple[Recipient, ...]
    content: bytes
    writes: int


@dataclass
class Desk:
    """Answers a session's questions at once and keeps what happened.

    ``answers`` replaces the answer to an event type: a value, or a function of the event.
    """

    session: Session
    answers: dict[type[Event], Any] = field(default_factory=dict)
    taken: list[Taken] = field(default_factory=list)
    aborted: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    sleeps: list[float] = field(default_factory=list)
    closed: bool = False
    _open: tuple[str, Begin, list[bytes]] | None = None
    _count: int = 0

    def say(self, octets: bytes) -> bytes:
        """What the session replies to these octets."""
        self.session.receive(octets)
        return self.run()

    def run(self) -> bytes:
        """Do all that the session wants; gives what it says."""
        said = b""
        while (event := self.session.next_event()) is not None:
            self.events.append(event)
            self._carry_out(event)
            said += self.session.output()
        return said + self.session.output()

    def _carry_out(self, event: Event) -> None:
        if isinstance(event, Logged):
            self.log.append(("warning: " if event.warning else "") + event.text)
        elif isinstance(event, Sleep):
            self.sleeps.append(event.seconds)
            self.session.resume()
        elif isinstance(event, Close):
            self.closed = True
        elif isinstance(event, Content):
            if self._open is not None:
                self._open[2].append(event.octets)
        elif isinstance(event, Abort):
            assert self._open is not None, "aborted what was never begun"
            self.aborted.append(self._open[0])
            self._open = None
        else:
            self.session.answer(self._answer(event))

    def _answer(self, event: Event) -> object:
        if type(event) in self.answers:
            scripted = self.answers[type(event)]
            answer = scripted(event) if isinstance(scripted, Callable) else scripted  # type: ignore[arg-type]
            if answer is not NotImplemented:
                return answer
        if isinstance(event, Begin):
            self._count += 1
            self._open = (f"Q{self._count}", event, [])
            return self._open[0]
        if isinstance(event, Commit):
            assert self._open is not None
            queue_id, begun, pieces = self._open
            self._open = None
            content = b"".join(pieces)
            self.taken.append(
                Taken(queue_id, begun.envelope, begun.recipients, content, len(pieces))
            )
            return None
        if isinstance(event, AskRecipient):
            return Recipient(event.address, ROUTE)
        if isinstance(event, AskEtrn):
            return Reply(250, "", "Queuing started")
        if isinstance(event, AskVerify):
            return Reply(252, "2.0.0", str(event.address))
        assert isinstance(event, PolicyQuestion)
        return None


def desk(answers: dict[type[Event], Any] | None = None, /, **changes: Any) -> Desk:
    """A session past its banner."""
    made = Desk(Session(settings(**changes), PEER), answers or {})
    made.session.start()
    banner = made.run()
    if AskConnected not in made.answers:
        assert banner == b"220 mx.test ESMTP\r\n"
    made.events.clear()
    return made


class NullPolicy:
    """Takes everything."""

    async def connected(self, peer: Origin) -> Reply | None:
        return None

    async def greeted(self, peer: Origin) -> Reply | None:
        return None

    async def sender(self, peer: Origin, transaction: Transaction) -> Reply | None:
        return None

    async def recipient(
        self, peer: Origin, transaction: Transaction, address: Address
    ) -> Reply | Recipient:
        return Recipient(address, ROUTE)

    async def data(self, peer: Origin, transaction: Transaction) -> Reply | None:
        return None

    async def end_of_data(self, peer: Origin, transaction: Transaction, size: int) -> Reply | None:
        return None

    async def etrn(self, peer: Origin, site: str) -> Reply:
        return Reply(250, "", "Queuing started")

    async def verify(self, peer: Origin, address: Address) -> Reply:
        return Reply(252, "2.0.0", str(address))


class MemoryIncoming:
    """A message on its way into a MemoryIntake."""

    def __init__(self, intake: MemoryIntake, queue_id: str, envelope: Envelope) -> None:
        self.intake = intake
        self.queue_id = queue_id
        self.envelope = envelope
        self.pieces: list[bytes] = []
        self.state = "open"

    def write(self, octets: bytes) -> Any:
        assert self.state == "open"
        self.pieces.append(octets)
        return self.intake.on_write(self) if self.intake.on_write else None

    async def commit(self) -> QueuedMessage:
        assert self.state == "open"
        if self.intake.on_commit:
            await self.intake.on_commit(self)
        self.state = "committed"
        return None  # type: ignore[return-value]

    def abort(self) -> None:
        assert self.state == "open"
        self.state = "aborted"

    @property
    def content(self) -> bytes:
        return b"".join(self.pieces)


class MemoryIntake:
    """A queue in memory. ``on_write`` may give a Deferred or raise; ``on_commit`` is awaited."""

    def __init__(self) -> None:
        self.messages: list[MemoryIncoming] = []
        self.on_write: Callable[[MemoryIncoming], Any] | None = None
        self.on_commit: Callable[[MemoryIncoming], Any] | None = None

    def begin(self, envelope: Envelope, recipients: tuple[Recipient, ...]) -> MemoryIncoming:
        self.messages.append(MemoryIncoming(self, f"Q{len(self.messages) + 1}", envelope))
        return self.messages[-1]

    def committed(self) -> list[bytes]:
        return [each.content for each in self.messages if each.state == "committed"]
