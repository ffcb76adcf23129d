"""Addresses in external form: one reading, or an error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.address import NULL, Address, parse_address
from gatewayd.errors import AddressSyntaxError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", NULL),
        ("user", Address("user")),
        ("user@example.com", Address("user", "example.com")),
        ("a@b@c", Address("a@b", "c")),
        ('"a@b"@c', Address("a@b", "c")),
        (r'"\"\\ x"@c', Address(r'"\ x', "c")),
        ('"only quoted"', Address("only quoted")),
        ("ü@[IPv6:::1]", Address("ü", "[IPv6:::1]")),
    ],
)
def test_forms(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["@", "a@", "@b", "a\n@b", "a\x7f@b", '"a', '"a\\', '"a"b@c', '"a"@', '"a"@@c', '"a"@b@c'],
)
def test_what_has_no_meaning_or_two(text: str) -> None:
    """A second @ after the quotes would be read as part of the local part once written again."""
    with pytest.raises(AddressSyntaxError):
        parse_address(text)


_LOCALS = st.text(st.characters(min_codepoint=32, exclude_characters="\x7f"), min_size=1)
_DOMAINS = st.text(st.characters(min_codepoint=33, exclude_characters="\x7f@"))


@given(_LOCALS, _DOMAINS)
def test_what_is_written_is_read(local: str, domain: str) -> None:
    address = Address(local, domain)
    assert parse_address(str(address)) == address
