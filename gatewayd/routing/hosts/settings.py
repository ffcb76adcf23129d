"""The parameters by which an SMTP or LMTP transport finds its servers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gatewayd.errors import ConfigError, ConfigProblem
from gatewayd.routing.hosts.own_addresses import own_addresses
from gatewayd.routing.nexthop import BadNexthop, parse_nexthop
from gatewayd.tables.address_keys import fold

if TYPE_CHECKING:
    from gatewayd.config.settings import Settings

__all__ = ["HostSettings"]


@dataclass(frozen=True, slots=True)
class HostSettings:
    """How servers are found.

    ``lookups``: where addresses come from, in order: "dns", or "native", which is the hosts file
    and then the DNS, as nsswitch.conf has it on most systems. ``use_mx``: whether MX records are
    asked for. ``own``: all addresses that reach us, in standard text.
    """

    lmtp: bool = False
    default_port: str = "smtp"
    families: tuple[str, ...] = ("ipv4", "ipv6")
    use_mx: bool = True
    lookups: tuple[str, ...] = ("dns",)
    address_limit: int = 5
    randomize: bool = True
    preferred: str = "any"
    balance: bool = True
    own: frozenset[str] = frozenset()
    myhostname: str = ""
    relayhost: str = ""
    fallback: tuple[str, ...] = ()
    defer_if_no_address: bool = False
    ignore_mx_error: bool = False

    @classmethod
    def from_settings(
        cls, settings: Settings, own: frozenset[str] | None = None, *, lmtp: bool = False
    ) -> HostSettings:
        """As main.cf says, for SMTP or LMTP. Raises ConfigError.

        ``own`` defaults to what inet_interfaces and proxy_interfaces stand for.
        """
        prefix = "lmtp" if lmtp else "smtp"
        if own is None:
            own = own_addresses(
                settings.words("inet_interfaces"), settings.words("proxy_interfaces")
            )
        level = settings.text(f"{prefix}_dns_support_level")
        disabled = level == "disabled" or (not level and settings.flag("disable_dns_lookups"))
        return cls(
            lmtp=lmtp,
            default_port=settings.text(f"{prefix}_tcp_port"),
            families=_families(settings.words("inet_protocols")),
            use_mx=not (disabled or lmtp),
            lookups=("native",) if disabled else _lookups(settings, f"{prefix}_host_lookup"),
            address_limit=settings.number(f"{prefix}_mx_address_limit"),
            randomize=settings.flag(f"{prefix}_randomize_addresses"),
            preferred=settings.text("smtp_address_preference"),
            balance=settings.flag("smtp_balance_inet_protocols"),
            own=own,
            myhostname=fold(settings.text("myhostname")),
            relayhost=settings.text("relayhost"),
            fallback=() if lmtp else _fallback(settings),
            defer_if_no_address=settings.flag(f"{prefix}_defer_if_no_mx_address_found"),
            ignore_mx_error=settings.flag("ignore_mx_lookup_error"),
        )


def _families(protocols: tuple[str, ...]) -> tuple[str, ...]:
    found = tuple(f for f in ("ipv4", "ipv6") if f in protocols or "all" in protocols)
    if not found:
        raise _bad("inet_protocols", "expected all, ipv4 or ipv6")
    return found


def _lookups(settings: Settings, name: str) -> tuple[str, ...]:
    found = settings.words(name)
    if not found or not {"dns", "native"}.issuperset(found):
        raise _bad(name, "expected dns, native, or both in the order wanted")
    return found


def _fallback(settings: Settings) -> tuple[str, ...]:
    name = "smtp_fallback_relay"
    words = settings.words(name)
    for word in words:
        try:
            parse_nexthop(word)
        except BadNexthop as error:
            raise _bad(name, str(error)) from None
    return words


def _bad(name: str, text: str) -> ConfigError:
    return ConfigError([ConfigProblem("main.cf", 0, f"{name}: {text}")])
