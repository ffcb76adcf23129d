"""Mail over one open connection: requests become exchanges, their answers outcomes.

take ─► suitable? ─► content (read, made 7-bit) ─► Dialogue.begin ─► content out ─► outcomes
                        the next may follow meanwhile, if the dialogue says so
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from gatewayd.errors import StoreError
from gatewayd.interfaces import IRequestSource
from gatewayd.maillog import MailLog
from gatewayd.message import Content, DeliveryRequest, MemoryContent
from gatewayd.smtp.client.attempt import Attempt
from gatewayd.smtp.client.connection import ClientConnection
from gatewayd.smtp.client.reading import PIECE, WHOLE_LIMIT, is_utf8_header, read_7bit, read_whole
from gatewayd.smtp.client_settings import ClientSettings
from gatewayd.smtp.dialogue import EARLY_LIMIT
from gatewayd.smtp.exchange import ContentWanted, Event, Exchange, HungUp, Transacted
from gatewayd.smtp.outgoing import OutgoingContent, encoded
from gatewayd.smtp.transmission import (
    Unsayable,
    exchange_for,
    lacks_smtputf8,
    needs_7bit,
    needs_header,
    unsuitable_for,
)
from gatewayd.smtp.trouble import unreadable, unsuitable
from gatewayd.status import Action, Outcome, deferred

__all__ = ["Delivery"]

_CRASHED = deferred("4.3.0", "internal error in the mail transport")


@dataclass(slots=True, eq=False)
class _Sending:
    """An exchange under way. ``octets`` None: the content streams."""

    attempt: Attempt
    numbers: tuple[int, ...]
    octets: bytes | None
    begun: float


class Delivery:
    """Delivers ``attempts``, then what ``source`` has, until there is nothing.

    Each attempt that is over goes to ``finish``. ``ended`` fires with those that should go to
    another server: with ``may_leave``, those with deferrals; and those that were not tried because
    the connection was lost, ``trouble`` saying how. Cancelling it drops the connection; nothing
    more is told of anything.
    """

    def __init__(
        self,
        connection: ClientConnection,
        settings: ClientSettings,
        reactor: Any,
        log: MailLog,
        *,
        attempts: Iterable[Attempt],
        source: IRequestSource | None,
        finish: Callable[[Attempt], None],
        may_leave: bool,
    ) -> None:
        self.ended: Deferred[list[Attempt]] = Deferred(lambda _: self._cancelled())
        self.trouble: Outcome | None = None
        self._connection = connection
        self._dialogue = connection.dialogue
        self._settings = settings
        self._reactor = reactor
        self._log = log
        self._waiting = deque(attempts)
        self._source = source
        self._finish = finish
        self._may_leave = may_leave
        self._sendings: dict[Exchange, _Sending] = {}
        self._kept: list[Attempt] = []
        self._reading: Attempt | None = None
        self._idling: Deferred[DeliveryRequest | None] | None = None
        self._served = 0
        self._is_advancing = False
        self._is_over = False
        self._has_told = False

    def start(self) -> None:
        """Begin. ``ended`` may fire at once."""
        if self._connection.use(self):
            self.advance()
        else:
            self._end()

    # ConnectionUser

    @property
    def is_waiting(self) -> bool:
        """See ConnectionUser."""
        return self._idling is not None or (
            self._reading is not None and not self._dialogue.underway
        )

    def happened(self, events: list[Event]) -> None:
        """See ConnectionUser."""
        for event in events:
            if isinstance(event, Transacted):
                self._transacted(event.exchange)
            elif isinstance(event, ContentWanted):
                self._send(event)
            elif isinstance(event, HungUp):
                self._connection.lose(event.outcome, keep_unanswered=True)
                return
        self.advance()

    def advance(self) -> None:
        """Begin what may be begun, send what there is to send, end if there is nothing."""
        if self._is_advancing or self._is_over:
            return
        self._is_advancing = True
        try:
            self._begin_all()
            self._connection.flush()
        finally:
            self._is_advancing = False
        if self._dialogue.is_idle and not self._waiting and self._reading is None:
            self._rest()

    def lost(self, outcome: Outcome, *, keep_unanswered: bool) -> None:
        """See ConnectionUser."""
        if self._is_over:
            return
        settled, untouched = self._dialogue.break_off(outcome, keep_unanswered=keep_unanswered)
        again = [self._sendings.pop(exchange).attempt for exchange in untouched]
        if self._reading is not None:
            again.append(self._reading)
            self._reading = None
        self._waiting.extendleft(reversed(again))
        self.trouble = outcome
        for exchange in settled:
            self._transacted(exchange)
        self._is_over = True
        if self._idling is not None:
            self._idling.cancel()
        self._end()

    # Requests

    def _begin_all(self) -> None:
        while (
            not self._is_over
            and self._reading is None
            and not self._connection.is_paused
            and self._dialogue.may_begin
        ):
            attempt = self._next()
            if attempt is None:
                return
            self._prepare(attempt)

    def _next(self) -> Attempt | None:
        if self._waiting:
            return self._waiting.popleft()
        if self._source is None or self._idling is not None or not self._may_take():
            return None
        request = self._source.take()
        return Attempt(request) if request is not None else None

    def _may_take(self) -> bool:
        """Whether new requests may use this connection, which has served others."""
        if self._kept:
            return False
        settings = self._settings
        served = self._dialogue.messages + len(self._sendings)
        if not served:
            return True
        if settings.reuse_count and served >= settings.reuse_count:
            return False
        return bool(self._reactor.seconds() - self._connection.made < settings.reuse)

    def _rest(self) -> None:
        """Nothing is under way: wait a little for another request, or end."""
        if self._idling is not None:
            return
        source, settings = self._source, self._settings
        if source is None or not settings.idle or not self._may_take():
            self._end()
            return
        waiting = self._idling = source.wait(settings.idle)
        waiting.addCallbacks(self._woken, self._wait_failed)

    def _woken(self, request: DeliveryRequest | None) -> None:
        self._idling = None
        if request is not None:
            self._waiting.append(Attempt(request))
        if self._is_over:
            return
        if request is None:
            self._end()
        else:
            self.advance()

    def _wait_failed(self, failure: Failure) -> None:
        self._idling = None
        if not failure.check(CancelledError):
            self._log.failure("waiting for mail failed", failure)
        if not self._is_over:
            self._end()

    def _prepare(self, attempt: Attempt) -> None:
        """Get the content, or see that it streams, and start the transaction."""
        request = attempt.request
        offered = self._dialogue.capabilities
        soft = self._settings.soft_bounce
        refusal = unsuitable_for(request, offered, self._connection.peer, soft=soft)
        if refusal is not None:
            self._settle(attempt, refusal)
            return
        content = request.message.content
        if needs_7bit(request, offered) or needs_header(request, offered):
            self._read(attempt, self._read_fitting(request))
        elif isinstance(content, MemoryContent):
            self._begin(attempt, content.octets)
        elif content.size <= WHOLE_LIMIT:
            self._read(attempt, read_whole(content))
        else:
            self._begin(attempt, None)

    def _settle(self, attempt: Attempt, outcome: Outcome) -> None:
        """The attempt is over before anything of it was sent."""
        attempt.settle(outcome)
        self._conclude(attempt, soft=outcome.action is Action.DEFERRED)

    def _read(self, attempt: Attempt, reading: Any) -> None:
        """Go on with the attempt when ``reading``, a coroutine, has the content (None: stream)."""
        self._reading = attempt
        done = Deferred.fromCoroutine(reading)
        done.addCallbacks(
            lambda result: self._has_read(attempt, result),
            lambda failure: self._has_not_read(attempt, failure),
        )
        done.addErrback(self._crashed)

    def _has_read(self, attempt: Attempt, result: bytes | Outcome | None) -> None:
        if self._reading is not attempt:
            return
        self._reading = None
        if isinstance(result, Outcome):
            self._settle(attempt, result)
        else:
            self._begin(attempt, result)
        self.advance()

    def _has_not_read(self, attempt: Attempt, failure: Failure) -> None:
        if self._reading is not attempt:
            return
        self._reading = None
        self._complain(attempt, failure)
        self._settle(attempt, unreadable(self._connection.peer))
        self.advance()

    async def _read_fitting(self, request: DeliveryRequest) -> bytes | Outcome | None:
        """Content for a server that lacks 8BITMIME or SMTPUTF8, or why it can't be had."""
        offered = self._dialogue.capabilities
        settings, peer = self._settings, self._connection.peer
        content: Content = request.message.content
        if needs_header(request, offered) and await is_utf8_header(content):
            return lacks_smtputf8(peer, soft=settings.soft_bounce)
        if needs_7bit(request, offered) and settings.convert_8bit:
            octets = await read_7bit(content, self._reactor)
            if octets is None:
                text = f"conversion to 7 bits is required by host {peer}, but not for such a size"
                return unsuitable(peer, "5.6.3", text, soft=settings.soft_bounce)
            return octets
        return await read_whole(content) if content.size <= WHOLE_LIMIT else None

    def _begin(self, attempt: Attempt, octets: bytes | None) -> None:
        request = attempt.request
        size = len(octets) if octets is not None else request.message.size
        recipients = attempt.remaining
        try:
            exchange = exchange_for(request, recipients, self._dialogue.capabilities, size)
        except Unsayable as error:
            self._unsayable(attempt, octets, error)
            return
        numbers = tuple([each.number for each in recipients])
        self._sendings[exchange] = _Sending(attempt, numbers, octets, self._reactor.seconds())
        for event in self._dialogue.begin(exchange):
            if isinstance(event, ContentWanted):
                self._send(event)
        if not self._has_told and size <= EARLY_LIMIT:
            self._tell_round_trip()

    def _tell_round_trip(self) -> None:
        self._has_told = True
        if self._source is not None and self._dialogue.waits_for_data:
            self._source.round_trip(self._connection.round_trip)

    def _unsayable(self, attempt: Attempt, octets: bytes | None, error: Unsayable) -> None:
        peer, soft = self._connection.peer, self._settings.soft_bounce
        if error.number is None:
            self._settle(attempt, unsuitable(peer, "5.1.7", str(error), soft=soft))
            return
        # Not soft_bounce here: what remains is tried again below, and this can't ever be.
        attempt.outcomes[error.number] = unsuitable(peer, "5.1.3", str(error))
        if attempt.remaining:
            self._begin(attempt, octets)
        else:
            self._conclude(attempt, soft=False)

    # Content out

    def _send(self, wanted: ContentWanted) -> None:
        exchange = wanted.exchange
        sending = self._sendings[exchange]
        limit = self._settings.line_length_limit
        if sending.octets is not None:
            octets = encoded(sending.octets, limit, stuff=not wanted.bdat)
            sending.octets = b""
            self._dialogue.send(exchange, octets, last=True)
            return
        streaming = Deferred.fromCoroutine(
            self._stream(exchange, sending, OutgoingContent(limit, stuff=not wanted.bdat))
        )
        streaming.addErrback(self._crashed)

    async def _stream(
        self, exchange: Exchange, sending: _Sending, outgoing: OutgoingContent
    ) -> None:
        """Piece by piece, as fast as the network takes them."""
        content = sending.attempt.request.message.content
        offset, size = 0, content.size
        while offset < size:
            try:
                piece = await content.read(offset, PIECE)
                if not piece:
                    raise StoreError(f"content ends at {offset} of {size} octets")
            except StoreError as error:
                self._complain(sending.attempt, Failure(error))
                self._break_off(exchange, unreadable(self._connection.peer))
                return
            if self._is_over:
                return
            if exchange.is_refused:
                self._break_off(exchange, unreadable(self._connection.peer))
                return
            offset += len(piece)
            is_last = offset >= size
            octets = outgoing.last(piece) if is_last else outgoing.feed(piece)
            if octets or is_last:
                self._dialogue.send(exchange, octets, last=is_last)
                self._connection.flush()
            await self._connection.writable()
            if self._is_over:
                return
        self.advance()

    def _break_off(self, exchange: Exchange, outcome: Outcome) -> None:
        """No more of this content is sent. What was refused keeps its outcome."""
        if self._is_over:
            return
        events = self._dialogue.give_up(exchange, outcome)
        if events is None:
            self._connection.lose(outcome, keep_unanswered=True)
        else:
            self.happened(events)

    def _complain(self, attempt: Attempt, failure: Failure) -> None:
        queue_id = attempt.request.queue_id
        text = f"{queue_id}: content cannot be read"
        if failure.check(StoreError):
            self._log.error(f"{text}: {failure.getErrorMessage()}", queue_id=queue_id)
        else:
            self._log.failure(text, failure, queue_id=queue_id)

    def _crashed(self, failure: Failure) -> None:
        """A mistake of ours: the connection is not to be trusted, nor are others to suffer."""
        self._log.failure("delivery failed", failure)
        self._connection.lose(_CRASHED, keep_unanswered=True)

    # Results

    def _transacted(self, exchange: Exchange) -> None:
        sending = self._sendings.pop(exchange)
        attempt = sending.attempt
        self._served += 1
        use = self._served
        connect = self._connection.setup_time if use == 1 else 0.0
        transmit = self._reactor.seconds() - sending.begun
        soft = False
        seen = timed = None
        for number, outcome in zip(sending.numbers, exchange.outcomes, strict=True):
            assert outcome is not None
            if outcome is not seen or timed is None:
                seen, timed = outcome, _timed(outcome, connect, transmit, use)
                soft = soft or outcome.action is Action.DEFERRED
            attempt.outcomes[number] = timed
        self._conclude(attempt, soft=soft)

    def _conclude(self, attempt: Attempt, *, soft: bool) -> None:
        if soft and self._may_leave:
            self._kept.append(attempt)
        else:
            self._finish(attempt)

    # The end

    def _end(self) -> None:
        self._is_over = True
        self._connection.leave()
        left = [*self._kept, *self._waiting]
        self._kept.clear()
        self._waiting.clear()
        self.ended.callback(left)

    def _cancelled(self) -> None:
        self._is_over = True
        self._connection.abort()
        if self._idling is not None:
            self._idling.cancel()


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
