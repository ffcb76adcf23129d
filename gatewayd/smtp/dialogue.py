"""The client's side of an SMTP or LMTP conversation: octets and messages in, octets and events out.

A conversation with PIPELINING and two messages (RFC 5321 §3, RFC 2920; LMTP: RFC 2033):

    S: 220 …                        C: EHLO us
    S: 250-… 250 PIPELINING         C: MAIL RCPT RCPT DATA                    (one write)
    S: 250 250 550 354              C: content . MAIL RCPT DATA               (one write)
    S: 250 250 250 354              C: content . …

With CHUNKING (RFC 3030) nothing has to be waited for:

    C: MAIL RCPT BDAT-LAST content RSET MAIL RCPT BDAT-LAST content …
    S:                             250 250 250 250 250 250 250 …

RSET stands before a MAIL that goes out while the BDAT before it may still be refused: that would
leave its transaction open. Content larger than 64 KB isn't sent before a recipient is accepted, so
that a dear line doesn't carry it for nothing, and goes as several BDATs. Without PIPELINING each
command waits for its answer.

States of the conversation (STARTTLS and AUTH belong between EHLO and OPEN):

    GREETING ──220──► EHLO ──250──► OPEN ──close()──► CLOSED
                       │ 5xx         ▲
                       └──► HELO ────┘

Answers are matched with commands in order. One to nothing ends the conversation, and so does 421
whatever it answers (RFC 5321 §3.8).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import Enum, auto
from itertools import islice

from gatewayd.smtp.capabilities import Capabilities
from gatewayd.smtp.client_settings import ClientSettings
from gatewayd.smtp.exchange import (
    ContentWanted,
    Event,
    Exchange,
    HungUp,
    Opened,
    SessionRefused,
    Transacted,
)
from gatewayd.smtp.replies import BadReply, ReplyReader, ServerReply
from gatewayd.smtp.trouble import Peer, Stage, mail_loop, protocol_trouble, refusal
from gatewayd.status import Action, Diagnostic, Outcome

__all__ = ["EARLY_LIMIT", "Dialogue"]

EARLY_LIMIT = 1 << 16
"""Octets of content that are sent before it's known whether anybody wants them."""
_SMTP_PORT = 25
_MORE, _LAST = 0, 1


class _State(Enum):
    GREETING = auto()
    EHLO = auto()
    HELO = auto()
    OPEN = auto()
    CLOSED = auto()


class Dialogue:
    """The machine. Tell it begin(), send(), receive(), close(); then take output().

    ``window``: how many exchanges may be under way. ``messages``: how many are over. ``replies``:
    how many answers there were.
    """

    def __init__(self, settings: ClientSettings, peer: Peer, nexthop: str = "") -> None:
        self._settings = settings
        self._peer = peer
        self._nexthop = nexthop or peer.name
        self._relay = peer.relay
        self._soft = settings.soft_bounce
        self._reader = ReplyReader()
        self._state = _State.GREETING
        self._expected: deque[tuple[Exchange | None, Stage, int]] = deque()
        self._expected.append((None, Stage.GREETING, 0))
        self._out: list[bytes] = []
        self._writing: Exchange | None = None
        self._held: Exchange | None = None
        self._underway: dict[Exchange, None] = {}
        self._octets_underway = 0
        self._needs_reset = False
        self._is_hung_up = False
        self.capabilities = Capabilities()
        self.window = settings.in_flight
        self.messages = 0
        self.replies = 0

    # What the edge asks

    @property
    def stage(self) -> Stage:
        """What is being waited for."""
        if self._expected:
            return self._expected[0][1]
        return Stage.CONTENT if self._writing is not None else Stage.IDLE

    @property
    def is_idle(self) -> bool:
        """Open, and nothing under way."""
        return self._state is _State.OPEN and not self._underway and not self._expected

    @property
    def underway(self) -> int:
        """How many exchanges are begun and not over."""
        return len(self._underway)

    @property
    def waits_for_data(self) -> bool:
        """Whether what holds messages up is the answer to DATA, once a message."""
        return self.capabilities.pipelining and not self.capabilities.chunking

    @property
    def may_begin(self) -> bool:
        """Whether another exchange may be begun now."""
        if self._state is not _State.OPEN or self._is_hung_up or self._writing or self._held:
            return False
        if not self._underway:
            return self.capabilities.pipelining or not self._expected
        if not self.capabilities.pipelining or len(self._underway) >= self.window:
            return False
        if self.capabilities.chunking:
            return self._octets_underway < self._settings.in_flight_octets
        # DATA ends what may be sent together: what comes behind it can come behind content only.
        return all(exchange.content_done for exchange in self._underway)

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
        offered = self.capabilities
        if offered.chunking and (self._underway or self._needs_reset):
            self._reset()
        self._underway[exchange] = None
        self._octets_underway += exchange.size
        self._command(exchange, Stage.MAIL, exchange.mail)
        if not offered.pipelining:
            return events
        for place, line in enumerate(exchange.recipients):
            self._command(exchange, Stage.RCPT, line, place)
        if not offered.chunking:
            self._command(exchange, Stage.DATA, b"DATA")
        elif exchange.size <= EARLY_LIMIT:
            self._want_content(exchange, events)
        else:
            self._held = exchange
        return events

    def send(self, exchange: Exchange, octets: bytes, *, last: bool) -> None:
        """Content, or a piece of it, in answer to ContentWanted; not once the exchange is refused.

        For DATA it comes with dots doubled and, all pieces together, ending in CRLF.
        """
        out = self._out
        if self.capabilities.chunking:
            out.append((b"BDAT %d LAST\r\n" if last else b"BDAT %d\r\n") % len(octets))
            out.append(octets)
            self._expected.append((exchange, Stage.BDAT, _LAST if last else _MORE))
            exchange.answers_due += 1
        else:
            out.append(octets)
            if last:
                out.append(b".\r\n")
                self._expected.append((exchange, Stage.END, _LAST))
                exchange.answers_due += 1
        if last:
            exchange.content_done = True
            self._writing = None

    def give_up(self, exchange: Exchange, outcome: Outcome) -> list[Event] | None:
        """No more content will come. None: then the connection can't be used any more.

        ``outcome`` is for recipients that have none. A message begun with DATA can't be taken
        back but by hanging up.
        """
        exchange.settle(outcome)
        if not self.capabilities.chunking:
            return None
        events: list[Event] = []
        self._writing = None
        exchange.content_done = True
        self._reset()
        if not exchange.answers_due:
            self._over(exchange, events)
        return events

    def break_off(
        self, outcome: Outcome, *, keep_unanswered: bool
    ) -> tuple[list[Exchange], list[Exchange]]:
        """The connection is lost: (exchanges settled, exchanges that may begin elsewhere).

        What was under way gets ``outcome``. With ``keep_unanswered``, what has had no answer
        at all counts as not begun, if other mail went through before: progress is certain then.
        """
        self._state = _State.CLOSED
        settled: list[Exchange] = []
        untouched: list[Exchange] = []
        for exchange in self._underway:
            if keep_unanswered and self.messages and not exchange.is_answered:
                untouched.append(exchange)
            else:
                exchange.settle(outcome)
                settled.append(exchange)
        self._underway.clear()
        return settled, untouched

    def close(self) -> None:
        """Say QUIT; what is answered then doesn't matter."""
        if self._state is not _State.CLOSED:
            self._state = _State.CLOSED
            self._out.append(b"QUIT\r\n")

    def receive(self, octets: bytes) -> list[Event]:
        """What the server's octets mean."""
        events: list[Event] = []
        try:
            for reply in self._reader.feed(octets):
                if self._state is _State.CLOSED or self._is_hung_up:
                    break
                self._answered(reply, events)
        except BadReply as error:
            self._is_hung_up = True
            events.append(HungUp(protocol_trouble(self._peer, str(error))))
        return events

    def _answered(self, reply: ServerReply, events: list[Event]) -> None:
        self.replies += 1
        if not self._expected or (reply.code == 421 and self._state is _State.OPEN):
            self._broke_in(reply, events)
            return
        exchange, stage, place = self._expected.popleft()
        if exchange is None:
            self._session_reply(stage, reply, events)
        else:
            self._mail_reply(exchange, stage, place, reply, events)

    def _broke_in(self, reply: ServerReply, events: list[Event]) -> None:
        """The server ends the session, or refuses content before its end (and then no dot helps).

        A MAIL after others that gets 421 has not been tried: a server may limit what it takes in
        one session.
        """
        stage = self.stage
        if reply.code < 400 or (reply.code != 421 and stage is not Stage.CONTENT):
            raise BadReply(f"a reply to nothing: {reply.text}")
        if stage not in (Stage.IDLE, Stage.MAIL, Stage.RSET):
            current = self._expected[0][0] if self._expected else self._writing
            if current is not None:
                current.is_answered = True
        self._is_hung_up = True
        events.append(HungUp(refusal(self._peer, stage, reply, soft=self._soft)))

    # Opening

    def _session_reply(self, stage: Stage, reply: ServerReply, events: list[Event]) -> None:
        if stage is Stage.RSET:
            return
        if stage is Stage.GREETING:
            self._greeted(reply, events)
        elif reply.is_positive:
            self._shook_hands(stage, reply, events)
        elif stage is Stage.EHLO and reply.is_permanent and reply.code != 521:
            self._say(Stage.HELO, _State.HELO)
        else:
            events.append(SessionRefused(refusal(self._peer, stage, reply, soft=self._soft)))

    def _greeted(self, reply: ServerReply, events: list[Event]) -> None:
        settings = self._settings
        if not reply.is_positive:
            soft = settings.skip_5xx_greeting or self._soft
            outcome = refusal(self._peer, Stage.GREETING, reply, soft=soft)
            events.append(SessionRefused(outcome))
        elif settings.lmtp:
            self._say(Stage.LHLO, _State.EHLO)
        elif settings.never_send_ehlo:
            self._say(Stage.HELO, _State.HELO)
        elif settings.always_send_ehlo or "ESMTP" in reply.lines[0].upper().split():
            self._say(Stage.EHLO, _State.EHLO)
        else:
            self._say(Stage.HELO, _State.HELO)

    def _say(self, stage: Stage, state: _State) -> None:
        self._state = state
        self._command(None, stage, f"{stage.name} {self._settings.helo_name}".encode())

    def _shook_hands(self, stage: Stage, reply: ServerReply, events: list[Event]) -> None:
        settings = self._settings
        host = reply.lines[0].split(" ", 1)[0]
        is_us = host.isascii() and host.lower() == settings.myhostname.lower()
        if is_us and self._peer.port == _SMTP_PORT and not settings.lmtp:
            events.append(SessionRefused(mail_loop(self._peer, self._nexthop, soft=self._soft)))
            return
        if stage is not Stage.HELO:
            self.capabilities = Capabilities.from_reply(reply, settings.discard_keywords)
        self._state = _State.OPEN
        events.append(Opened(self.capabilities))

    # Transactions

    def _command(
        self, exchange: Exchange | None, stage: Stage, line: bytes, place: int = 0
    ) -> None:
        self._out.append(line)
        self._out.append(b"\r\n")
        self._expected.append((exchange, stage, place))

    def _reset(self) -> None:
        self._needs_reset = False
        self._command(None, Stage.RSET, b"RSET")

    def _mail_reply(
        self,
        exchange: Exchange,
        stage: Stage,
        place: int,
        reply: ServerReply,
        events: list[Event],
    ) -> None:
        exchange.is_answered = True
        if stage is Stage.RCPT:
            self._rcpt_answered(exchange, place, reply, events)
        elif stage is Stage.MAIL:
            self._mail_answered(exchange, reply, events)
        elif stage is Stage.DATA:
            self._data_answered(exchange, reply, events)
        elif place == _MORE:
            self._chunk_answered(exchange, reply, events)
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
        if exchange.outcomes[place] is None:
            if reply.is_positive:
                exchange.accepted += 1
            else:
                self._refuse(exchange, (place,), Stage.RCPT, reply)
        is_last = place == len(exchange.recipients) - 1
        if self.capabilities.pipelining:
            if is_last and exchange is self._held:
                self._held = None
                if exchange.accepted:
                    self._want_content(exchange, events)
                else:
                    self._drop(exchange, events)
        elif not is_last:
            self._command(exchange, Stage.RCPT, exchange.recipients[place + 1], place + 1)
        elif exchange.accepted:
            self._command(exchange, Stage.DATA, b"DATA")
        else:
            self._drop(exchange, events)

    def _drop(self, exchange: Exchange, events: list[Event]) -> None:
        """The transaction ends without content."""
        if exchange.mail_accepted:
            self._reset()
        self._over(exchange, events)

    def _data_answered(self, exchange: Exchange, reply: ServerReply, events: list[Event]) -> None:
        if reply.code == 354 and exchange.accepted:
            self._want_content(exchange, events)
        elif reply.code == 354:
            self._send_nothing(exchange)
        else:
            self._refuse(exchange, exchange.pending, Stage.DATA, reply)
            self._drop(exchange, events)

    def _send_nothing(self, exchange: Exchange) -> None:
        """Go on although every recipient was refused: an empty message, for nobody."""
        if self._settings.lmtp:
            # LMTP answers once for each recipient accepted: nothing would tell the end.
            raise BadReply("DATA was accepted without recipients")
        self.send(exchange, b"", last=True)

    def _want_content(self, exchange: Exchange, events: list[Event]) -> None:
        self._writing = exchange
        events.append(ContentWanted(exchange, self.capabilities.chunking))

    def _chunk_answered(self, exchange: Exchange, reply: ServerReply, events: list[Event]) -> None:
        exchange.answers_due -= 1
        if not reply.is_positive:
            self._refuse(exchange, exchange.pending, Stage.BDAT, reply)
            if not exchange.is_refused:
                exchange.is_refused = True
                self._needs_reset = True
        if exchange.content_done and not exchange.answers_due:
            self._over(exchange, events)

    def _end_answered(
        self, exchange: Exchange, stage: Stage, reply: ServerReply, events: list[Event]
    ) -> None:
        places: Iterable[int] = exchange.pending
        if self._settings.lmtp and exchange.accepted > 1 and not exchange.is_refused:
            # One answer for each recipient accepted, in their order (RFC 2033 §4.2).
            exchange.accepted -= 1
            self._expected.appendleft((exchange, stage, _LAST))
            places = islice(places, 1)
        else:
            exchange.answers_due -= 1
        if reply.is_positive:
            outcome = self._delivered(reply)
            for place in places:
                exchange.outcomes[place] = outcome
        else:
            self._needs_reset = self._needs_reset or stage is Stage.BDAT
            self._refuse(exchange, places, stage, reply)
        if not exchange.answers_due:
            self._over(exchange, events)

    def _delivered(self, reply: ServerReply) -> Outcome:
        if self.capabilities.dsn:
            action = Action.PASSED
        else:
            action = Action.DELIVERED if self._settings.assume_final else Action.RELAYED
        status = reply.status
        text = reply.text
        return Outcome(action, status, text, self._relay, self._peer.name, Diagnostic("smtp", text))

    def _refuse(
        self, exchange: Exchange, places: Iterable[int], stage: Stage, reply: ServerReply
    ) -> None:
        outcome = refusal(self._peer, stage, reply, soft=self._soft)
        for place in places:
            exchange.outcomes[place] = outcome

    def _over(self, exchange: Exchange, events: list[Event]) -> None:
        del self._underway[exchange]
        self._octets_underway -= exchange.size
        self.messages += 1
        events.append(Transacted(exchange))
