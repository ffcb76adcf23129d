"""What mail asks of the DNS: mail exchangers, addresses, the name behind an address.

Answers are remembered for their TTL, bounded in time and number. Equal questions under way share
one look-up, which goes on even if who asked first is cancelled. Every server gets its turn;
everything is bounded, and what cannot be known now is TemporaryFailure, never "there is none".
"""

from __future__ import annotations

import ipaddress
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dns.message
import dns.name
import dns.reversename
from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.python.failure import Failure

from gatewayd.errors import ConfigError, ConfigProblem, GatewayError
from gatewayd.maillog import MailLog
from gatewayd.routing.dns.exchange import Exchange
from gatewayd.routing.dns.machine_files import HostsFile, NameServers
from gatewayd.routing.dns.messages import (
    Answer,
    NoData,
    NoSuchDomain,
    Reading,
    TemporaryFailure,
    parse_name,
    read,
)
from gatewayd.routing.mx import MxRecord
from gatewayd.tables.address_keys import fold

if TYPE_CHECKING:
    from gatewayd.config.settings import Settings

__all__ = ["DnsSettings", "Resolver"]

log = MailLog("dns")

_FAILURE_TTL = 2.0
_CNAME_LIMIT = 10
_TRIES = 2
_LOOKUP_SECONDS = 60.0
_UNDER_WAY = 200
"""Look-ups at the same time; each needs a socket. More wait for their turn."""
_POINTERS = 5
_NAME_TTL = 300.0
_NO_NAME_TTL = 30.0
_NAMES = 4096

_Key = tuple[str, str]
_Result = Answer | GatewayError


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """``servers``: (address, port), asked in order; None: those of resolv.conf, as it is then.

    ``timeout``: seconds for each try; ``reverse_seconds``: for a whole reverse_name().
    """

    servers: tuple[tuple[str, int], ...] | None = None
    timeout: float = 5.0
    cache_size: int = 10000
    reverse_seconds: float = 5.0

    @classmethod
    def from_settings(cls, settings: Settings) -> DnsSettings:
        """Raises ConfigError naming the parameter."""
        words = settings.words("smtp_dns_servers")
        return cls(
            tuple(_server(word) for word in words) or None,
            settings.seconds("smtp_dns_timeout"),
            settings.number("dns_cache_size"),
        )


_SERVER = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::([0-9]{1,5}))?\Z|([0-9A-Fa-f:.]+)\Z")


def _server(word: str) -> tuple[str, int]:
    """``192.0.2.1``, ``192.0.2.1:5353``, ``2001:db8::1``, ``[2001:db8::1]:5353``."""
    match = _SERVER.match(word)
    try:
        if match is None:
            raise ValueError
        port = int(match[3] or "53")
        if not 0 < port < 65536:
            raise ValueError
        return str(ipaddress.ip_address(match[1] or match[2] or match[4])), port
    except ValueError:
        text = f'smtp_dns_servers: "{word}": expected an address, or [address]:port'
        raise ConfigError([ConfigProblem("main.cf", 0, text)]) from None


class Resolver:
    """The DNS, and the hosts file for the names of clients."""

    def __init__(
        self,
        settings: DnsSettings,
        reactor: Any,
        *,
        hosts_file: HostsFile | None = None,
        system_servers: Callable[[], Sequence[tuple[str, int]]] | None = None,
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._hosts_file = hosts_file or HostsFile()
        self._system_servers = system_servers or NameServers()
        self._exchange = Exchange(reactor, settings.timeout)
        self._turns = DeferredSemaphore(_UNDER_WAY)
        self._known: OrderedDict[_Key, tuple[float, _Result]] = OrderedDict()
        self._underway: dict[_Key, list[Deferred[_Result]]] = {}
        self._running: set[Deferred[None]] = set()
        self._names: dict[str, tuple[float, str]] = {}

    async def mx(self, domain: str) -> tuple[MxRecord, ...]:
        """The domain's MX records. Raises TemporaryFailure, NoSuchDomain, NoData."""
        answer = await self.ask(domain, "MX")
        return tuple(MxRecord(rdata.preference, _host(rdata.exchange)) for rdata in answer.records)

    async def addresses(self, host: str, families: Iterable[str]) -> tuple[str, ...]:
        """Numeric addresses; ``families`` of "ipv4", "ipv6", asked for at the same time.

        One family that cannot be told now is no matter if the other is there. Raises
        TemporaryFailure, NoSuchDomain, NoData.
        """
        kinds = ["A" if family == "ipv4" else "AAAA" for family in families]
        known = [self._remembered(_key(host, kind)) for kind in kinds]
        results = [result for result in known if result is not None]
        if len(results) < len(kinds):
            waits = [Deferred.fromCoroutine(self._result(_key(host, kind))) for kind in kinds]
            results = await gatherResults(waits, consumeErrors=True)
        found = [
            rdata.address
            for result in results
            if isinstance(result, Answer)
            for rdata in result.records
        ]
        if found:
            return tuple(found)
        raise _most_hopeful(results) or NoData(f"{host} has no address")

    async def pointers(self, address: str) -> tuple[str, ...]:
        """The names that the address's PTR records claim. Raises as ask() does."""
        pointer = dns.reversename.from_address(address).to_text(omit_final_dot=True)
        answer = await self.ask(pointer, "PTR")
        return tuple(_host(rdata.target) for rdata in answer.records)

    async def reverse_name(self, address: str) -> str:
        """The host name of a client: its address has that name, and the name that address.

        "unknown" if there is none, or it cannot be told soon.
        """
        until, name = self._names.get(address, (0.0, ""))
        if self._reactor.seconds() < until:
            return name
        name = self._hosts_file.name(address) or await self._verified(address)
        if len(self._names) >= _NAMES:
            self._names.clear()
        ttl = _NO_NAME_TTL if name == "unknown" else _NAME_TTL
        self._names[address] = (self._reactor.seconds() + ttl, name)
        return name

    async def _verified(self, address: str) -> str:
        waiting = Deferred.fromCoroutine(self._verify(address))
        waiting.addTimeout(self._settings.reverse_seconds, self._reactor)
        try:
            return await waiting
        except (defer.TimeoutError, GatewayError, ValueError):
            return "unknown"

    async def _verify(self, address: str) -> str:
        family = "ipv6" if ":" in address else "ipv4"
        own = ipaddress.ip_address(address)
        for name in (await self.pointers(address))[:_POINTERS]:
            try:
                found = await self.addresses(name, (family,))
            except GatewayError:
                continue
            if any(ipaddress.ip_address(each) == own for each in found):
                return name
        return "unknown"

    async def ask(self, name: str, kind: str) -> Answer:
        """Records of a type. Raises TemporaryFailure, NoSuchDomain, NoData."""
        result = await self._result(_key(name, kind))
        if isinstance(result, GatewayError):
            # A fresh one each time: an exception keeps the trace of where it was raised.
            raise type(result)(*result.args)
        return result

    async def _result(self, key: _Key) -> _Result:
        remembered = self._remembered(key)
        if remembered is not None:
            return remembered
        waiting: Deferred[_Result] = Deferred(lambda gone: self._leave(key, gone))
        if key in self._underway:
            self._underway[key].append(waiting)
        else:
            self._underway[key] = [waiting]
            running = Deferred.fromCoroutine(self._fetch(key))
            self._running.add(running)
            running.addErrback(self._failed, key).addBoth(lambda _: self._running.discard(running))
        return await waiting

    @staticmethod
    def _failed(failure: Failure, key: _Key) -> None:
        if not failure.check(defer.CancelledError):
            log.failure(f"look-up of {key[0]} type {key[1]}", failure)

    def close(self) -> None:
        """Give up what is under way: who waits for it gets TemporaryFailure."""
        for running in list(self._running):
            running.cancel()

    def _leave(self, key: _Key, waiting: Deferred[_Result]) -> None:
        if waiting in self._underway.get(key, ()):
            self._underway[key].remove(waiting)

    def _remembered(self, key: _Key) -> _Result | None:
        entry = self._known.get(key)
        if entry is None:
            return None
        if entry[0] <= self._reactor.seconds():
            del self._known[key]
            return None
        return entry[1]

    async def _fetch(self, key: _Key) -> None:
        """Look it up, remember it, and tell all who wait for it."""
        result: _Result = TemporaryFailure(f"look-up of {key[0]} was given up")
        try:
            await self._turns.acquire()
            try:
                reading = await self._follow(key)
            finally:
                self._turns.release()
            assert reading.result is not None
            result = reading.result
            self._remember(key, result, reading.ttl)
        except TemporaryFailure as error:
            result = error
            self._remember(key, result, _FAILURE_TTL)
        except NoSuchDomain as error:
            result = error
        finally:
            for waiting in self._underway.pop(key):
                waiting.callback(result)

    def _remember(self, key: _Key, result: _Result, ttl: float) -> None:
        self._known[key] = (self._reactor.seconds() + ttl, result)
        self._known.move_to_end(key)
        while len(self._known) > self._settings.cache_size:
            self._known.popitem(last=False)

    async def _follow(self, key: _Key) -> Reading:
        """The answer, CNAMEs followed over further questions. Raises TemporaryFailure."""
        name, kind = key
        ttl = float("inf")
        deadline = self._reactor.seconds() + _LOOKUP_SECONDS
        for _ in range(_CNAME_LIMIT):
            reading = read(await self._query(name, kind, deadline), name, kind)
            ttl = min(ttl, reading.ttl)
            if reading.result is not None:
                return Reading(reading.result, ttl)
            name = reading.alias
        raise TemporaryFailure(f"{key[0]}: an alias of an alias, in a circle or too often")

    async def _query(self, name: str, kind: str, deadline: float) -> dns.message.Message:
        """The message some server answers with. Raises TemporaryFailure, NoSuchDomain."""
        asked = parse_name(name)
        servers = self._settings.servers
        if servers is None:
            servers = tuple(self._system_servers())
        problem = "no name server is configured"
        for server in servers * _TRIES:
            if self._reactor.seconds() >= deadline:
                break
            try:
                return await self._exchange.ask(asked, kind, server)
            except TemporaryFailure as error:
                # Senders read this in reports; which servers we ask is for the log only.
                problem = str(error)
                log.debug(f"{name} type {kind}: name server {server[0]}: {error}")
        raise TemporaryFailure(problem)


def _host(name: dns.name.Name) -> str:
    """A name as text: in lower case, since our random case comes back in names that share it."""
    text: str = name.to_text(omit_final_dot=True)
    return "" if text == "." else text.lower()


def _key(name: str, kind: str) -> _Key:
    return fold(name.removesuffix(".")), kind


def _most_hopeful(results: Iterable[_Result]) -> GatewayError | None:
    """Of several failures, one that may pass, or else one that has the name exist."""
    errors = [result for result in results if isinstance(result, GatewayError)]
    for kind in (TemporaryFailure, NoData, NoSuchDomain):
        for error in errors:
            if isinstance(error, kind):
                return kind(*error.args)
    return None
