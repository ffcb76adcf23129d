"""The forms of a next hop (postfix.md §1)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.routing.nexthop import BadNexthop, Hop, parse_lmtp_nexthop, parse_nexthop


@pytest.mark.parametrize(
    ("text", "hop"),
    [
        ("example.com", Hop("example.com", "", True)),
        ("example.com:587", Hop("example.com", "587", True)),
        ("example.com:submission", Hop("example.com", "submission", True)),
        ("[mail.example.com]", Hop("mail.example.com")),
        ("[mail.example.com]:26", Hop("mail.example.com", "26")),
        ("[192.0.2.1]", Hop("192.0.2.1", address="192.0.2.1")),
        ("192.0.2.1:25", Hop("192.0.2.1", "25", address="192.0.2.1")),
        ("[2001:DB8::1]", Hop("2001:DB8::1", address="2001:db8::1")),
        ("[ipv6:2001:db8::1]:26", Hop("ipv6:2001:db8::1", "26", address="2001:db8::1")),
    ],
)
def test_smtp(text: str, hop: Hop) -> None:
    """Brackets say "no MX"; a port follows a colon."""
    assert parse_nexthop(text) == (hop,)


def test_list() -> None:
    """Several destinations, by commas and blanks, keep their order."""
    hops = parse_nexthop(" a.test, [b.test]:26\tc.test ,d.test")
    assert [hop.host for hop in hops] == ["a.test", "b.test", "c.test", "d.test"]
    assert [hop.by_mx for hop in hops] == [True, False, True, True]


@pytest.mark.parametrize(
    ("text", "hop"),
    [
        ("unix:/run/dovecot/lmtp", Hop(path="/run/dovecot/lmtp")),
        ("unix:private/lmtp", Hop(path="private/lmtp")),
        ("inet:mail.test:2003", Hop("mail.test", "2003")),
        ("inet:[192.0.2.1]", Hop("192.0.2.1", address="192.0.2.1")),
        ("inet:127.0.0.1:24", Hop("127.0.0.1", "24", address="127.0.0.1")),
        ("mail.test", Hop("mail.test")),
    ],
)
def test_lmtp(text: str, hop: Hop) -> None:
    """LMTP goes to a socket or a host, never by MX."""
    assert parse_lmtp_nexthop(text) == (hop,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " , ",
        "[",
        "[]",
        "[a",
        "a]",
        "a:b:c",
        ":25",
        "2001:db8::1",
        "[a]b",
        "[a b]",
        "a\0b",
        "[a/b]",
    ],
)
def test_bad(text: str) -> None:
    """What means nothing is said to mean nothing."""
    with pytest.raises(BadNexthop):
        parse_nexthop(text)


def test_bad_lmtp() -> None:
    """A socket needs a path."""
    with pytest.raises(BadNexthop):
        parse_lmtp_nexthop("unix:")


@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    """Any text is hops or BadNexthop, and no hop holds blanks or controls."""
    for parse in (parse_nexthop, parse_lmtp_nexthop):
        with contextlib.suppress(BadNexthop):
            for hop in parse(text):
                assert not set(hop.host) & set(" \t\r\n\0,")
                assert hop.host or hop.path
