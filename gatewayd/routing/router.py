"""The router: every recipient's address, class, transport and next hop (postfix.md §1).

    Address ─ rewrite ─► is its domain ours? ── yes ──► is the local part another address? ─ yes ┐
                 ▲                   │ no                      │ no                              │
                 └───────────────────│─────────────────────────│─────────────────────────────────┘
                                     ▼                         ▼
                       class (first list that has the domain), its transport and next hop
                                     ▼
                       transport_maps: the last word, but for virtual aliases

The relay check and the delivery both use the Resolution, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gatewayd.address import NULL, Address
from gatewayd.errors import AddressSyntaxError
from gatewayd.maillog import MailLog
from gatewayd.message import Route
from gatewayd.routing.classes import AddressClass, listing_of
from gatewayd.routing.rewrite import (
    RewriteRules,
    is_routed,
    literal_address,
    reinterpret,
    rewrite,
    valid_domain,
    valid_local,
)
from gatewayd.routing.transport_value import default_route, table_route
from gatewayd.tables.address_keys import Key, recipient_keys, transport_keys
from gatewayd.tables.maps import Maps
from gatewayd.tables.match_list import MatchList

if TYPE_CHECKING:
    from gatewayd.config.settings import Settings

__all__ = ["Resolution", "Router", "RouterSettings"]

log = MailLog("trivial-rewrite")

_REMEMBERED = 4096
_MALFORMED = ("5.1.3", "bad address syntax")
_NULL_SENDER_KEY = "<>"


@dataclass(frozen=True, slots=True)
class Resolution:
    """What an address came to.

    ``address`` is what is delivered to. ``routed``: its local part would be another destination
    to a host that follows ``@``, ``%`` or ``!`` there; nobody's but a trusted client's business.
    ``error`` is (RFC 3463 status, text) if the address can never be delivered because of its
    form; its route then is one to error:, so that mail for it is returned.
    """

    address: Address
    address_class: AddressClass
    route: Route
    routed: bool = False
    error: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """The router's parameters that are no tables."""

    rules: RewriteRules
    myhostname: str
    local_transport: str = "local:localhost"
    virtual_transport: str = "virtual"
    relay_transport: str = "relay"
    default_transport: str = "smtp"
    relayhost: str = ""
    recipient_delimiter: str = ""
    plain_parents: bool = False
    alias_error: str = "User unknown in virtual alias table"


@dataclass(frozen=True, slots=True)
class RouterTables:
    """The router's lists and tables. ``stable``: no list of domains holds a table."""

    local: MatchList
    alias: MatchList
    virtual: MatchList
    relay: MatchList
    transport: Maps
    sender_relayhost: Maps
    sender_transport: Maps
    stable: bool = False


@dataclass(frozen=True, slots=True)
class _Domain:
    """What is known of a domain without looking at the local part."""

    address_class: AddressClass
    valid: bool


class Router:
    """Resolves addresses. ``own_addresses``: IP addresses (standard text) that are this host."""

    def __init__(
        self,
        settings: RouterSettings,
        tables: RouterTables,
        own_addresses: Iterable[str] = (),
    ) -> None:
        self.settings = settings
        self._rules = settings.rules
        self._tables = tables
        self._own_addresses = frozenset(own_addresses)
        self._domains: dict[str, _Domain] = {}

    @classmethod
    def from_settings(cls, settings: Settings, own_addresses: Iterable[str] = ()) -> Router:
        """Raises ConfigError for tables that cannot be."""
        return cls(_settings(settings), _tables(settings), own_addresses)

    def rewritten(self, address: Address) -> Address:
        """The standard form of an address, senders' too. Raises AddressSyntaxError."""
        return rewrite(address, self._rules)

    async def resolve(self, recipient: Address, sender: Address = NULL) -> Resolution:
        """The recipient as it will be delivered. Raises TableError: then it cannot be told now."""
        try:
            address, domain = await self._reduced(rewrite(recipient or self._nobody(), self._rules))
        except AddressSyntaxError:
            return _malformed(recipient)
        if not domain.valid or not valid_local(address.local, self._rules):
            return _malformed(address)
        return Resolution(
            address,
            domain.address_class,
            await self._route(address, domain.address_class, sender),
            is_routed(address),
        )

    async def class_of(self, address: Address) -> AddressClass:
        """Only the class, for senders. Raises TableError, AddressSyntaxError."""
        _, domain = await self._reduced(rewrite(address, self._rules))
        return domain.address_class

    def _nobody(self) -> Address:
        return Address(self._rules.empty_address_recipient, "")

    async def _reduced(self, address: Address) -> tuple[Address, _Domain]:
        """The address that is left once all our own domains are taken off its end."""
        while True:
            if not address.domain:
                address = Address(address.local, self.settings.myhostname)
            domain = self._domains.get(address.domain) or await self._domain(address.domain)
            if domain.address_class is not AddressClass.LOCAL:
                return address, domain
            if not address.local:
                return Address(self._rules.empty_address_recipient, address.domain), domain
            inner = reinterpret(address.local, self._rules)
            if inner is None:
                return address, domain
            # A bare user inside stays in the domain that it was found in.
            address = inner if inner.domain else Address(inner.local, address.domain)

    async def _domain(self, name: str) -> _Domain:
        """Class and form of a domain; remembered if no table is in it that might change."""
        valid = valid_domain(name)
        address_class = await self._class_of_domain(name) if valid else AddressClass.DEFAULT
        domain = _Domain(address_class, valid)
        if self._tables.stable:
            if len(self._domains) >= _REMEMBERED:
                self._domains.clear()
            self._domains[name] = domain
        return domain

    async def _class_of_domain(self, name: str) -> AddressClass:
        tables = self._tables
        if name[0] == "[" and literal_address(name) in self._own_addresses:
            return AddressClass.LOCAL
        if await tables.local.matches(name):
            return AddressClass.LOCAL
        if tables.alias and await tables.alias.matches(name):
            return AddressClass.ALIAS
        if tables.virtual and await tables.virtual.matches(name):
            return AddressClass.VIRTUAL
        if tables.relay and await tables.relay.matches(name):
            return AddressClass.RELAY
        return AddressClass.DEFAULT

    async def _route(self, address: Address, address_class: AddressClass, sender: Address) -> Route:
        if address_class is AddressClass.ALIAS:
            return Route("error", f"5.1.1 {self.settings.alias_error}")
        route = await self._class_route(address.domain, address_class, sender)
        maps = self._tables.transport
        if maps:
            keys = transport_keys(
                address, self.settings.recipient_delimiter, self.settings.plain_parents
            )
            found = await maps.find_first(keys)
            if found is not None:
                return table_route(found.value, address.domain, route)
        return route

    async def _class_route(
        self, domain: str, address_class: AddressClass, sender: Address
    ) -> Route:
        settings = self.settings
        if address_class is AddressClass.LOCAL:
            return default_route(settings.local_transport, domain)
        if address_class is AddressClass.VIRTUAL:
            return default_route(settings.virtual_transport, domain)
        nexthop = settings.relayhost or domain
        transport = settings.relay_transport
        if self._tables.sender_relayhost:
            own = await self._by_sender(self._tables.sender_relayhost, sender)
            nexthop = own or nexthop
        if address_class is AddressClass.DEFAULT:
            transport = settings.default_transport
            if self._tables.sender_transport:
                transport = (
                    await self._by_sender(self._tables.sender_transport, sender) or transport
                )
        return default_route(transport, nexthop)

    async def _by_sender(self, maps: Maps, sender: Address) -> str:
        """A sender-dependent table's value; "" if it has nothing to say."""
        keys: Iterable[Key] = (Key(_NULL_SENDER_KEY),)
        if sender:
            keys = await self._sender_keys(sender)
        found = await maps.find_first(keys)
        if found is None or found.value.upper() == "DUNNO":
            return ""
        if not found.value:
            log.warning(f"{found.table}: empty value for {found.key}: ignored")
        return found.value

    async def _sender_keys(self, sender: Address) -> Iterable[Key]:
        try:
            sender = rewrite(sender, self._rules)
            is_local = await self.class_of(sender) is AddressClass.LOCAL
        except AddressSyntaxError:
            is_local = False
        return recipient_keys(sender, self.settings.recipient_delimiter, is_local=is_local)


def _malformed(address: Address) -> Resolution:
    status, text = _MALFORMED
    route = Route("error", f"{status} {text}")
    return Resolution(address, AddressClass.DEFAULT, route, is_routed(address), _MALFORMED)


def _settings(settings: Settings) -> RouterSettings:
    listing = listing_of(AddressClass.ALIAS)
    shown = listing is not None and settings.flag("show_user_unknown_table_name")
    return RouterSettings(
        rules=RewriteRules.from_settings(settings),
        myhostname=settings.text("myhostname"),
        local_transport=settings.text("local_transport"),
        virtual_transport=settings.text("virtual_transport"),
        relay_transport=settings.text("relay_transport"),
        default_transport=settings.text("default_transport"),
        relayhost=settings.text("relayhost"),
        recipient_delimiter=settings.text("recipient_delimiter"),
        plain_parents="transport_maps" in settings.words("parent_domain_matches_subdomains"),
        alias_error=listing.text if listing and shown else "User unknown",
    )


_DOMAIN_LISTS = (
    "mydestination",
    "virtual_alias_domains",
    "virtual_mailbox_domains",
    "relay_domains",
)


def _tables(settings: Settings) -> RouterTables:
    parents = settings.words("parent_domain_matches_subdomains")
    local, alias, virtual = (
        MatchList.open(_whole_names(settings.words(name)), name) for name in _DOMAIN_LISTS[:3]
    )
    name = "relay_domains"
    relay = MatchList.open(settings.words(name), name, parents=name in parents)
    return RouterTables(
        local,
        alias,
        virtual,
        relay,
        transport=Maps.open(settings.words("transport_maps")),
        sender_relayhost=Maps.open(settings.words("sender_dependent_relayhost_maps")),
        sender_transport=Maps.open(settings.words("sender_dependent_default_transport_maps")),
        stable=not any(
            ":" in word or word.lstrip("!").startswith("/")
            for name in _DOMAIN_LISTS
            for word in settings.words(name)
        ),
    )


def _whole_names(words: Iterable[str]) -> list[str]:
    """Without ``.domain``: it stands for subdomains in relay_domains, for nothing in the others."""
    return [word for word in words if word.lstrip("!")[:1] != "."]
