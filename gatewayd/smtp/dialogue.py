"""The client's side of an SMTP or LMTP conversation: octets and messages in, octets and events out.

A conversation, with PIPELINING and two messages (RFC 5321 §3, RFC 2920; LMTP: RFC 2033):

    S: 220 …                        C: EHLO us
    S: 250-… 250 PIPELINING         C: MAIL RCPT RCPT DATA                    (one write)
    S: 250 250 550 354              C: content . MAIL RCPT DATA               (one write)
    S: 250 250 250 354              C: content . …

With CHUNKING (RFC 3030) nothing has to be waited for: MAIL RCPT BDAT content, MAIL RCPT BDAT …
A transaction that fails before its BDAT would leave the next MAIL nested; RSET stands before a
MAIL that goes out while that isn't known. Content larger than ``early_limit`` is not sent before
some recipient is accepted: a dear line doesn't carry it for nothing.

Without PIPELINING each command waits for its answer.

States of the conversation:

    GREETING ──220──► EHLO ──250──► OPEN ──close()──► CLOSED
                       │ 5xx         ▲
                       └──► HELO ────┘
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from gatewayd.smtp.capabilities import Capabilities
from gatewayd.smtp.client_settings import ClientSettings
from gatewayd.smtp.replies import BadReply, ReplyReader, ServerReply
from gatewayd.smtp.trouble import Peer, Stage, refusal
from gatewayd.status import Action, Diagnostic, Outcome

__all__ = [
    "ContentWanted",
    "Dialogue",
    "Event",
    "Exchange",
    "Opened",
    "SessionRefused",
    "Transacted",
]

_EARLY_LIMIT = 1 << 16


class _State(Enum):
    GREETING = auto()
    EHLO = auto()
    HELO = auto()
    OPEN = auto()
    CLOSED = auto()


@dataclass(slots=True, eq=False)
class Exchange:
    """One mail transaction. ``mail`` and ``recipients`` are whole command lines, without CRLF.

    ``size``: octets of content that will follow. ``outcomes`` has one entry for each recipient
    once it's all over.
    """

    mail: bytes
    recipients: list[bytes]
    size: int
    outcomes: list[Outcome | None] = field(default_factory=list)
    accepted: int = 0
    mail_accepted: bool = False
    content_begun: bool = False
    answers_due: int = 0

    def __post_init__(self) -> None:
        self.outcomes = [None] * len(self.recipients)

    @property
    def pending(self) -> Iterator[int]:
        """The recipients without an outcome."""
        return (place for place, outcome in enumerate(self.outcomes) if outcome is None)


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
    """Write the exchange's content now, then call content_sent(). ``bdat``: as one BDAT LAST."""

    exchange: Exchange
    bdat: bool


@dataclass(frozen=True, slots=True)
class Transacted:
    """The exchange is over; all its outcomes are there."""

    exchange: Exchange


Event = Opened | SessionRefused | ContentWanted | Transacted


class Dialogue:
    """The machine. Call receive(), begin(), content_sent(), close(); then take output()."""

    def __init__(self, settings: ClientSettings, peer: Peer) -> None:
        self._settings = settings
        self._peer = peer
        self._reader = ReplyReader()
        self._state = _State.GREETING
        self._expected: deque[tuple[Exchange | None, Stage, int]] = deque()
        self._expected.append((None, Stage.GREETING, 0))
        self._out: list[bytes] = []
        self._writing: Exchange | None = None
        self._unsent: Exchange | None = None
        self._open: dict[Exchange, None] = {}
        self._in_flight_octets = 0
        self._greeting_names_us = False
        self.capabilities = Capabilities()
        self.messages = 0
        self.hung_up = False

    # What the edge asks

    @property
    def stage(self) -> Stage:
        """What is being waited for."""
        if self._writing is not None:
            return Stage.CONTENT
        return self._expected[0][1] if self._expected else Stage.IDLE

    @property
    def is_idle(self) -> bool:
        """Open, and nothing under way."""
        return self._state is _State.OPEN and not self._open and not self._expected

    @property
    def underway(self) -> tuple[Exchange, ...]:
        """The exchanges begun and not over, oldest first."""
        return tuple(self._open)

    @property
    def may_begin(self) -> bool:
        """Whether another exchange may be begun now."""
        if self._state is not _State.OPEN or self._writing or self._unsent or self.hung_up:
            return False
        if not self._open:
            return not self._expected
        if not self.capabilities.pipelining:
            return False
        if not self.capabilities.chunking:
            return all(exchange.content_begun for exchange in self._open)
        settings = self._settings
        return (
            len(self._open) < settings.in_flight
            and self._in_flight_octets < settings.in_flight_octets
        )

    def output(self) -> bytes:
        """Octets to send."""
        if not self._out:
            return b""
        octets = b"".join(self._out)
        self._out.clear()
        return octets

    # What the edge tells

    def begin(self, exchange: Exchange) -> list[Event]:
        """Start a transaction. Only while may_begin."""
        events: list[Event] = []
        behind_others = bool(self._open)
        self._open[exchange] = None
        self._in_flight_octets += exchange.size
        if not self.capabilities.pipelining:
            self._command(exchange, Stage.MAIL, exchange.mail)
            return events
        if behind_others and self.capabilities.chunking:
            self._command(None, Stage.IDLE, b"RSET")
        self._command(exchange, Stage.MAIL, exchange.mail)
        for place, line in enumerate(exchange.recipients):
            self._command(exchange, Stage.RCPT, line, place)
        if not self.capabilities.chunking:
            self._command(exchange, Stage.DATA, b"DATA")
        elif exchange.size <= _EARLY_LIMIT:
            self._want_content(exchange, events, bdat=True)
        else:
            self._unsent = exchange
        return events

    def content_sent(self, exchange: Exchange) -> None:
        """All content has been written, with its end mark."""
        self._writing = None
        stage = Stage.BDAT if self.capabilities.chunking else Stage.END
        self._expected.append((exchange, stage, 0))
        if self._settings.lmtp:
            for _ in range(exchange.accepted - 1):
                self._expected.append((exchange, stage, 0))
        exchange.answers_due = max(1, exchange.accepted) if self._settings.lmtp else 1

    def close(self) -> None:
        """Say QUIT, if the server still listens; no answer is waited for."""
        if self._state in (_State.OPEN, _State.EHLO, _State.HELO) and not self.hung_up:
            self._out.append(b"QUIT\r\n")
        self._state = _State.CLOSED

    def receive(self, octets: bytes) -> list[Event]:
        """What the server's octets mean. Raises BadReply; then the connection is no good."""
        events: list[Event] = []
        for reply in self._reader.feed(octets):
            if self._state is _State.CLOSED:
                break
            if not self._expected:
                if reply.code == 421:
                    self.hung_up = True
                    continue
                raise BadReply(f"a reply to nothing: {reply.text}")
            exchange, stage, place = self._expected.popleft()
            if exchange is None:
                self._session_reply(stage, reply, events)
            else:
                self._mail_reply(exchange, stage, place, reply, events)
            if reply.code == 421:
                self.hung_up = True
        return events

    # Opening

    def _session_reply(self, stage: Stage, reply: ServerReply, events: list[Event]) -> None:
        if stage is Stage.GREETING:
            self._greeted(reply, events)
        elif stage in (Stage.EHLO, Stage.LHLO, Stage.HELO):
            self._shook_hands(stage, reply, events)

    def _greeted(self, reply: ServerReply, events: list[Event]) -> None:
        settings = self._settings
        if not reply.is_positive:
            soft = settings.skip_5xx_greeting or settings.soft_bounce
            outcome = refusal(self._peer, Stage.GREETING, reply, soft_bounce=soft)
            events.append(SessionRefused(outcome))
            return
        words = reply.lines[0].split() if reply.lines else []
        self._greeting_names_us = bool(words) and words[0].lower() == settings.myhostname.lower()
        says_esmtp = "ESMTP" in (word.upper() for word in words)
        if settings.never_send_ehlo and not settings.lmtp:
            self._say(Stage.HELO, _State.HELO)
        elif settings.lmtp:
            self._say(Stage.LHLO, _State.EHLO)
        elif settings.always_send_ehlo or says_esmtp:
            self._say(Stage.EHLO, _State.EHLO)
        else:
            self._say(Stage.HELO, _State.HELO)

    def _say(self, stage: Stage, state: _State) -> None:
        self._state = state
        self._command(None, stage, f"{stage.value} {self._settings.helo_name}".encode())

    def _shook_hands(self, stage: Stage, reply: ServerReply, events: list[Event]) -> None:
        if not reply.is_positive:
            if stage is Stage.EHLO and reply.is_permanent and reply.code != 521:
                self._say(Stage.HELO, _State.HELO)
                return
            soft = self._settings.soft_bounce
            events.append(SessionRefused(refusal(self._peer, stage, reply, soft_bounce=soft)))
            return
        if stage is not Stage.HELO:
            discarded = self._settings.discard_keywords
            self.capabilities = Capabilities.from_reply(reply, discarded)
        host = reply.lines[0].split(" ", 1)[0].lower() if reply.lines else ""
        if not self._settings.lmtp and host == self._settings.myhostname.lower():
            text = f"mail for {self._peer} loops back to myself (it calls itself {host})"
            events.append(
                SessionRefused(Outcome(Action.FAILED, "5.4.6", text, relay=self._peer.relay))
            )
            return
        self._state = _State.OPEN
        events.append(Opened(self.capabilities))

    # Transactions

    def _command(
        self, exchange: Exchange | None, stage: Stage, line: bytes, place: int = 0
    ) -> None:
        self._out.append(line + b"\r\n")
        self._expected.append((exchange, stage, place))

    def _mail_reply(
        self,
        exchange: Exchange,
        stage: Stage,
        place: int,
        reply: ServerReply,
        events: list[Event],
    ) -> None:
        if stage is Stage.MAIL:
            self._mail_answered(exchange, reply, events)
        elif stage is Stage.RCPT:
            self._rcpt_answered(exchange, place, reply, events)
        elif stage is Stage.DATA:
            self._data_answered(exchange, reply, events)
        else:
            self._end_answered(exchange, stage, reply, events)

    def _mail_answered(self, exchange: Exchange, reply: ServerReply, events: list[Event]) -> None:
        exchange.mail_accepted = reply.is_positive
        if not reply.is_positive:
            self._refuse(exchange, exchange.pending, Stage.MAIL, reply)
        if self.capabilities.pipelining:
            return
        if reply.is_positive:
            self._command(exchange, Stage.RCPT, exchange.recipients[0], 0)
        else:
            self._over(exchange, events)

    def _rcpt_answered(
        self, exchange: Exchange, place: int, reply: ServerReply, events: list[Event]
    ) -> None:
        if reply.is_positive:
            exchange.accepted += exchange.outcomes[place] is None
        elif exchange.outcomes[place] is None:
            self._refuse(exchange, [place], Stage.RCPT, reply)
        last = place == len(exchange.recipients) - 1
        if self.capabilities.pipelining:
            if last and exchange is self._unsent:
                self._unsent = None
                self._send_or_give_up(exchange, events)
            return
        if not last:
            self._command(exchange, Stage.RCPT, exchange.recipients[place + 1], place + 1)
        elif self.capabilities.chunking:
            self._send_or_give_up(exchange, events)
        elif exchange.accepted:
            self._command(exchange, Stage.DATA, b"DATA")
        else:
            self._give_up(exchange, events)

    def _send_or_give_up(self, exchange: Exchange, events: list[Event]) -> None:
        if exchange.accepted:
            self._want_content(exchange, events, bdat=True)
        else:
            self._give_up(exchange, events)

    def _give_up(self, exchange: Exchange, events: list[Event]) -> None:
        if exchange.mail_accepted:
            self._command(None, Stage.IDLE, b"RSET")
        self._over(exchange, events)

    def _data_answered(self, exchange: Exchange, reply: ServerReply, events: list[Event]) -> None:
        if reply.code == 354 and exchange.accepted:
            self._want_content(exchange, events, bdat=False)
        elif reply.code == 354:
            # DATA was accepted though every recipient was refused: an empty message ends it.
            self._out.append(b".\r\n")
            self._expected.append((exchange, Stage.END, 0))
            exchange.answers_due = 1
        else:
            if not reply.is_positive:
                self._refuse(exchange, exchange.pending, Stage.DATA, reply)
            else:
                odd = ServerReply(451, (f"4.5.0 unexpected reply to DATA: {reply.text}",))
                self._refuse(exchange, exchange.pending, Stage.DATA, odd)
            self._give_up(exchange, events)

    def _want_content(self, exchange: Exchange, events: list[Event], *, bdat: bool) -> None:
        exchange.content_begun = True
        self._writing = exchange
        events.append(ContentWanted(exchange, bdat))

    def _end_answered(
        self, exchange: Exchange, stage: Stage, reply: ServerReply, events: list[Event]
    ) -> None:
        exchange.answers_due -= 1
        pending = list(exchange.pending)
        if self._settings.lmtp:
            pending = pending[:1]
        if reply.is_positive:
            for place in pending:
                exchange.outcomes[place] = self._delivered(reply)
        else:
            self._refuse(exchange, pending, Stage.END, reply)
        if not exchange.answers_due:
            self._over(exchange, events)

    def _delivered(self, reply: ServerReply) -> Outcome:
        if self._settings.lmtp:
            action = Action.DELIVERED
        else:
            action = Action.PASSED if self.capabilities.dsn else Action.RELAYED
        status = reply.status if reply.status.startswith("2") else "2.0.0"
        return Outcome(
            action,
            status,
            reply.text,
            relay=self._peer.relay,
            remote_mta=self._peer.name,
            diagnostic=Diagnostic("smtp", reply.text),
        )

    def _refuse(
        self,
        exchange: Exchange,
        places: Iterator[int] | list[int],
        stage: Stage,
        reply: ServerReply,
    ) -> None:
        outcome = refusal(self._peer, stage, reply, soft_bounce=self._settings.soft_bounce)
        for place in list(places):
            exchange.outcomes[place] = outcome

    def _over(self, exchange: Exchange, events: list[Event]) -> None:
        del self._open[exchange]
        self._in_flight_octets -= exchange.size
        self.messages += 1
        events.append(Transacted(exchange))
