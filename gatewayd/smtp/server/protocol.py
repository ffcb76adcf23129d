"""One SMTP client's connection: transport, back-pressure, time.

While an answer is awaited, or the client doesn't take its replies, nothing is read but what one
read (64 KB) may have brought already; then the transport is paused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from gatewayd.message import Origin
from gatewayd.smtp import reply_texts, session_log
from gatewayd.smtp.direct_write import DirectWriter
from gatewayd.smtp.limits import Admission
from gatewayd.smtp.server.conversation import Conversation
from gatewayd.smtp.server.eager import first_step
from gatewayd.smtp.session import Session

if TYPE_CHECKING:
    from gatewayd.smtp.server.factory import SmtpdFactory

__all__ = ["SmtpdProtocol"]

# So long may the last reply take to reach the client, in seconds.
_LINGER = 10.0


@implementer(IPushProducer)
class SmtpdProtocol(Protocol):
    """The edge of one session. ``admission`` is what the factory made of the connection."""

    transport: Any
    factory: SmtpdFactory
    _writer: DirectWriter

    def __init__(self, address: str, port: int) -> None:
        self.address = address
        self.port = port
        self.admission = Admission.WAIT
        self._conversation: Conversation | None = None
        self._naming: Deferred[str] | None = None
        self._early = b""
        self._since = 0.0
        self._is_paused = False
        self._write_blocked = False
        self._is_running = False
        self._is_closing = False

    # Connection

    def connectionMade(self) -> None:
        self._since = self.factory.reactor.seconds()
        self.transport.setTcpNoDelay(True)
        self._writer = DirectWriter(self.transport)
        self.transport.registerProducer(self, True)
        self.factory.arrived(self)

    def serve(self) -> None:
        """It's this connection's turn: find out who it is, then talk."""
        try:
            name, naming = first_step(self.factory.name_of(self.address))
        except Exception as error:
            self._nameless(Failure(error))
            return
        if naming is None:
            self._named(name or "unknown")
            return
        self._naming = naming
        naming.addCallbacks(self._named, self._nameless)
        naming.addErrback(lambda failure: self.factory.log.failure("smtpd session", failure))

    def turn_away(self, line: str) -> None:
        """One reply instead of a session."""
        self._writer.write(f"{line}\r\n".encode())
        self._lose()

    def dataReceived(self, data: bytes) -> None:
        if self._is_closing:
            return
        conversation = self._conversation
        if conversation is None:
            # A client that talks before the banner is heard after it.
            self._early += data
            self._pause()
            return
        conversation.session.receive(data)
        if self._write_blocked or conversation.is_held_up:
            self._pause()
        else:
            self._go_on()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_closing = True
        if self._naming is not None:
            self._naming.cancel()
        conversation = self._conversation
        if conversation is not None:
            line = conversation.session.lost()
            if line:
                self.factory.log.info(line)
            conversation.lost()
            self.factory.log.info(conversation.session.summary())
        self.factory.departed(self)

    # IPushProducer: the transport's write buffer is full, or has room again

    def pauseProducing(self) -> None:
        self._write_blocked = True

    def resumeProducing(self) -> None:
        self._write_blocked = False
        self._go_on()

    def stopProducing(self) -> None:
        self._write_blocked = True

    # Time and the end of service

    def check_time(self, now: float) -> None:
        """Called now and then: end what has taken too long."""
        conversation = self._conversation
        if self._is_closing:
            if now - self._since > _LINGER:
                self.transport.abortConnection()
        elif conversation is None:
            return
        elif conversation.is_awaiting:
            if now - conversation.waiting_since > conversation.session.settings.answer_timeout:
                conversation.give_up_waiting()
        elif now - self._since > conversation.session.settings.timeout and (
            self._write_blocked or conversation.session.is_waiting_for_client
        ):
            conversation.session.time_out()
            self._write_blocked = False
            self._go_on()

    def shut_down(self) -> None:
        """The service ends: at once if nothing is going on, else after the transaction."""
        conversation = self._conversation
        if conversation is None:
            if not self._is_closing:
                self.turn_away(reply_texts.SHUTTING_DOWN.format(host=self._host))
        else:
            conversation.session.shut_down()
            self._go_on()

    def abort(self) -> None:
        """The service's patience has ended."""
        self.transport.abortConnection()

    # Inside

    @property
    def _host(self) -> str:
        return self.factory.settings.myhostname

    def _named(self, name: str) -> None:
        self._naming = None
        if self._is_closing:
            return
        factory = self.factory
        settings = factory.settings_for(self.address)
        peer = Origin("SMTP", "", name, self.address, self.port)
        session = Session(settings, peer)
        self._conversation = Conversation(
            session, factory.policy, factory.intake, factory.reactor, factory.log, self._go_on
        )
        factory.log.info(f"connect from {session.client}")
        session.start(factory.refusal(self, session_log.client_label(peer)))
        if self._early:
            session.receive(self._early)
            self._early = b""
        self._go_on()

    def _nameless(self, failure: Failure) -> None:
        if not self._is_closing:
            self.factory.log.warning(f"hostname lookup of {self.address}: {failure.value}")
        self._named("unknown")

    def _go_on(self) -> None:
        """Let the session do what it can, send what it says, and read on if it's done."""
        conversation = self._conversation
        if self._is_running or self._is_closing or self._write_blocked or conversation is None:
            return
        self._is_running = True
        try:
            conversation.advance()
        except Exception:
            self.factory.log.failure(f"smtpd session with {conversation.session.client}")
            self.transport.abortConnection()
            return
        finally:
            self._is_running = False
        self._since = self.factory.reactor.seconds()
        octets = conversation.session.output()
        if octets:
            self._writer.write(octets)
        if conversation.is_closed:
            self._lose()
        elif self._is_paused and not conversation.is_held_up and not self._write_blocked:
            self._is_paused = False
            self.transport.resumeProducing()

    def _pause(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self.transport.pauseProducing()

    def _lose(self) -> None:
        self._is_closing = True
        self._since = self.factory.reactor.seconds()
        self.transport.unregisterProducer()
        self._writer.lose_connection(connectionDone)
