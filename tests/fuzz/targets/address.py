"""Addresses in external form, their rewriting, and the keys that tables are asked with."""

from __future__ import annotations

from gatewayd.address import Address, parse_address
from gatewayd.errors import AddressSyntaxError
from gatewayd.routing.rewrite import (
    RewriteRules,
    is_routed,
    literal_address,
    reinterpret,
    rewrite,
    strip_source_route,
    valid_domain,
    valid_local,
)
from gatewayd.tables.address_keys import recipient_keys, split_extension, transport_keys
from tests.fuzz.inputs import split, text

SEEDS = (
    b"joe+list@example.com",
    b'"quo ted\\" x"@example.com',
    b"@relay.one,@two:user%far.example@gw.example",
    b"far!away!user@[192.0.2.1]",
    b"owner-list-request@sub.example.co.uk.",
    b"j\xc3\xb6rg@b\xc3\xbccher.example",
    b"u@[IPv6:2001:db8::1]",
)
WORDS = (
    *(b"a", b"user", b"@", b"%", b"!", b'"', b"\\", b"example.com", b".", b"+", b"-", b":", b","),
    *(b"[", b"]", b"192.0.2.1", b"[IPv6:::1]", b" ", b"@a,@b:", b"\xc3\xa9", b"owner-", b"1"),
)
FOUND = (
    b"[@2.0.2.1.!\xb6\x86\xa8\xcck\x02\x99",
    b'"u"@@x>}y\x8e\xf5m\xe3\xa5',
)


def target(data: bytes) -> bool:
    """AddressSyntaxError or one meaning, which comes back from the form we write."""
    payload, decisions = split(data)
    source = text(payload)
    valid_domain(source)
    literal_address(source)
    try:
        address = parse_address(strip_source_route(source))
    except AddressSyntaxError:
        return False
    if address and (address.local or not address.domain):
        assert parse_address(str(address)) == address
    # The router asks nothing about longer domains.
    _check_keys(
        Address(address.local, address.domain[:255]), decisions.choice(("", "+", "-", "+-"))
    )
    rules = RewriteRules(
        "gw.example",
        "example",
        swap_bangpath=decisions.random() < 0.7,
        allow_percent_hack=decisions.random() < 0.7,
        append_dot_mydomain=decisions.random() < 0.3,
        resolve_null_domain=decisions.random() < 0.3,
        resolve_numeric_domain=decisions.random() < 0.3,
    )
    try:
        standard = rewrite(address, rules)
        if not rules.resolve_null_domain and not rules.append_dot_mydomain:
            assert rewrite(standard, rules) == standard
    except AddressSyntaxError:
        return True
    _take_apart(standard, rules)
    return bool(address.domain)


def _take_apart(address: Address, rules: RewriteRules) -> None:
    """Each step leaves less, so that the router's loop ends."""
    left: Address | None = address
    for _ in range(len(address.local) + 2):
        assert left is not None
        is_routed(left)
        valid_local(left.local, rules)
        try:
            inner = reinterpret(left.local, rules)
        except AddressSyntaxError:
            return
        if inner is None:
            return
        assert len(inner.local) < len(left.local)
        left = inner
    raise AssertionError("it has no end")


def _check_keys(address: Address, delimiters: str) -> None:
    user, extension = split_extension(address.local, delimiters)
    assert user + extension == address.local
    bound = 8 + address.domain.count(".")
    assert len(list(transport_keys(address, delimiters, False))) <= bound
    for is_local in (False, True):
        assert len(list(recipient_keys(address, delimiters, is_local=is_local))) <= 12
