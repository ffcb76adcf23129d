"""One question to one name server: by UDP from a fresh port, by TCP if the answer was cut short."""

from __future__ import annotations

import struct
from random import SystemRandom
from typing import Any, TypeVar

import dns.flags
import dns.message
import dns.name
import dns.rcode
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import CannotListenError, ConnectError, ConnectionClosed
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.python.failure import Failure

from gatewayd.routing.dns.messages import Question, TemporaryFailure

__all__ = ["Exchange"]

T = TypeVar("T")

_DATAGRAM = 4096
_NO_EDNS = (dns.rcode.FORMERR, dns.rcode.NOTIMP)


class _Udp(DatagramProtocol):
    """One question's socket. What isn't an answer to it is passed over, however often it comes."""

    def __init__(self, question: Question, answered: Deferred[dns.message.Message]) -> None:
        self._question = question
        self._answered = answered

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if self._answered.called:
            return
        try:
            message = self._question.answered(datagram)
        except TemporaryFailure as error:
            self._answered.errback(Failure(error))
            return
        if message is not None:
            self._answered.callback(message)

    def connectionRefused(self) -> None:
        if not self._answered.called:
            self._answered.errback(Failure(TemporaryFailure("connection refused")))


class _Tcp(Protocol):
    """One question over a connection of its own (RFC 1035 §4.2.2): two octets of length first."""

    def __init__(self, octets: bytes, answered: Deferred[bytes]) -> None:
        self._octets = octets
        self._answered = answered
        self._received = bytearray()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(struct.pack("!H", len(self._octets)) + self._octets)

    def dataReceived(self, data: bytes) -> None:
        if self._answered.called:
            return
        self._received += data
        if len(self._received) >= 2:
            end = 2 + int.from_bytes(self._received[:2], "big")
            if len(self._received) >= end:
                self._answered.callback(bytes(self._received[2:end]))

    def connectionLost(self, reason: Failure | None = None) -> None:
        if not self._answered.called:
            self._answered.errback(Failure(TemporaryFailure("connection closed")))


class Exchange:
    """Puts questions to servers. ``timeout`` seconds bound each step."""

    def __init__(self, reactor: Any, timeout: float) -> None:
        self._reactor = reactor
        self._timeout = timeout
        self._random = SystemRandom()

    async def ask(
        self, name: dns.name.Name, kind: str, server: tuple[str, int]
    ) -> dns.message.Message:
        """The server's answer: NOERROR or NXDOMAIN. Raises TemporaryFailure."""
        question = self._question(name, kind)
        answer = await self._by_udp(question, server)
        if answer.rcode() in _NO_EDNS:
            question = self._question(name, kind, edns=False)
            answer = await self._by_udp(question, server)
        if answer.flags & dns.flags.TC or question.is_case_lost:
            # TCP is as good a proof of where an answer comes from as the letters' case.
            answer = await self._by_tcp(question, server)
            if answer.flags & dns.flags.TC:
                raise TemporaryFailure("name server cuts its answers short by TCP too")
        code = answer.rcode()
        if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise TemporaryFailure(f"name server answers {dns.rcode.to_text(code)}")
        return answer

    def _question(self, name: dns.name.Name, kind: str, *, edns: bool = True) -> Question:
        random = self._random
        return Question(
            name, kind, random.getrandbits(16), lambda: random.getrandbits(1), edns=edns
        )

    async def _by_udp(self, question: Question, server: tuple[str, int]) -> dns.message.Message:
        answered: Deferred[dns.message.Message] = Deferred()
        interface = "::" if ":" in server[0] else "0.0.0.0"
        protocol = _Udp(question, answered)
        try:
            port = self._reactor.listenUDP(0, protocol, interface, maxPacketSize=_DATAGRAM)
        except CannotListenError as error:
            raise TemporaryFailure(f"no socket: {error.socketError}") from None
        try:
            # A connected socket takes answers from that server only, and learns of refusals.
            port.connect(*server)
            port.write(question.octets)
            return await self._bounded(answered)
        except (OSError, RuntimeError) as error:
            raise TemporaryFailure(getattr(error, "strerror", None) or str(error)) from None
        finally:
            port.stopListening()

    async def _by_tcp(self, question: Question, server: tuple[str, int]) -> dns.message.Message:
        answered: Deferred[bytes] = Deferred()
        factory = Factory.forProtocol(lambda: _Tcp(question.octets, answered))
        factory.noisy = False
        endpoint = TCP6ClientEndpoint if ":" in server[0] else TCP4ClientEndpoint
        try:
            connection = await self._bounded(endpoint(self._reactor, *server).connect(factory))
        except (ConnectError, OSError) as error:
            raise TemporaryFailure(f"by TCP: {error}") from None
        try:
            message = question.answered(await self._bounded(answered))
        finally:
            connection.transport.abortConnection()
        if message is None:
            raise TemporaryFailure("name server's answer is to another question")
        return message

    async def _bounded(self, waiting: Deferred[T]) -> T:
        waiting.addTimeout(self._timeout, self._reactor)
        try:
            return await waiting
        except (defer.TimeoutError, ConnectionClosed):
            raise TemporaryFailure("name server does not answer in time") from None
