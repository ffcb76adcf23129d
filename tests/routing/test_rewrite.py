"""Rewriting: the forms one by one, and what holds for every address."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.address import NULL, Address
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

_RULES = RewriteRules(myorigin="origin.test", mydomain="my.test")


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("@a.test:u@b.test", "u@b.test"),
        ("@a.test,@c.test:u@b.test", "u@b.test"),
        ("@a.test, @c.test:u", "u"),
        ("@a.test", "@a.test"),
        ("u@a.test:x", "u@a.test:x"),
        ("", ""),
        ("@:u", "u"),
    ],
)
def test_source_routes_are_stripped(text: str, bare: str) -> None:
    """RFC 5321 appendix C: ignored; what only looks like one stays."""
    assert strip_source_route(text) == bare


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (NULL, NULL),
        (Address("u"), Address("u", "origin.test")),
        (Address("u", "a.test"), Address("u", "a.test")),
        (Address("u", "a.test."), Address("u", "a.test")),
        (Address("u", "a.test.."), Address("u", "a.test..")),
        (Address("u", "."), Address("u", ".")),
        (Address("u%b.test"), Address("u", "b.test")),
        (Address("u%b%c"), Address("u%b", "c")),
        (Address("b.test!u"), Address("u", "b.test")),
        (Address("b!c!u"), Address("c!u", "b")),
        (Address("b!u%c"), Address("u%c", "b")),
        (Address("u%b", "c.test"), Address("u%b", "c.test")),
        (Address("u", "host"), Address("u", "host")),
    ],
)
def test_rewriting(given_: Address, expected: Address) -> None:
    """Operators count only where no domain is."""
    assert rewrite(given_, _RULES) == expected


def test_rewriting_by_parameters() -> None:
    """Each of them does one thing."""
    rules = RewriteRules("o", "my.test", append_dot_mydomain=True)
    assert rewrite(Address("u", "host"), rules) == Address("u", "host.my.test")
    assert rewrite(Address("u", "[1.2.3.4]"), rules) == Address("u", "[1.2.3.4]")
    rules = RewriteRules("o", swap_bangpath=False, allow_percent_hack=False)
    assert rewrite(Address("a!u%b"), rules) == Address("a!u%b", "o")
    assert rewrite(Address("u"), RewriteRules("o", append_at_myorigin=False)) == Address("u")
    rules = RewriteRules("o", resolve_numeric_domain=True)
    assert rewrite(Address("u", "1.2.3.4"), rules) == Address("u", "[1.2.3.4]")
    assert rewrite(Address("u", "1.2.3.4."), rules) == Address("u", "[1.2.3.4]")


@pytest.mark.parametrize("local", ["!u", "u%"])
def test_an_operator_without_domain_is_an_error(local: str) -> None:
    """Unless null domains are ours."""
    with pytest.raises(AddressSyntaxError):
        rewrite(Address(local), _RULES)
    with pytest.raises(AddressSyntaxError):
        reinterpret(local, _RULES)
    lenient = RewriteRules("o", resolve_null_domain=True)
    assert reinterpret(local, lenient) == Address("u")
    assert reinterpret("u@", lenient) == Address("u")
    assert reinterpret("u" + "@" * 2000, lenient) == Address("u")
    assert reinterpret("u@b" + "@" * 2000, lenient) == Address("u", "b")


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("a.test", True),
        ("a_b._tcp.test", True),
        ("1a", True),
        ("123", False),
        ("1.2.3.4", False),
        ("a..b", False),
        (".a", False),
        ("a.", False),
        ("-a.test", False),
        ("a-.test", False),
        ("a" * 63 + ".test", True),
        ("a" * 64 + ".test", False),
        (".".join(["a" * 49] * 5), True),
        (".".join(["a" * 60] * 5), False),
        ("", False),
        ("a b", False),
        ("a\n", False),
        ("a\0", False),
        ("b\u00fccher.test", True),
        ("a\u3002test", False),
        ("a\uff0etest", False),
        ("a\uff61test", False),
        ("a\u2028b", False),
        ("a\u200bb", False),
        ("a\udcffb", False),
        ("[1.2.3.4]", True),
        ("[1.2.3]", False),
        ("[IPv6:::1]", True),
        ("[IPv6:fe80::1%eth0]", False),
        ("[::1]", False),
        ("[1.2.3.4", False),
        ("[]", False),
        ("[text]", False),
    ],
)
def test_domains(name: str, valid: bool) -> None:
    """What can be looked up, and what cannot be one."""
    assert valid_domain(name) is valid


def test_literals_have_one_text() -> None:
    """However an address was written, it compares equal."""
    assert literal_address("[ipv6:2001:DB8:0::1]") == "2001:db8::1"
    assert literal_address("[127.0.0.1]") == "127.0.0.1"
    assert literal_address("[127.0.0.01]") is None


def test_local_parts() -> None:
    """No option for a command, no surrogate."""
    assert valid_local("u", _RULES)
    assert valid_local("\u00fc", _RULES)
    assert not valid_local("-u", _RULES)
    assert not valid_local("u\udc80", _RULES)
    assert valid_local("-u", RewriteRules("o", allow_min_user=True))


_LOCALS = st.text(st.sampled_from('ab@%!."\\ :,[]-\u00fc'), max_size=12)


@given(_LOCALS)
def test_taking_addresses_apart_ends(local: str) -> None:
    """Each step leaves less; what is left at the end holds no operator that we follow."""
    while True:
        try:
            inner = reinterpret(local, _RULES)
        except AddressSyntaxError:
            return
        if inner is None:
            break
        assert len(inner.local) < len(local)
        local = inner.local
    assert not is_routed(Address(local, "gw.test"))


@given(st.text(max_size=20), st.text(max_size=20))
def test_rewriting_twice_changes_nothing(local: str, domain: str) -> None:
    """The standard form is one."""
    try:
        once = rewrite(Address(local, domain), _RULES)
    except AddressSyntaxError:
        return
    assert rewrite(once, _RULES) == once


@given(st.text(max_size=300))
def test_any_text_is_judged_quickly(text: str) -> None:
    """No form makes the patterns go astray."""
    valid_domain(text)
    valid_domain("a-" * 200 + text)
    strip_source_route("@" + text)
