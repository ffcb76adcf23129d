"""What an address means before anything is looked up: trivial rewriting and routing operators.

Two rules keep the relay check and the delivery of one mind (docs/spec: postfix.md §1):

- an address is rewritten once, on arrival, into ``(local part, domain)``;
- while its domain is one of ours, the local part may hold another address, and then *that* is
  the recipient: ``u%far@gw``, ``far!u@gw`` and ``"u@far"@gw`` are all u@far. The router drives
  that loop, since only it knows which domains are ours; each step of it is here.

Where the domain is not ours, operators in the local part are left alone but noticed
(``is_routed``), because the next host might follow them for a stranger.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from gatewayd.address import Address, quote_local
from gatewayd.errors import AddressSyntaxError

if TYPE_CHECKING:
    from gatewayd.config.settings import Settings

__all__ = [
    "RewriteRules",
    "is_routed",
    "literal_address",
    "reinterpret",
    "rewrite",
    "strip_source_route",
    "valid_domain",
    "valid_local",
]

_OPERATOR = re.compile(r"[@!%]")
_SOURCE_ROUTE = re.compile(r"@[^,:@]*(?:,[ ]*@[^,:@]*)*:")

# Labels as Postfix takes them: letters, digits, "_" and inner "-"; at least one character of
# the name is no digit, so that a bare 192.0.2.1 is no name. Above ASCII: RFC 6531 U-labels, but
# neither blanks, the other full stops that IDNA maps to ".", nor surrogates (not UTF-8).
_ALNUM = r"0-9A-Za-z_\u00a1-\u1fff\u2070-\u2fff\u3003-\ud7ff\uf900-\uff0d\uff0f-\uff60\uff62-\uffef"
_WIDE = "\U00010000-\U000e0fff"
_LABEL = rf"[{_ALNUM}{_WIDE}](?:[-{_ALNUM}{_WIDE}]{{0,61}}[{_ALNUM}{_WIDE}])?"
_HOSTNAME = re.compile(rf"(?![0-9.]+\Z)(?=.{{1,255}}\Z){_LABEL}(?:\.{_LABEL})*\Z")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class RewriteRules:
    """The parameters of rewriting, under Postfix's names."""

    myorigin: str
    mydomain: str = ""
    append_at_myorigin: bool = True
    append_dot_mydomain: bool = False
    swap_bangpath: bool = True
    allow_percent_hack: bool = True
    allow_min_user: bool = False
    resolve_dequoted_address: bool = True
    resolve_null_domain: bool = False
    resolve_numeric_domain: bool = False
    empty_address_recipient: str = "MAILER-DAEMON"

    @classmethod
    def from_settings(cls, settings: Settings) -> RewriteRules:
        return cls(
            myorigin=settings.text("myorigin"),
            mydomain=settings.text("mydomain"),
            append_at_myorigin=settings.flag("append_at_myorigin"),
            append_dot_mydomain=settings.flag("append_dot_mydomain"),
            swap_bangpath=settings.flag("swap_bangpath"),
            allow_percent_hack=settings.flag("allow_percent_hack"),
            allow_min_user=settings.flag("allow_min_user"),
            resolve_dequoted_address=settings.flag("resolve_dequoted_address"),
            resolve_null_domain=settings.flag("resolve_null_domain"),
            resolve_numeric_domain=settings.flag("resolve_numeric_domain"),
            empty_address_recipient=settings.text("empty_address_recipient"),
        )


def strip_source_route(text: str) -> str:
    """External text of an address without RFC 5321 appendix C's ``@a,@b:`` in front."""
    if not text.startswith("@"):
        return text
    match = _SOURCE_ROUTE.match(text)
    return text[match.end() :] if match else text


def rewrite(address: Address, rules: RewriteRules) -> Address:
    """The address in its standard form; the null address stays as it is.

    Raises AddressSyntaxError if an operator names no domain (``!user``).
    """
    if not address.domain:
        if not address.local:
            return address
        address = _qualify(address.local, rules)
    return _tidy(address, rules)


def _qualify(local: str, rules: RewriteRules) -> Address:
    inner = _unroute(local, rules)
    if inner is not None:
        return inner
    return Address(local, rules.myorigin if rules.append_at_myorigin else "")


def _tidy(address: Address, rules: RewriteRules) -> Address:
    """With the domain completed or without its trailing dot, whichever it needs."""
    domain = address.domain
    if not domain or domain[0] == "[":
        return address
    if domain[-1] == "." and len(domain) > 1 and domain[-2] != ".":
        domain = domain[:-1]
    elif rules.append_dot_mydomain and "." not in domain:
        domain = f"{domain}.{rules.mydomain}"
    if rules.resolve_numeric_domain and literal_address(f"[{domain}]"):
        domain = f"[{domain}]"
    return address if domain is address.domain else Address(address.local, domain)


def _unroute(local: str, rules: RewriteRules) -> Address | None:
    """What ``site!user`` or ``user%site`` stands for; None if it is no such form."""
    if rules.swap_bangpath and "!" in local:
        site, _, user = local.partition("!")
    elif rules.allow_percent_hack and "%" in local:
        user, _, site = local.rpartition("%")
    else:
        return None
    if not site and not rules.resolve_null_domain:
        raise AddressSyntaxError(f"no domain in address {local!r}")
    return Address(user, site)


def reinterpret(local: str, rules: RewriteRules) -> Address | None:
    """The address that the local part of one of our own domains is, or None if it is a user.

    Raises AddressSyntaxError if an operator names no domain.
    """
    if not _OPERATOR.search(local):
        return None
    if not rules.resolve_dequoted_address and quote_local(local) != local:
        return None
    if local[0] == "@":
        raise AddressSyntaxError(f"source route within address {local!r}")
    if "@" in local:
        user, _, domain = local.rpartition("@")
        if domain:
            return _tidy(Address(user, domain), rules)
        if not rules.resolve_null_domain:
            raise AddressSyntaxError(f"no domain after the @ in address {local!r}")
        user = user.rstrip("@")
        return reinterpret(user, rules) or Address(user, "")
    inner = _unroute(local, rules)
    return None if inner is None else _tidy(inner, rules)


def is_routed(address: Address) -> bool:
    """Whether the local part would mean another destination to a host that follows operators."""
    return _OPERATOR.search(address.local) is not None


def valid_domain(name: str) -> bool:
    """Whether a host could be looked up for it: a name, or an address in brackets."""
    if name[:1] == "[":
        return literal_address(name) is not None
    return _HOSTNAME.match(name) is not None


def valid_local(local: str, rules: RewriteRules) -> bool:
    """False for what a command might take for an option, and for what is no UTF-8."""
    if local[:1] == "-" and not rules.allow_min_user:
        return False
    return local.isascii() or _SURROGATE.search(local) is None


def literal_address(domain: str) -> str | None:
    """The IP address in ``[192.0.2.1]`` or ``[IPv6:2001:db8::1]``, in its standard text."""
    if len(domain) < 3 or domain[0] != "[" or domain[-1] != "]":
        return None
    text = domain[1:-1]
    try:
        if text[:5].upper() == "IPV6:":
            # A zone index is nothing for the wire (RFC 5321 §4.1.3).
            return None if "%" in text else str(IPv6Address(text[5:]))
        return str(IPv4Address(text))
    except ValueError:
        return None
