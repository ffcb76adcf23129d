"""From a next hop to the servers to try, in order (postfix.md §7)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Protocol

from gatewayd.errors import GatewayError, NexthopUnavailable
from gatewayd.routing.dns import NoData, NoSuchDomain, TemporaryFailure
from gatewayd.routing.mx import (
    Candidate,
    Loop,
    MxRecord,
    arrange,
    is_null_mx,
    without_loops,
)
from gatewayd.routing.nexthop import BadNexthop, Hop, parse_lmtp_nexthop, parse_nexthop

if TYPE_CHECKING:
    from gatewayd.config.settings import Settings

__all__ = ["HostSettings", "Hosts", "NameLookup", "NexthopRefused", "Server"]

_SMTP_PORT = 25


class NexthopRefused(GatewayError):
    """Mail for the next hop can never be delivered: ``status`` (class 5) and ``text`` say why."""

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


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


class NameLookup(Protocol):
    """What is asked of the DNS; ``gatewayd.routing.dns.Resolver`` does it."""

    async def mx(self, domain: str) -> tuple[MxRecord, ...]: ...

    async def addresses(self, host: str, families: Sequence[str]) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class HostSettings:
    """How servers are found. ``own``: all addresses that reach us."""

    lmtp: bool = False
    default_port: str = "smtp"
    families: tuple[str, ...] = ("ipv4", "ipv6")
    use_dns: bool = True
    use_files: bool = False
    address_limit: int = 5
    randomize: bool = True
    preferred: str = "any"
    balance: bool = True
    own: frozenset[str] = frozenset()
    myhostname: str = ""
    fallback: tuple[str, ...] = ()
    defer_if_no_address: bool = False
    ignore_mx_error: bool = False

    @classmethod
    def from_settings(
        cls, settings: Settings, own: frozenset[str], *, lmtp: bool = False
    ) -> HostSettings:
        """As main.cf says, for SMTP or LMTP. Raises ConfigError."""
        prefix = "lmtp" if lmtp else "smtp"
        protocols = set(settings.words("inet_protocols"))
        families = [f for f in ("ipv4", "ipv6") if f in protocols or "all" in protocols]
        lookup = settings.words(f"{prefix}_host_lookup")
        disabled = settings.text(f"{prefix}_dns_support_level") == "disabled"
        return cls(
            lmtp=lmtp,
            default_port=settings.text(f"{prefix}_tcp_port"),
            families=tuple(families),
            use_dns=not (disabled or settings.flag("disable_dns_lookups")),
            use_files="native" in lookup or disabled,
            address_limit=settings.number(f"{prefix}_mx_address_limit"),
            randomize=settings.flag(f"{prefix}_randomize_addresses"),
            preferred=settings.text("smtp_address_preference"),
            balance=settings.flag("smtp_balance_inet_protocols"),
            own=own,
            myhostname=settings.text("myhostname"),
            fallback=() if lmtp else settings.words("smtp_fallback_relay"),
            defer_if_no_address=settings.flag(f"{prefix}_defer_if_no_mx_address_found"),
            ignore_mx_error=settings.flag("ignore_mx_lookup_error"),
        )


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Why one destination gave no server."""

    status: str
    text: str

    def error(self) -> GatewayError:
        if self.status.startswith("4"):
            return NexthopUnavailable(self.status, self.text)
        return NexthopRefused(self.status, self.text)


class Hosts:
    """The way from a next hop to servers."""

    def __init__(
        self,
        settings: HostSettings,
        names: NameLookup,
        random: Random,
        file_addresses: Callable[[str, Sequence[str]], tuple[str, ...]] = lambda *_: (),
    ) -> None:
        self._settings = settings
        self._names = names
        self._random = random
        self._file_addresses = file_addresses

    async def servers(self, nexthop: str) -> tuple[Server, ...]:
        """Servers to try, best first, fallback relays last.

        Raises NexthopUnavailable for now, NexthopRefused for good.
        """
        try:
            parse = parse_lmtp_nexthop if self._settings.lmtp else parse_nexthop
            hops = parse(nexthop)
        except BadNexthop as error:
            raise NexthopUnavailable("4.3.5", f"bad next hop: {error}") from None
        found: list[Server] = []
        trouble: _Trouble | None = None
        may_fall_back = True
        for hop in hops:
            outcome = await self._destination(hop)
            if isinstance(outcome, _Trouble):
                trouble = trouble or outcome
                may_fall_back = may_fall_back and not outcome.status.endswith(".4.6")
            else:
                found += outcome
        if may_fall_back:
            found += await self._fallbacks()
        if found:
            return tuple(found)
        assert trouble is not None
        raise trouble.error()

    async def _fallbacks(self) -> list[Server]:
        servers: list[Server] = []
        for text in self._settings.fallback:
            try:
                (hop,) = parse_nexthop(text)
            except BadNexthop as error:
                raise NexthopUnavailable("4.3.5", f"smtp_fallback_relay: {error}") from None
            outcome = await self._destination(hop)
            if not isinstance(outcome, _Trouble):
                servers += [
                    Server(each.name, each.address, each.port, each.best_mx, fallback=True)
                    for each in outcome
                ]
        return servers

    async def _destination(self, hop: Hop) -> list[Server] | _Trouble:
        if hop.path:
            return [Server(hop.path, hop.path, 0)]
        port = _port(hop.port or self._settings.default_port)
        if port is None:
            return _Trouble("4.3.5", f'unknown service: "{hop.port}/tcp"')
        if hop.address:
            candidates: Sequence[Candidate] | _Trouble = [Candidate(0, hop.host, hop.address)]
            if port == _SMTP_PORT and hop.address in self._settings.own:
                return self._loop(hop.host)
        elif hop.by_mx and self._settings.use_dns:
            candidates = await self._by_mx(hop.host, check_loop=port == _SMTP_PORT)
        else:
            candidates = await self._by_host(hop.host, check_loop=port == _SMTP_PORT)
        if isinstance(candidates, _Trouble):
            return candidates
        return self._in_order(candidates, port)

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

    def _loop(self, name: str) -> _Trouble:
        hint = (
            f"mail for {name} loops back to myself; if this is to be its final destination or a "
            "relay for it, see mydestination, relay_domains and transport_maps; if another host's "
            "address is taken for ours, see inet_interfaces and proxy_interfaces"
        )
        return _Trouble("5.4.6", hint)

    async def _by_mx(self, domain: str, *, check_loop: bool) -> Sequence[Candidate] | _Trouble:
        text = f"Host or domain name not found. Name service error for name={domain} type=MX"
        try:
            records = await self._names.mx(domain)
        except NoData:
            return await self._by_host(domain, check_loop=check_loop)
        except NoSuchDomain:
            return _Trouble("5.4.4", f"{text}: Host not found")
        except TemporaryFailure as error:
            if self._settings.ignore_mx_error:
                return await self._by_host(domain, check_loop=check_loop)
            return _Trouble("4.4.3", f"{text}: Host not found, try again ({error})")
        if is_null_mx(records):
            return _Trouble("5.1.0", f"Domain {domain} does not accept mail (nullMX)")
        candidates, temporary = await self._resolved(records)
        if candidates and check_loop:
            try:
                candidates = list(without_loops(candidates, records, self._settings.own))
            except Loop as loop:
                if loop.unreachable:
                    return _Trouble("4.4.4", f"unable to find primary relay for {domain}")
                return self._loop(domain)
        if candidates:
            return candidates
        if temporary or self._settings.defer_if_no_address:
            return _Trouble("4.4.3", f"no address found now for the MX hosts of {domain}")
        return _Trouble("5.4.4", f"unable to look up any MX host of {domain}: Host not found")

    async def _resolved(self, records: Sequence[MxRecord]) -> tuple[list[Candidate], bool]:
        """The addresses of MX hosts, best hosts first; and whether some couldn't be told now."""
        candidates: list[Candidate] = []
        temporary = False
        for record in sorted(records, key=lambda each: each.preference):
            try:
                addresses = await self._addresses(record.host)
            except TemporaryFailure:
                temporary = True
                continue
            except (NoSuchDomain, NoData):
                continue
            candidates += [Candidate(record.preference, record.host, a) for a in addresses]
        return candidates, temporary

    async def _by_host(self, host: str, *, check_loop: bool) -> Sequence[Candidate] | _Trouble:
        text = f"Host or domain name not found. Name service error for name={host} type=A"
        try:
            addresses = await self._addresses(host)
        except TemporaryFailure as error:
            return _Trouble("4.4.3", f"{text}: Host not found, try again ({error})")
        except (NoSuchDomain, NoData):
            return _Trouble("5.4.4", f"{text}: Host not found")
        if check_loop and self._settings.own.intersection(addresses):
            return self._loop(host)
        return [Candidate(0, host, address) for address in addresses]

    async def _addresses(self, host: str) -> tuple[str, ...]:
        if self._settings.use_files:
            found = self._file_addresses(host, self._settings.families)
            if found:
                return found
            if not self._settings.use_dns:
                raise NoSuchDomain(f"{host} is not in the hosts file")
        return await self._names.addresses(host, self._settings.families)


def _port(text: str) -> int | None:
    if text.isascii() and text.isdigit():
        return int(text) if 0 < int(text) < 65536 else None
    try:
        return socket.getservbyname(text, "tcp")
    except OSError:
        return {"smtp": 25, "lmtp": 24, "submission": 587}.get(text)
