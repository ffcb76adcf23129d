"""From a next hop to the servers to try, in order (postfix.md §7).

next hop ─ parse ─► destinations ─┬─ MX ─► hosts ─┬─► addresses ─► loops out, sorted, cut
                                  └─ name ────────┘
(and the same for smtp_fallback_relay)
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random, SystemRandom
from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import Deferred, gatherResults

from gatewayd.errors import GatewayError, NexthopUnavailable
from gatewayd.maillog import MailLog
from gatewayd.routing.dns import HostsFile, NoData, NoSuchDomain, TemporaryFailure
from gatewayd.routing.hosts.settings import HostSettings
from gatewayd.routing.mx import (
    Candidate,
    Loop,
    MxRecord,
    OwnIdentity,
    arrange,
    is_null_mx,
    without_loops,
)
from gatewayd.routing.nexthop import BadNexthop, Hop, parse_lmtp_nexthop, parse_nexthop

if TYPE_CHECKING:
    from gatewayd.config.settings import Settings

__all__ = ["Hosts", "NameLookup", "NexthopRefused", "Server"]

_SMTP_PORT = 25
_LOOP = "5.4.6"
_MX_LIMIT = 50
"""MX hosts that are looked up, best first: how many there are is for strangers to say."""

FileAddresses = Callable[[str, Sequence[str]], tuple[str, ...]]


class NexthopRefused(GatewayError):
    """Mail for the next hop can never be delivered: ``status`` (class 5) and ``text`` say why.

    ``is_loop``: we are its best mail exchanger ourselves.
    """

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.is_loop = status == _LOOP


@dataclass(frozen=True, slots=True)
class Server:
    """A server to connect to. ``address`` is numeric, or the path of a Unix socket (port 0).

    ``best_mx``: nothing is more preferred. ``fallback``: from smtp_fallback_relay.
    """

    name: str
    address: str
    port: int
    best_mx: bool = True
    fallback: bool = False

    @property
    def is_unix(self) -> bool:
        return self.port == 0

    @property
    def family(self) -> socket.AddressFamily:
        if self.is_unix:
            return socket.AF_UNIX
        return socket.AF_INET6 if ":" in self.address else socket.AF_INET


class NameLookup(Protocol):
    """What is asked of the DNS; ``gatewayd.routing.dns.Resolver`` does it."""

    async def mx(self, domain: str) -> tuple[MxRecord, ...]: ...

    async def addresses(self, host: str, families: Sequence[str]) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Why one destination gave no server."""

    status: str
    text: str

    @property
    def is_final(self) -> bool:
        return self.status.startswith("5")


class Hosts:
    """The way from a next hop to servers, by one transport's settings."""

    def __init__(
        self,
        settings: HostSettings,
        names: NameLookup,
        random: Random,
        file_addresses: FileAddresses = lambda *_: (),
    ) -> None:
        self._settings = settings
        self._names = names
        self._random = random
        self._file_addresses = file_addresses
        self._own = OwnIdentity(settings.own, frozenset(filter(None, (settings.myhostname,))))
        self._log = MailLog("lmtp" if settings.lmtp else "smtp")

    @classmethod
    def from_settings(cls, settings: Settings, names: NameLookup, *, lmtp: bool = False) -> Hosts:
        """For one service's settings. Raises ConfigError."""
        own = HostSettings.from_settings(settings, lmtp=lmtp)
        return cls(own, names, SystemRandom(), HostsFile().addresses)

    async def servers(self, nexthop: str) -> tuple[Server, ...]:
        """Servers to try, best first, fallback relays last.

        Raises NexthopUnavailable for now, NexthopRefused for good.
        """
        try:
            parse = parse_lmtp_nexthop if self._settings.lmtp else parse_nexthop
            hops = parse(nexthop)
        except BadNexthop as error:
            self._log.warning(f"bad next hop {nexthop[:200]}: {error}")
            raise NexthopUnavailable("4.3.5", f"bad next hop: {error}") from None
        found: list[Server] = []
        trouble: _Trouble | None = None
        may_fall_back = True
        for hop in hops:
            outcome, is_mx = await self._destination(hop)
            if isinstance(outcome, _Trouble):
                if trouble is None or trouble.is_final:
                    trouble = outcome
                may_fall_back = may_fall_back and outcome.status != _LOOP
            else:
                found += outcome
                may_fall_back = may_fall_back and not is_mx
        if may_fall_back:
            found += await self._fallbacks()
        if found:
            return tuple(found)
        assert trouble is not None
        raise self._error(nexthop, trouble)

    def _error(self, nexthop: str, trouble: _Trouble) -> GatewayError:
        if not trouble.is_final:
            return NexthopUnavailable(trouble.status, trouble.text)
        if nexthop == self._settings.relayhost:
            # The administrator's mistake and not the sender's: mail waits for the correction.
            self._log.warning(f"relayhost configuration problem: {trouble.text}")
            return NexthopUnavailable("4.3.5", "Server configuration error")
        return NexthopRefused(trouble.status, trouble.text)

    async def _fallbacks(self) -> list[Server]:
        servers: list[Server] = []
        for text in self._settings.fallback:
            for hop in parse_nexthop(text):
                outcome, _ = await self._destination(hop)
                if isinstance(outcome, _Trouble):
                    self._log.warning(f"smtp_fallback_relay configuration problem: {outcome.text}")
                    continue
                servers += [
                    Server(each.name, each.address, each.port, each.best_mx, fallback=True)
                    for each in outcome
                ]
        return servers

    async def _destination(self, hop: Hop) -> tuple[list[Server] | _Trouble, bool]:
        """(servers or why there's none, whether we are one of the MX hosts)."""
        if hop.path:
            return [Server(self._settings.myhostname, hop.path, 0)], False
        port = _port(hop.port or self._settings.default_port)
        if port is None:
            return _Trouble("4.3.5", f'unknown service: "{hop.port}/tcp"'), False
        # As in Postfix, only port 25 can lead back here: others are somebody's deliberate set-up.
        check_loop = port == _SMTP_PORT and not self._settings.lmtp
        is_mx = False
        candidates: Sequence[Candidate] | _Trouble
        if hop.address:
            candidates = [Candidate(0, hop.host, hop.address)]
            if check_loop and self._own.has_address(hop.address):
                candidates = _host_loop(hop.host)
        elif hop.by_mx and self._settings.use_mx:
            candidates, is_mx = await self._by_mx(hop.host, check_loop=check_loop)
        else:
            candidates = await self._by_host(hop.host, check_loop=check_loop)
        if isinstance(candidates, _Trouble):
            return candidates, is_mx
        return self._in_order(candidates, port), is_mx

    def _in_order(self, candidates: Sequence[Candidate], port: int) -> list[Server]:
        settings = self._settings
        best = min(each.preference for each in candidates)
        ordered = arrange(
            candidates,
            random=self._random if settings.randomize else None,
            limit=settings.address_limit,
            preferred=settings.preferred,
            balance=settings.balance,
        )
        return [Server(c.host, c.address, port, best_mx=c.preference == best) for c in ordered]

    async def _by_mx(
        self, domain: str, *, check_loop: bool
    ) -> tuple[Sequence[Candidate] | _Trouble, bool]:
        try:
            records = await self._names.mx(domain)
        except (NoData, NoSuchDomain):
            # Without such a name there's no address either, but the hosts file may know one.
            return await self._by_host(domain, check_loop=check_loop), False
        except TemporaryFailure as error:
            if self._settings.ignore_mx_error:
                return await self._by_host(domain, check_loop=check_loop), False
            return _Trouble("4.4.3", _not_found(domain, "MX", f"try again ({error})")), False
        if is_null_mx(records):
            return _Trouble("5.1.0", f"Domain {domain} does not accept mail (nullMX)"), False
        return await self._of_records(domain, records, check_loop)

    async def _of_records(
        self, domain: str, records: Sequence[MxRecord], check_loop: bool
    ) -> tuple[Sequence[Candidate] | _Trouble, bool]:
        best = sorted(records, key=lambda each: each.preference)[:_MX_LIMIT]
        candidates, failures = await self._resolved(best)
        if not candidates:
            return self._without_address(domain, failures), False
        if not check_loop:
            return candidates, False
        try:
            kept = without_loops(candidates, records, self._own)
        except Loop as loop:
            if loop.unreachable:
                return _Trouble("4.4.4", f"unable to find primary relay for {domain}"), True
            return _mx_loop(domain), True
        return kept, len(kept) < len(candidates)

    def _without_address(self, domain: str, failures: Sequence[GatewayError]) -> _Trouble:
        temporary = [each for each in failures if isinstance(each, TemporaryFailure)]
        detail = str((temporary or failures)[-1])
        if temporary:
            return _Trouble("4.4.3", _not_found(domain, "MX", f"try again ({detail})"))
        status = "4.4.4" if self._settings.defer_if_no_address else "5.4.4"
        return _Trouble(status, f"unable to look up an MX host of {domain}: {detail}")

    async def _resolved(
        self, records: Sequence[MxRecord]
    ) -> tuple[list[Candidate], list[GatewayError]]:
        """The addresses of MX hosts, all asked for at once; and what went wrong for others."""
        waits = [Deferred.fromCoroutine(self._candidates(record)) for record in records]
        results = await gatherResults(waits, consumeErrors=True)
        candidates = [each for found in results if isinstance(found, list) for each in found]
        return candidates, [found for found in results if isinstance(found, GatewayError)]

    async def _candidates(self, record: MxRecord) -> list[Candidate] | GatewayError:
        try:
            addresses = await self._addresses(record.host)
        except (TemporaryFailure, NoSuchDomain, NoData) as error:
            return error
        return [Candidate(record.preference, record.host, each) for each in addresses]

    async def _by_host(self, host: str, *, check_loop: bool) -> Sequence[Candidate] | _Trouble:
        kind = "A" if self._settings.families == ("ipv4",) else "AAAA"
        try:
            addresses = await self._addresses(host)
        except TemporaryFailure as error:
            return _Trouble("4.4.3", _not_found(host, kind, f"try again ({error})"))
        except NoSuchDomain:
            return _Trouble("5.4.4", _not_found(host, kind))
        except NoData:
            text = _not_found(host, kind, what="Host found but no data record of requested type")
            return _Trouble("5.4.4", text)
        if check_loop and any(self._own.has_address(each) for each in addresses):
            return _host_loop(host)
        return [Candidate(0, host, address) for address in addresses]

    async def _addresses(self, host: str) -> tuple[str, ...]:
        """A host's addresses, from each place in turn until one has them.

        Raises TemporaryFailure, NoSuchDomain, NoData.
        """
        settings = self._settings
        if settings.lookups[0] == "native":
            found = self._file_addresses(host, settings.families)
            return found or await self._names.addresses(host, settings.families)
        try:
            return await self._names.addresses(host, settings.families)
        except GatewayError:
            found = ()
            if "native" in settings.lookups:
                found = self._file_addresses(host, settings.families)
            if not found:
                raise
            return found


def _not_found(name: str, kind: str, detail: str = "", *, what: str = "Host not found") -> str:
    text = f"Host or domain name not found. Name service error for name={name} type={kind}: {what}"
    return f"{text}, {detail}" if detail else text


def _mx_loop(domain: str) -> _Trouble:
    return _Trouble(
        _LOOP,
        f"mail for {domain} loops back to myself (to deliver or relay it, see mydestination, "
        "relay_domains and transport_maps; if another host is taken for us, see inet_interfaces "
        "and proxy_interfaces)",
    )


def _host_loop(host: str) -> _Trouble:
    return _Trouble(
        _LOOP,
        f"mail for {host} loops back to myself (see transport_maps and relayhost for another "
        "next hop; if another host is taken for us, see inet_interfaces and proxy_interfaces)",
    )


def _port(text: str) -> int | None:
    if text.isascii() and text.isdigit():
        return int(text) if len(text) < 6 and 0 < int(text) < 65536 else None
    try:
        return socket.getservbyname(text, "tcp")
    except OSError:
        return {"smtp": 25, "lmtp": 24, "submission": 587}.get(text)
