"""A connection to a server: octets between the transport and the dialogue, content, time-outs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from gatewayd.errors import NexthopUnavailable, StoreError
from gatewayd.interfaces import IRequestSource
from gatewayd.maillog import MailLog
from gatewayd.message import MemoryContent
from gatewayd.smtp.attempt import Attempt
from gatewayd.smtp.client_settings import ClientSettings, Timeouts
from gatewayd.smtp.conversion import convert_to_7bit
from gatewayd.smtp.dialogue import (
    ContentWanted,
    Dialogue,
    Event,
    Exchange,
    Opened,
    SessionRefused,
    Transacted,
)
from gatewayd.smtp.direct_write import DirectWriter
from gatewayd.smtp.replies import BadReply
from gatewayd.smtp.stuffing import DotStuffer, fold_long_lines
from gatewayd.smtp.transmission import check_suitable, exchange_for, needs_7bit
from gatewayd.smtp.trouble import Peer, Stage, connection_trouble
from gatewayd.status import Action, Outcome, deferred

__all__ = ["ClientConnection"]

_WHOLE_LIMIT = 1 << 18
"""Octets of a content that are handled in one piece; larger ones stream."""
_PIECE = 1 << 16


@dataclass(slots=True, eq=False)
class _Sending:
    """An exchange under way. ``octets`` None: the content streams."""

    attempt: Attempt
    numbers: tuple[int, ...]
    octets: bytes | None
    begun: float


@implementer(IPushProducer)
class ClientConnection(Protocol):
    """One connection's life: opened, then deliver() once, then gone.

    ``opened`` fires with None when the server takes mail, with an Outcome if it refuses to, and
    fails with NexthopUnavailable if it goes silent or away before.
    """

    def __init__(self, settings: ClientSettings, peer: Peer, reactor: Any, log: MailLog) -> None:
        self._settings = settings
        self._peer = peer
        self._reactor = reactor
        self._log = log
        self._dialogue = Dialogue(settings, peer)
        self.opened: Deferred[Outcome | None] = Deferred(lambda _: self.abort())
        self._created = reactor.seconds()
        self._connect_time = 0.0
        self._activity = self._created
        self._timer: Any = None
        self._out: list[bytes] = []
        self._sendings: dict[Exchange, _Sending] = {}
        self._waiting: deque[Attempt] = deque()
        self._kept: list[Attempt] = []
        self._source: IRequestSource | None = None
        self._finish: Callable[[Attempt], None] = lambda _: None
        self._may_leave = False
        self._ended: Deferred[list[Attempt]] | None = None
        self._preparing = False
        self._idling: Deferred[Any] | None = None
        self._drained: Deferred[None] | None = None
        self._paused = False
        self._is_gone = False
        self._in_handler = False
        self._bad_reply = ""

    # Life

    def connectionMade(self) -> None:
        """Wait for the greeting."""
        assert self.transport is not None
        set_no_delay = getattr(self.transport, "setTcpNoDelay", None)
        if set_no_delay is not None:
            set_no_delay(True)
        self.transport.registerProducer(self, True)  # type: ignore[attr-defined]
        self._writer = DirectWriter(self.transport)
        self._arm()

    def deliver(
        self,
        attempts: Iterable[Attempt],
        source: IRequestSource | None,
        finish: Callable[[Attempt], None],
        *,
        may_leave: bool,
    ) -> Deferred[list[Attempt]]:
        """Deliver ``attempts``, then what ``source`` has, until there is nothing.

        Each attempt that is over goes to ``finish``. Fires with those that should go to another
        server: with ``may_leave``, those with deferrals; and those that were never tried because
        the server hung up. Cancelling it drops the connection; nothing more is told of anything.
        """
        self._waiting = deque(attempts)
        self._source = source
        self._finish = finish
        self._may_leave = may_leave
        ended: Deferred[list[Attempt]] = Deferred(lambda _: self.abort())
        self._ended = ended
        if self._is_gone:
            self._end()
        else:
            self._advance()
        return ended

    @property
    def messages(self) -> int:
        """Transactions that are over."""
        return self._dialogue.messages

    def hang_up(self) -> None:
        """QUIT, and close without waiting for the answer."""
        self._stop_timer()
        if self._is_gone or self.transport is None:
            return
        self._is_gone = True
        self._dialogue.close()
        self._out.append(self._dialogue.output())
        self._flush()
        self.transport.unregisterProducer()  # type: ignore[attr-defined]
        self.transport.loseConnection()

    def abort(self) -> None:
        """Drop the connection at once; nothing is told to anybody."""
        self._stop_timer()
        self._is_gone = True
        self._ended = None
        self._waiting.clear()
        self._sendings.clear()
        if self._idling is not None:
            self._idling.cancel()
        if self._drained is not None:
            self._drained.cancel()
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The server, or the network, has ended it."""
        if not self._is_gone:
            self._trouble(timed_out=False)

    # Octets in

    def dataReceived(self, data: bytes) -> None:
        """Replies."""
        if self._is_gone:
            return
        self._activity = self._reactor.seconds()
        try:
            events = self._dialogue.receive(data)
        except BadReply as error:
            self._bad_reply = str(error)
            self._trouble(timed_out=False)
            return
        self._handle(events)
        self._advance()

    def _handle(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Transacted):
                self._transacted(event.exchange)
            elif isinstance(event, ContentWanted):
                self._send_content(event)
            elif isinstance(event, Opened):
                self._connect_time = self._reactor.seconds() - self._created
                self.opened.callback(None)
            elif isinstance(event, SessionRefused):
                self.opened.callback(event.outcome)

    # Requests

    def _advance(self) -> None:
        """Begin what may be begun, send what there is to send, end if there is nothing."""
        if self._in_handler:
            return
        self._in_handler = True
        try:
            self._begin_all()
            self._out.append(self._dialogue.output())
            self._flush()
        finally:
            self._in_handler = False
        if self._ended is not None and self._dialogue.is_idle and not self._preparing:
            self._idle()
        elif self._dialogue.hung_up and not self._sendings and self._ended is not None:
            self._end()

    def _begin_all(self) -> None:
        while (
            self._ended is not None
            and not self._preparing
            and not self._is_gone
            and self._dialogue.may_begin
        ):
            attempt = self._next_attempt()
            if attempt is None:
                return
            self._prepare(attempt)

    def _next_attempt(self) -> Attempt | None:
        if self._waiting:
            return self._waiting.popleft()
        if self._source is None or self._idling is not None or not self._may_take():
            return None
        request = self._source.take()
        return Attempt(request) if request is not None else None

    def _may_take(self) -> bool:
        settings, messages = self._settings, self._dialogue.messages
        if self._kept or self._dialogue.hung_up:
            return False
        if not messages and not self._sendings:
            return True
        if settings.reuse_count and messages + len(self._sendings) >= settings.reuse_count:
            return False
        return bool(self._reactor.seconds() - self._created < settings.reuse)

    def _idle(self) -> None:
        """Nothing is under way: wait a little for another request, or end."""
        if self._idling is not None:
            return
        if self._source is None or not self._settings.idle or not self._may_take():
            self._end()
            return
        waiting = self._source.wait(self._settings.idle)
        self._idling = waiting

        def woken(request: Any) -> None:
            self._idling = None
            if self._ended is None:
                return
            if request is None:
                self._end()
                return
            self._activity = self._reactor.seconds()
            self._waiting.append(Attempt(request))
            self._advance()

        waiting.addCallbacks(woken, lambda _: None)

    def _prepare(self, attempt: Attempt) -> None:
        """Get the content, or the beginning of it, and start the transaction."""
        request = attempt.request
        unsuitable = check_suitable(request, self._dialogue.capabilities, self._peer)
        if unsuitable is not None:
            attempt.settle_all(unsuitable.outcome)
            self._finish(attempt)
            return
        content = request.message.content
        if isinstance(content, MemoryContent):
            self._begin(attempt, content.octets)
        elif content.size <= _WHOLE_LIMIT or needs_7bit(request, self._dialogue.capabilities):
            self._preparing = True
            reading = Deferred.fromCoroutine(_read_whole(content))
            reading.addCallbacks(
                lambda octets: self._prepared(attempt, octets),
                lambda failure: self._unreadable(attempt, failure),
            )
        else:
            self._begin(attempt, None)

    def _prepared(self, attempt: Attempt, octets: bytes) -> None:
        self._preparing = False
        if self._is_gone:
            self._waiting.appendleft(attempt)
            if self._ended is not None:
                self._end()
            return
        self._begin(attempt, octets)
        self._advance()

    def _unreadable(self, attempt: Attempt, failure: Failure) -> None:
        self._preparing = False
        queue_id = attempt.request.queue_id
        self._log.error(f"{queue_id}: content: {failure.getErrorMessage()}", queue_id=queue_id)
        attempt.settle_all(deferred("4.3.0", "queue file read error"))
        self._finish(attempt)
        self._advance()

    def _begin(self, attempt: Attempt, octets: bytes | None) -> None:
        request = attempt.request
        offered = self._dialogue.capabilities
        if octets is not None:
            if needs_7bit(request, offered) and self._settings.convert_8bit:
                octets = convert_to_7bit(octets)
            octets = fold_long_lines(octets, self._settings.line_length_limit)
        size = len(octets) if octets is not None else request.message.size
        recipients = attempt.remaining
        exchange = exchange_for(request, recipients, offered, size)
        numbers = tuple(each.number for each in recipients)
        self._sendings[exchange] = _Sending(attempt, numbers, octets, self._reactor.seconds())
        self._handle(self._dialogue.begin(exchange))

    # Content out

    def _send_content(self, wanted: ContentWanted) -> None:
        exchange = wanted.exchange
        sending = self._sendings[exchange]
        self._out.append(self._dialogue.output())
        if sending.octets is None:
            self._stream(exchange, sending, bdat=wanted.bdat)
            return
        if wanted.bdat:
            self._out.append(b"BDAT %d LAST\r\n" % len(sending.octets))
            self._out.append(sending.octets)
        else:
            self._out.append(DotStuffer().feed(sending.octets))
            self._out.append(b".\r\n")
        self._dialogue.content_sent(exchange)

    def _stream(self, exchange: Exchange, sending: _Sending, *, bdat: bool) -> None:
        streaming = Deferred.fromCoroutine(self._stream_pieces(exchange, sending, bdat=bdat))

        def failed(failure: Failure) -> None:
            if self._is_gone:
                return
            queue_id = sending.attempt.request.queue_id
            self._log.error(f"{queue_id}: content: {failure.getErrorMessage()}", queue_id=queue_id)
            self._trouble(timed_out=False)

        streaming.addErrback(failed)

    async def _stream_pieces(self, exchange: Exchange, sending: _Sending, *, bdat: bool) -> None:
        content = sending.attempt.request.message.content
        if bdat:
            self._out.append(b"BDAT %d LAST\r\n" % content.size)
        stuffer = DotStuffer()
        offset = 0
        while offset < content.size:
            octets = await content.read(offset, _PIECE)
            if self._is_gone:
                return
            if not octets:
                raise StoreError(f"content ends at {offset} of {content.size} octets")
            offset += len(octets)
            self._out.append(octets if bdat else stuffer.feed(octets))
            self._flush()
            self._activity = self._reactor.seconds()
            await self._writable()
        if not bdat:
            self._out.append(b".\r\n")
        self._dialogue.content_sent(exchange)
        self._activity = self._reactor.seconds()
        self._advance()

    async def _writable(self) -> None:
        if self._paused:
            self._drained = Deferred()
            try:
                await self._drained
            finally:
                self._drained = None

    def pauseProducing(self) -> None:
        """The network takes no more for now."""
        self._paused = True

    def resumeProducing(self) -> None:
        """It does again."""
        self._paused = False
        self._activity = self._reactor.seconds()
        if self._drained is not None:
            self._drained.callback(None)

    def stopProducing(self) -> None:
        """The connection is gone; connectionLost tells."""

    def _flush(self) -> None:
        octets = b"".join(self._out)
        self._out.clear()
        if octets:
            self._writer.write(octets)

    # Results

    def _transacted(self, exchange: Exchange) -> None:
        sending = self._sendings.pop(exchange)
        now = self._reactor.seconds()
        use = self._dialogue.messages
        connect = self._connect_time if use == 1 else 0.0
        attempt = sending.attempt
        soft = False
        seen: Outcome | None = None
        timed: Outcome | None = None
        for number, outcome in zip(sending.numbers, exchange.outcomes, strict=True):
            assert outcome is not None
            if outcome is not seen or timed is None:
                seen, timed = outcome, _timed(outcome, connect, now - sending.begun, use)
            attempt.outcomes[number] = timed
            soft = soft or outcome.action is Action.DEFERRED
        self._conclude(attempt, soft=soft)

    def _conclude(self, attempt: Attempt, *, soft: bool) -> None:
        if soft and self._may_leave:
            self._kept.append(attempt)
        else:
            self._finish(attempt)

    def _trouble(self, *, timed_out: bool) -> None:
        """The connection is no good any more."""
        stage = self._dialogue.stage
        outcome = connection_trouble(self._peer, stage, timed_out=timed_out)
        if self._bad_reply:
            text = f"protocol error from {self._peer}: {self._bad_reply}"
            outcome = Outcome(
                Action.DEFERRED, "4.5.0", text, self._peer.relay, remote_mta=self._peer.name
            )
        self._stop_timer()
        self._is_gone = True
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]
        if not self.opened.called:
            error = NexthopUnavailable(
                outcome.status, outcome.text, relay=outcome.relay, remote_mta=outcome.remote_mta
            )
            self.opened.errback(Failure(error))
            return
        if self._drained is not None:
            self._drained.callback(None)
        if self._ended is None:
            return
        self._log.info(outcome.text)
        untried = self._dialogue.messages > 0
        for exchange in self._dialogue.underway:
            sending = self._sendings.pop(exchange, None)
            if sending is None:
                continue
            if untried and not exchange.content_begun:
                self._waiting.append(sending.attempt)
                continue
            for number, known in zip(sending.numbers, exchange.outcomes, strict=True):
                sending.attempt.outcomes[number] = known or outcome
            self._conclude(sending.attempt, soft=True)
        if self._idling is None and not self._preparing:
            self._end()

    def _end(self) -> None:
        ended, self._ended = self._ended, None
        self.hang_up()
        if ended is not None:
            left = [*self._kept, *self._waiting]
            self._kept.clear()
            self._waiting.clear()
            ended.callback(left)

    # Time

    def _limit(self) -> float:
        return _stage_limit(self._settings.timeouts, self._dialogue.stage)

    def _arm(self) -> None:
        """One timer, looked at when it fires: activity only moves a mark."""
        self._timer = self._reactor.callLater(min(self._limit(), 60.0), self._check_time)

    def _check_time(self) -> None:
        self._timer = None
        silent = self._reactor.seconds() - self._activity
        limit = self._limit()
        if self._idling is None and not self._preparing and silent >= limit:
            self._trouble(timed_out=True)
            return
        wait = max(0.05, limit - silent) if self._idling is None else limit
        self._timer = self._reactor.callLater(min(wait, 60.0), self._check_time)

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


def _stage_limit(timeouts: Timeouts, stage: Stage) -> float:
    if stage in (Stage.GREETING, Stage.EHLO, Stage.HELO, Stage.LHLO):
        return timeouts.greeting
    if stage is Stage.MAIL:
        return timeouts.mail
    if stage is Stage.RCPT:
        return timeouts.rcpt
    if stage is Stage.DATA:
        return timeouts.data_init
    if stage is Stage.CONTENT:
        return timeouts.data_xfer
    return timeouts.data_done


def _timed(outcome: Outcome, connect: float, transmit: float, use: int) -> Outcome:
    return Outcome(
        outcome.action,
        outcome.status,
        outcome.text,
        outcome.relay,
        outcome.remote_mta,
        outcome.diagnostic,
        connect,
        transmit,
        use if use > 1 else 0,
    )


async def _read_whole(content: Any) -> bytes:
    octets: bytes = await content.read(0, content.size)
    if len(octets) == content.size:
        return octets
    pieces = [octets]
    size = len(octets)
    while size < content.size:
        more = await content.read(size, content.size - size)
        if not more:
            raise StoreError(f"content ends at {size} of {content.size} octets")
        pieces.append(more)
        size += len(more)
    return b"".join(pieces)
