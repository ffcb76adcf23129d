"""Which keys are asked, and in which order (postfix.md §1, §6)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.address import Address
from gatewayd.tables.address_keys import (
    domain_keys,
    fold,
    recipient_keys,
    split_extension,
    transport_keys,
)
from gatewayd.tables.maps import Maps


def texts(keys: object) -> list[str]:
    """Keys as text, partial ones in parentheses."""
    return [f"({key.text})" if key.partial else key.text for key in keys]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("local", "delimiters", "split"),
    [
        ("user+ext", "+", ("user", "+ext")),
        ("user+ext+more", "+", ("user", "+ext+more")),
        ("+ext", "+", ("+ext", "")),
        ("user", "+", ("user", "")),
        ("user+ext", "", ("user+ext", "")),
        ("a-b+c", "-+", ("a", "-b+c")),
        ("owner-list", "-", ("owner-list", "")),
        ("list-request", "-", ("list-request", "")),
        ("Owner-list", "-+", ("Owner-list", "")),
        ("owner-list", "+", ("owner-list", "")),
        ("mailer-daemon", "-", ("mailer-daemon", "")),
        ("MAILER-DAEMON", "-", ("MAILER-DAEMON", "")),
        ("double-bounce", "-", ("double-bounce", "")),
    ],
)
def test_extension(local: str, delimiters: str, split: tuple[str, str]) -> None:
    """The first delimiter splits, but not at the start, nor names that hold it themselves."""
    assert split_extension(local, delimiters) == split


def test_transport() -> None:
    """Address, without extension, domain, parents, and the star for every table."""
    address = Address("user+x", "a.example.com")
    assert texts(transport_keys(address, "+", False)) == [
        "user+x@a.example.com",
        "(user@a.example.com)",
        "(a.example.com)",
        "(.example.com)",
        "(.com)",
        "*",
    ]
    assert texts(transport_keys(address, "", True))[1:] == [
        "(a.example.com)",
        "(example.com)",
        "(com)",
        "*",
    ]
    literal = texts(transport_keys(Address("u", "[192.0.2.1]"), "", False))
    assert literal == ["u@[192.0.2.1]", "([192.0.2.1])", "*"]


def test_quoted_form_first() -> None:
    """The external form is asked before the internal one."""
    assert texts(transport_keys(Address("a b+c", "x.y"), "+", False))[:4] == [
        '"a b+c"@x.y',
        "a b+c@x.y",
        '("a b"@x.y)',
        "(a b@x.y)",
    ]


def test_recipient() -> None:
    """Recipient lists know bare users where the domain is local, and @domain last."""
    address = Address("user+x", "example.com")
    assert texts(recipient_keys(address, "+", is_local=True)) == [
        "user+x@example.com",
        "(user@example.com)",
        "(user+x)",
        "(user)",
        "(@example.com)",
    ]
    assert texts(recipient_keys(address, "", is_local=False)) == [
        "user+x@example.com",
        "(@example.com)",
    ]


def test_key_by_key() -> None:
    """Every table is asked for a key before any is asked for the next."""
    maps = Maps.open(["inline:{b.test=late}", "inline:{u@b.test=early}", "static:never"])
    with pytest.raises(StopIteration) as end:
        maps.find_first(transport_keys(Address("u", "b.test"), "", False)).send(None)
    found = end.value.value
    assert (found.value, found.table) == ("early", "inline:{u@b.test=early}")


def test_pattern_tables_see_full_keys_only() -> None:
    """A pattern table isn't asked for a domain; it is for the star."""
    maps = Maps.open(["static:any"])
    for keys, hit in ((domain_keys("b.test", False), None), (["*"], "any")):
        from gatewayd.tables.address_keys import Key

        asked = [Key(text, partial=text != "*") for text in keys]
        with pytest.raises(StopIteration) as end:
            maps.find_first(asked).send(None)
        assert (end.value.value and end.value.value.value) == hit


@given(st.text(max_size=30))
def test_fold(text: str) -> None:
    """ASCII letters and nothing else."""
    folded = fold(text)
    assert len(folded) == len(text)
    for before, after in zip(text, folded, strict=True):
        assert after == (before.lower() if before.isascii() else before)


@given(st.text(max_size=20), st.text(max_size=20), st.text(alphabet="+-_", max_size=2))
def test_keys_of_anything(local: str, domain: str, delimiters: str) -> None:
    """Keys are bounded and begin with the whole address."""
    address = Address(local, domain)
    keys = list(transport_keys(address, delimiters, False))
    assert keys[0].text == str(address)
    assert len(keys) <= 6 + domain.count(".")
