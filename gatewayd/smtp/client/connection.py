"""A connection to a server: octets between the network and the dialogue, flow control, time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from gatewayd.smtp.client_settings import ClientSettings
from gatewayd.smtp.dialogue import Dialogue
from gatewayd.smtp.direct_write import DirectWriter
from gatewayd.smtp.exchange import Event, HungUp, Opened, SessionRefused
from gatewayd.smtp.trouble import Peer, connection_trouble
from gatewayd.status import Outcome

__all__ = ["ClientConnection", "ConnectionUser"]

_LONGEST_TICK = 15.0
_FLUSH_TIME = 10.0
"""Seconds that a server has to take the last octets, if its answer to QUIT isn't waited for."""


class ConnectionUser(Protocol):
    """Who sends mail over an open connection."""

    @property
    def is_waiting(self) -> bool:
        """Whether the server isn't expected to do anything: its silence means nothing."""

    def happened(self, events: list[Event]) -> None: ...

    def advance(self) -> None:
        """The network takes octets again."""

    def lost(self, outcome: Outcome, *, keep_unanswered: bool) -> None:
        """The connection is gone."""


@implementer(IPushProducer)
class ClientConnection(TwistedProtocol):
    """One connection's life: opened, used by one user, then gone.

    ``opened`` fires once: None when the server takes mail; else what its refusal, silence or
    going away means for mail. ``gone``, if set, is called when nothing is left of it.
    ``setup_time``: seconds from its making to its being open; ``round_trip``: those that the
    answer to EHLO took.
    """

    def __init__(
        self, settings: ClientSettings, peer: Peer, nexthop: str, reactor: Any, made: float
    ) -> None:
        self.peer = peer
        self.dialogue = Dialogue(settings, peer, nexthop)
        self.opened: Deferred[Outcome | None] = Deferred(lambda _: self.abort())
        self.made = made
        self.setup_time = 0.0
        self.round_trip = 0.0
        self.gone: Callable[[], None] = lambda: None
        self.is_paused = False
        self._settings = settings
        self._reactor = reactor
        self._activity = made
        self._user: ConnectionUser | None = None
        self._wire: Any = None
        self._writer: DirectWriter | None = None
        self._timer: Any = None
        self._drained: Deferred[None] | None = None
        self._is_done = False

    def use(self, user: ConnectionUser) -> bool:
        """From now on ``user`` is told of everything. False: the connection is gone already."""
        self._user = user
        return not self._is_done

    @property
    def is_leaving(self) -> bool:
        """Whether it is of no use any more, and still there."""
        return self._is_done

    # The network

    def connectionMade(self) -> None:
        """Wait for the greeting."""
        self._wire = self.transport
        if hasattr(self._wire, "setTcpNoDelay"):
            self._wire.setTcpNoDelay(True)
        self._wire.registerProducer(self, True)
        self._writer = DirectWriter(self._wire)
        if self._is_done:
            self._wire.abortConnection()
            return
        self._activity = self._reactor.seconds()
        self._arm()

    def dataReceived(self, data: bytes) -> None:
        """Replies. Only whole ones are a sign of life: one octet every minute is none."""
        if self._is_done:
            # The answer to QUIT, or what nobody wants to know any more.
            self._wire.loseConnection()
            return
        replies = self.dialogue.replies
        events = self.dialogue.receive(data)
        now = self._reactor.seconds()
        if self.dialogue.replies != replies:
            since_written, self._activity = now - self._activity, now
            if self._user is None:
                self._open(events, since_written)
                return
        if events and self._user is not None:
            self._user.happened(events)
        elif events:
            self._open(events, 0.0)
        elif self._user is not None:
            self._user.advance()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The server, the network, or we ourselves have ended it."""
        if not self._is_done:
            stage = self.dialogue.stage
            outcome = connection_trouble(self.peer, stage, timed_out=False)
            self.lose(outcome, keep_unanswered=True)
        self._stop_timer()
        self.gone()

    def _open(self, events: list[Event], round_trip: float) -> None:
        for event in events:
            if isinstance(event, Opened):
                self.setup_time = self._reactor.seconds() - self.made
                self.round_trip = round_trip
                self.dialogue.window = self._settings.window(round_trip)
                self.opened.callback(None)
            elif isinstance(event, SessionRefused | HungUp) and not self.opened.called:
                self.opened.callback(event.outcome)
        self.flush()

    def flush(self) -> None:
        """Send what the dialogue has to say."""
        octets = self.dialogue.output()
        if octets and self._writer is not None:
            self._activity = self._reactor.seconds()
            self._writer.write(octets)

    # Flow control

    async def writable(self) -> None:
        """Returns once the network takes more, or the connection is gone."""
        if self.is_paused and not self._is_done:
            self._drained = Deferred()
            await self._drained

    def pauseProducing(self) -> None:
        """The network takes no more for now."""
        self.is_paused = True

    def resumeProducing(self) -> None:
        """It does again."""
        self.is_paused = False
        if self._is_done:
            return
        self._activity = self._reactor.seconds()
        if not self._wake_writer() and self._user is not None:
            self._user.advance()

    def stopProducing(self) -> None:
        """The connection is gone; connectionLost tells."""

    def _wake_writer(self) -> bool:
        drained, self._drained = self._drained, None
        if drained is None:
            return False
        drained.callback(None)
        return True

    # The end

    def leave(self) -> None:
        """QUIT, and close: at once, or when the server has answered that."""
        if self._is_done:
            return
        self._stop_timer()
        self.dialogue.close()
        self.flush()
        self._is_done = True
        self._wire.unregisterProducer()
        if self._settings.skip_quit:
            self._wire.loseConnection()
            patience = _FLUSH_TIME
        else:
            patience = self._settings.timeouts.quit or _FLUSH_TIME
        self._timer = self._reactor.callLater(patience, self._wire.abortConnection)

    def lose(self, outcome: Outcome, *, keep_unanswered: bool) -> None:
        """Drop the connection, which is no good any more, and tell so."""
        if self._is_done:
            return
        self.abort()
        if not self.opened.called:
            self.opened.callback(outcome)
        elif self._user is not None:
            self._user.lost(outcome, keep_unanswered=keep_unanswered)

    def abort(self) -> None:
        """Drop the connection at once; nothing is told to anybody."""
        self._is_done = True
        self._stop_timer()
        if self._wire is not None:
            self._wire.abortConnection()
        self._wake_writer()

    # Time

    def _arm(self) -> None:
        """One timer that looks from time to time: activity only moves a mark.

        Limits are kept to within a quarter of the shortest, or 15 seconds.
        """
        shortest = self._settings.timeouts.shortest or _LONGEST_TICK
        tick = max(0.05, min(shortest / 4, _LONGEST_TICK))
        self._timer = self._reactor.callLater(tick, self._look)

    def _look(self) -> None:
        limit = self._settings.timeouts.at(self.dialogue.stage)
        is_waiting = self._user is not None and self._user.is_waiting
        if limit and not is_waiting and self._reactor.seconds() - self._activity >= limit:
            outcome = connection_trouble(self.peer, self.dialogue.stage, timed_out=True)
            self.lose(outcome, keep_unanswered=False)
        else:
            self._arm()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
