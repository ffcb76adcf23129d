"""Order, limits and loops of mail exchangers (postfix.md §7)."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.routing.mx import (
    Candidate,
    Loop,
    MxRecord,
    OwnIdentity,
    arrange,
    is_null_mx,
    without_loops,
)

US = OwnIdentity(frozenset({"192.0.2.25", "2001:db8::25"}), frozenset({"gw.example.com"}))


def found(*rows: tuple[int, str, str]) -> list[Candidate]:
    return [Candidate(*row) for row in rows]


def records(*rows: tuple[int, str]) -> list[MxRecord]:
    return [MxRecord(*row) for row in rows]


def test_null_mx() -> None:
    """One record of the root is a null MX; beside others it's only a bad host."""
    assert is_null_mx(records((0, "")))
    assert not is_null_mx(records((0, ""), (10, "mx.test")))
    assert not is_null_mx(records((0, "mx.test")))


def test_nobody_of_us() -> None:
    """Without us among them, all stay."""
    some = found((10, "a", "198.51.100.1"), (20, "b", "198.51.100.2"))
    assert without_loops(some, records((10, "a"), (20, "b")), US) == tuple(some)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("x", "192.0.2.25"),
        ("x", "2001:db8::25"),
        ("x", "::ffff:192.0.2.25"),
        ("GW.example.com", "203.0.113.9"),
        ("x", "127.0.0.53"),
        ("x", "::1"),
        ("x", "0.0.0.0"),
        ("x", "::"),
        ("x", "::ffff:127.0.0.1"),
    ],
)
def test_backup_mx(host: str, address: str) -> None:
    """By whatever sign we know ourselves: only strictly better hosts are left."""
    rows = found((10, "a", "198.51.100.1"), (20, host, address), (20, "c", "198.51.100.3"))
    rows += found((30, "d", "198.51.100.4"))
    all_records = records((10, "a"), (20, host), (20, "c"), (30, "d"))
    assert without_loops(rows, all_records, US) == (rows[0],)
    with pytest.raises(Loop) as loop:
        without_loops(rows[1:], all_records[1:], US)
    assert not loop.value.unreachable
    with pytest.raises(Loop) as loop:
        without_loops(rows[1:], all_records, US)
    assert loop.value.unreachable


def test_our_name_without_address() -> None:
    """We know our own name among the records even if its address can't be looked up."""
    rows = found((30, "d", "198.51.100.4"))
    with pytest.raises(Loop):
        without_loops(rows, records((20, "gw.example.com"), (30, "d")), US)


def test_both_families() -> None:
    """Where the limit cuts, both families keep a place; limit 1 takes the best."""
    six = found(*((10, f"s{n}", f"2001:db8::{n + 1}") for n in range(9)))
    four = found((20, "f", "198.51.100.1"))
    chosen = arrange(six + four, random=None, limit=5)
    assert chosen == (*six[:4], four[0])
    assert arrange(six + four, random=None, limit=5, balance=False) == tuple(six[:5])
    assert arrange(six + four, random=None, limit=1) == (six[0],)
    more = found(*((20, f"f{n}", f"198.51.100.{n + 1}") for n in range(9)))
    assert [each.is_ipv6 for each in arrange(six + more, random=None, limit=5)].count(True) == 2


def test_preferred() -> None:
    """smtp_address_preference counts among equals only."""
    rows = found((10, "a", "2001:db8::1"), (10, "a", "198.51.100.1"), (5, "b", "2001:db8::2"))
    chosen = arrange(rows, random=None, limit=0, preferred="ipv4")
    assert [each.address for each in chosen] == ["2001:db8::2", "198.51.100.1", "2001:db8::1"]


def test_random_among_equals() -> None:
    """Every one of several equals comes first now and then, and never before a better one."""
    rows = found(*((10, f"a{n}", f"198.51.100.{n}") for n in range(4)), (1, "best", "192.0.2.1"))
    random = Random(7)
    orders = [arrange(rows, random=random, limit=5) for _ in range(200)]
    assert {order[0].host for order in orders} == {"best"}
    assert len({order[1].host for order in orders}) == 4


_CANDIDATE = st.builds(
    Candidate,
    st.integers(0, 65535),
    st.sampled_from(["a", "b"]),
    st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str)),
)


@given(st.lists(_CANDIDATE, max_size=40), st.integers(0, 8), st.booleans(), st.integers())
def test_arrange_properties(rows: list[Candidate], limit: int, balance: bool, seed: int) -> None:
    """In order of preference, no address twice, as many as could be."""
    chosen = arrange(rows, random=Random(seed), limit=limit, balance=balance)
    preferences = [each.preference for each in chosen]
    assert preferences == sorted(preferences)
    addresses = {each.address for each in rows}
    assert len({each.address for each in chosen}) == len(chosen)
    assert len(chosen) == (min(limit, len(addresses)) if limit else len(addresses))
    if balance and limit > 1 and len(addresses) > limit:
        assert {each.is_ipv6 for each in chosen} == {each.is_ipv6 for each in rows}
