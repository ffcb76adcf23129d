"""Asking the DNS: dnspython makes and reads the messages, Twisted carries them.

Each question goes by UDP from a fresh port with a random ID, its name in random case (both come
back in a true answer); by TCP if the answer was cut short. Every server gets its turn within the
time given; what cannot be known now is TemporaryFailure, never "there is none". Answers are
remembered for their TTL, bounded in time and number; equal questions under way share one answer.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from random import SystemRandom
from typing import Any, TypeVar

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.reversename
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.python.failure import Failure

from gatewayd.errors import GatewayError
from gatewayd.routing.mx import MxRecord

T = TypeVar("T")

__all__ = ["Answer", "DnsSettings", "NoData", "NoSuchDomain", "Resolver", "TemporaryFailure"]

_MAX_TTL = 86400.0
_NEGATIVE_TTL = 300.0
_FAILURE_TTL = 2.0
_UDP_SIZE = 1232
_TCP_SIZE = 65535
_CNAME_LIMIT = 10
_TRIES = 2


class TemporaryFailure(GatewayError):
    """The DNS gives no answer now: time-out, SERVFAIL, no server, nonsense."""


class NoSuchDomain(GatewayError):
    """The name does not exist (NXDOMAIN)."""


class NoData(GatewayError):
    """The name exists, but has no record of the type asked for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Records of one type, as dnspython's rdata, in no order; ``name`` after CNAMEs."""

    name: str
    records: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """``servers``: (address, port), asked in order; ``timeout``: seconds for each try."""

    servers: tuple[tuple[str, int], ...]
    timeout: float = 5.0
    cache_size: int = 10000


class _Udp(DatagramProtocol):
    """One question's socket."""

    def __init__(self, question: bytes, server: tuple[str, int], answered: Deferred[bytes]) -> None:
        self._question = question
        self._server = server
        self._answered = answered

    def startProtocol(self) -> None:
        assert self.transport is not None
        self.transport.connect(*self._server)
        self.transport.write(self._question, None)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if datagram[:2] == self._question[:2] and not self._answered.called:
            self._answered.callback(datagram)

    def connectionRefused(self) -> None:
        if not self._answered.called:
            self._answered.errback(Failure(TemporaryFailure("name server refuses the connection")))


class _Tcp(Protocol):
    """One question over a connection of its own (RFC 1035 §4.2.2)."""

    def __init__(self, question: bytes, answered: Deferred[bytes]) -> None:
        self._question = question
        self._answered = answered
        self._received = b""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(struct.pack("!H", len(self._question)) + self._question)

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        if len(self._received) < 2:
            return
        (size,) = struct.unpack("!H", self._received[:2])
        if len(self._received) >= size + 2 and not self._answered.called:
            self._answered.callback(self._received[2 : size + 2])
            self._close()
        elif len(self._received) > _TCP_SIZE + 2:
            self._close()

    def connectionLost(self, reason: Failure | None = None) -> None:
        if not self._answered.called:
            self._answered.errback(Failure(TemporaryFailure("name server closed the connection")))

    def _close(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()


class Resolver:
    """The DNS, asked through the servers given. No servers: every answer is TemporaryFailure."""

    def __init__(self, settings: DnsSettings, reactor: Any) -> None:
        self._settings = settings
        self._reactor = reactor
        self._random = SystemRandom()
        self._known: OrderedDict[tuple[str, str], tuple[float, Answer | GatewayError]] = (
            OrderedDict()
        )
        self._underway: dict[tuple[str, str], list[Deferred[Answer]]] = {}

    async def mx(self, domain: str) -> tuple[MxRecord, ...]:
        """The domain's MX records. Raises TemporaryFailure, NoSuchDomain, NoData."""
        answer = await self.ask(domain, "MX")
        return tuple(
            MxRecord(rdata.preference, rdata.exchange.to_text(omit_final_dot=True))
            for rdata in answer.records
        )

    async def addresses(self, host: str, families: Iterable[str]) -> tuple[str, ...]:
        """Numeric addresses; ``families`` of "ipv4", "ipv6".

        One family that cannot be told now is no matter if the other is there. Raises
        TemporaryFailure, NoSuchDomain, NoData.
        """
        found: list[str] = []
        failure: GatewayError | None = None
        for family in families:
            try:
                answer = await self.ask(host, "A" if family == "ipv4" else "AAAA")
                found += [rdata.to_text() for rdata in answer.records]
            except TemporaryFailure as error:
                failure = error
            except (NoSuchDomain, NoData) as error:
                failure = failure or error
        if found:
            return tuple(found)
        raise failure or NoData(f"{host} has no address")

    async def reverse_name(self, address: str) -> tuple[str, ...]:
        """The names that the address's PTR records claim. Raises as ask() does."""
        pointer = dns.reversename.from_address(address).to_text(omit_final_dot=True)
        answer = await self.ask(pointer, "PTR")
        return tuple(rdata.target.to_text(omit_final_dot=True) for rdata in answer.records)

    async def ask(self, name: str, kind: str) -> Answer:
        """Records of a type. Raises TemporaryFailure, NoSuchDomain, NoData."""
        key = (name.lower().rstrip("."), kind)
        remembered = self._remembered(key)
        if remembered is None:
            if key in self._underway:
                waiting: Deferred[Answer] = Deferred(lambda d: self._leave(key, d))
                self._underway[key].append(waiting)
                return await waiting
            remembered = await self._fetch(key)
        if isinstance(remembered, GatewayError):
            raise remembered
        return remembered

    def _leave(self, key: tuple[str, str], waiting: Deferred[Answer]) -> None:
        self._underway[key].remove(waiting)

    def _remembered(self, key: tuple[str, str]) -> Answer | GatewayError | None:
        entry = self._known.get(key)
        if entry is None:
            return None
        until, result = entry
        if until <= self._reactor.seconds():
            del self._known[key]
            return None
        return result

    async def _fetch(self, key: tuple[str, str]) -> Answer | GatewayError:
        self._underway[key] = []
        result: Answer | GatewayError = TemporaryFailure(f"look-up of {key[0]} was given up")
        try:
            result, ttl = await self._follow(key)
            self._known[key] = (self._reactor.seconds() + ttl, result)
            while len(self._known) > self._settings.cache_size:
                self._known.popitem(last=False)
        finally:
            for waiting in self._underway.pop(key):
                if isinstance(result, GatewayError):
                    waiting.errback(Failure(result))
                else:
                    waiting.callback(result)
        return result

    async def _follow(self, key: tuple[str, str]) -> tuple[Answer | GatewayError, float]:
        """The answer and how long it holds; CNAMEs are followed over further questions."""
        name, kind = key
        ttl = _MAX_TTL
        try:
            for _ in range(_CNAME_LIMIT):
                message = await self._query(name, kind)
                result, alias, seconds = _read(message, name, kind)
                ttl = min(ttl, seconds)
                if result is not None:
                    return result, ttl
                name = alias
        except TemporaryFailure as error:
            return error, _FAILURE_TTL
        text = f"{key[0]}: an alias of an alias, too often"
        return TemporaryFailure(text), _FAILURE_TTL

    async def _query(self, name: str, kind: str) -> dns.message.Message:
        """The message some server answers with. Raises TemporaryFailure, NoSuchDomain."""
        problem = TemporaryFailure(f"{name}: no name server to ask")
        try:
            asked = dns.name.from_text(name)
        except (dns.exception.DNSException, ValueError, UnicodeError):
            raise TemporaryFailure(f"{name!r}: no name for the DNS") from None
        for _ in range(_TRIES):
            for server in self._settings.servers:
                try:
                    return await self._ask_server(asked, kind, server)
                except TemporaryFailure as error:
                    problem = TemporaryFailure(f"{name} type {kind}: {error}")
        raise problem

    async def _ask_server(
        self, name: dns.name.Name, kind: str, server: tuple[str, int]
    ) -> dns.message.Message:
        cased = self._in_random_case(name)
        question = dns.message.make_query(cased, kind, use_edns=0, payload=_UDP_SIZE)
        question.id = self._random.getrandbits(16)
        octets = question.to_wire()
        answer = _parsed(await self._by_udp(octets, server), question)
        if answer.flags & dns.flags.TC:
            answer = _parsed(await self._by_tcp(octets, server), question)
        code = answer.rcode()
        if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise TemporaryFailure(f"name server answers {dns.rcode.to_text(code)}")
        return answer

    def _in_random_case(self, name: dns.name.Name) -> dns.name.Name:
        """Letters in random case: a forger has to guess them, too."""
        labels = [
            bytes(
                octet ^ 0x20 if 97 <= octet | 0x20 <= 122 and self._random.getrandbits(1) else octet
                for octet in label
            )
            for label in name.labels
        ]
        return dns.name.Name(labels)

    async def _by_udp(self, question: bytes, server: tuple[str, int]) -> bytes:
        answered: Deferred[bytes] = Deferred()
        interface = "::" if ":" in server[0] else ""
        try:
            port = self._reactor.listenUDP(
                0, _Udp(question, server, answered), interface, maxPacketSize=4096
            )
        except OSError as error:
            raise TemporaryFailure(f"{server[0]}: {error}") from None
        try:
            return await self._bounded(answered)
        finally:
            port.stopListening()

    async def _by_tcp(self, question: bytes, server: tuple[str, int]) -> bytes:
        answered: Deferred[bytes] = Deferred()
        host = server[0].replace(":", "\\:")
        endpoint = clientFromString(self._reactor, f"tcp:{host}:{server[1]}")
        factory = Factory.forProtocol(lambda: _Tcp(question, answered))
        factory.noisy = False
        try:
            connection = await self._bounded(endpoint.connect(factory))
        except ConnectError as error:
            raise TemporaryFailure(f"name server {server[0]}: {error}") from None
        try:
            return await self._bounded(answered)
        finally:
            if connection.transport is not None:
                connection.transport.abortConnection()

    async def _bounded(self, waiting: Deferred[T]) -> T:
        waiting.addTimeout(self._settings.timeout, self._reactor)
        try:
            return await waiting
        except (defer.TimeoutError, ConnectionClosed):
            raise TemporaryFailure("name server does not answer in time") from None


def _parsed(octets: bytes, question: dns.message.Message) -> dns.message.Message:
    """The answer, if it is one to this question, name in the same case and all."""
    try:
        answer = dns.message.from_wire(octets, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError, struct.error):
        raise TemporaryFailure("name server's answer is malformed") from None
    same = answer.id == question.id and answer.flags & dns.flags.QR
    asked, echoed = question.question, answer.question
    if not same or len(echoed) != 1 or echoed[0].name.labels != asked[0].name.labels:
        raise TemporaryFailure("name server's answer is to another question")
    return answer


def _read(
    message: dns.message.Message, name: str, kind: str
) -> tuple[Answer | GatewayError | None, str, float]:
    """(result or None, the alias to ask for instead, seconds that it holds)."""
    wanted = dns.rdatatype.from_text(kind)
    current = dns.name.from_text(name)
    ttl = _MAX_TTL
    for _ in range(_CNAME_LIMIT):
        records = [each for each in message.answer if each.name == current]
        for rrset in records:
            ttl = min(ttl, float(rrset.ttl))
            if rrset.rdtype == wanted:
                text = current.to_text(omit_final_dot=True)
                return Answer(text, tuple(rrset)), "", ttl
        alias = next((each for each in records if each.rdtype == dns.rdatatype.CNAME), None)
        if alias is None:
            break
        current = alias[0].target
    if message.rcode() == dns.rcode.NXDOMAIN:
        return NoSuchDomain(f"{name} does not exist"), "", _negative_ttl(message)
    if current != dns.name.from_text(name):
        return None, current.to_text(omit_final_dot=True), ttl
    return NoData(f"{name} has no record of type {kind}"), "", _negative_ttl(message)


def _negative_ttl(message: dns.message.Message) -> float:
    """How long "there is none" holds (RFC 2308 §5)."""
    for rrset in message.authority:
        if rrset.rdtype == dns.rdatatype.SOA:
            return min(_NEGATIVE_TTL, float(rrset.ttl), float(rrset[0].minimum))
    return _FAILURE_TTL
