"""The fields that we add: their layout, and that nobody can forge more of them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd import dates
from gatewayd.address import NULL, Address
from gatewayd.dates import mail_date
from gatewayd.message import Envelope, Origin, Recipient, Route
from gatewayd.receive.trace import Host, missing_fields, received_field

_HOST = Host("gw.test", "gatewayd")
_NOW = 1_700_000_000.9


@pytest.fixture(autouse=True)
def _in_berlin() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Europe/Berlin"
    time.tzset()
    dates._date.cache_clear()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()
    dates._date.cache_clear()


def _to(*originals: str) -> tuple[Recipient, ...]:
    return tuple(Recipient(Address("x", "y"), Route("smtp", "y"), each) for each in originals)


def _field(origin: Origin, *originals: str, smtputf8: bool = False) -> str:
    envelope = Envelope(NULL, smtputf8=smtputf8, origin=origin)
    return received_field(_HOST, envelope, _to(*originals), "4XYZ", _NOW).decode()


def test_the_date_is_local_with_its_zone() -> None:
    """RFC 5322 §3.3, the zone's name in a comment."""
    assert mail_date(_NOW) == "Tue, 14 Nov 2023 23:13:20 +0100 (CET)"
    assert mail_date(1_691_000_000) == "Wed,  2 Aug 2023 20:13:20 +0200 (CEST)"
    assert parsedate_to_datetime(mail_date(_NOW)).timestamp() == int(_NOW)


def test_received_from_a_client() -> None:
    """Postfix's layout, with and without a single recipient; IPv6 with its prefix."""
    origin = Origin("ESMTP", "helo.test", "name.test", "192.0.2.1")
    date = "Tue, 14 Nov 2023 23:13:20 +0100 (CET)"
    assert _field(origin, "u@far.test") == (
        "Received: from helo.test (name.test [192.0.2.1])\r\n"
        "\tby gw.test (gatewayd) with ESMTP id 4XYZ\r\n"
        f"\tfor <u@far.test>; {date}\r\n"
    )
    assert _field(origin, "a@b", "c@d") == (
        "Received: from helo.test (name.test [192.0.2.1])\r\n"
        f"\tby gw.test (gatewayd) with ESMTP id 4XYZ; {date}\r\n"
    )
    origin = Origin("SMTP", "", "unknown", "2001:db8::1")
    assert _field(origin, smtputf8=True).startswith(
        "Received: from unknown (unknown [IPv6:2001:db8::1])\r\n"
        "\tby gw.test (gatewayd) with UTF8SMTP id 4XYZ; "
    )


def test_received_from_a_program_and_from_ourselves() -> None:
    """The user's number, or only where and when."""
    assert _field(Origin(user_id=33)).startswith(
        "Received: by gw.test (gatewayd, from userid 33)\r\n\tid 4XYZ; Tue"
    )
    assert _field(Origin()).startswith("Received: by gw.test (gatewayd)\r\n\tid 4XYZ; Tue")


@given(st.text(), st.text())
def test_no_client_can_forge_a_field(helo: str, recipient: str) -> None:
    """Whatever HELO and RCPT held: one field, three lines, the comments as they should be."""
    field = _field(Origin("ESMTP", helo, "name.test", "192.0.2.1"), recipient or "x")
    first, second, third, end = field.split("\r\n")
    assert end == ""
    assert first.count("(") == first.count(")") == 1
    assert first.endswith(" (name.test [192.0.2.1])")
    assert second == "\tby gw.test (gatewayd) with ESMTP id 4XYZ"
    assert third.startswith("\tfor <")
    assert third.endswith("(CET)")
    assert not any(char in field.replace("\r\n\t", "").rstrip("\r\n") for char in "\r\n\0")


@pytest.mark.parametrize(
    ("sender", "name", "author"),
    [
        (Address("ann", "b.test"), "", "ann@b.test"),
        (Address("ann", "b.test"), "Ann Onym", "Ann Onym <ann@b.test>"),
        (Address("ann", "b.test"), 'A. "B" \\C', '"A. \\"B\\" \\\\C" <ann@b.test>'),
        (Address("a b", "b.test"), "x\r\nBcc: y", '"x??Bcc: y" <"a b"@b.test>'),
        (NULL, "Ann", "MAILER-DAEMON (Mail Delivery System)"),
    ],
)
def test_missing_fields(sender: Address, name: str, author: str) -> None:
    """Message-Id from time and queue ID; From with the name quoted where it must be."""
    fields = dict(missing_fields(_HOST, sender, "4XYZ", _NOW, name))
    assert fields["Message-Id"] == "<20231114221320.4XYZ@gw.test>"
    assert fields["From"] == author
    assert list(fields) == ["Message-Id", "Date", "From"]
