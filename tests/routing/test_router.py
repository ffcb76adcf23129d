"""The router alone: tables that change or fail, transport values, what is remembered."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.address import NULL, Address, parse_address
from gatewayd.errors import ConfigError, TableError
from gatewayd.maillog import capture
from gatewayd.message import Route
from gatewayd.routing.classes import AddressClass, listing_of
from gatewayd.routing.router import Resolution, Router
from gatewayd.routing.transport_value import default_route, refusal, table_route
from tests.access.asking import OWN, answer, settings_of
from tests.peers import eventually

_DEFAULT = Route("smtp", "[relay]")


def _router(**configuration: str) -> Router:
    return Router.from_settings(settings_of({"mydestination": "gw.test"} | configuration), OWN)


def _resolve(router: Router, text: str, sender: str = "") -> Resolution:
    return answer(router.resolve(parse_address(text), parse_address(sender)))


@pytest.mark.parametrize(
    ("value", "route"),
    [
        ("t:n", Route("t", "n")),
        ("t:n:25", Route("t", "n:25")),
        ("t:", Route("t", "far.test")),
        ("t", Route("t", "far.test")),
        (":n", Route("smtp", "n")),
        (":", _DEFAULT),
        ("", _DEFAULT),
        ("smtp : [h]", Route("smtp ", " [h]")),
        ("error:5.1.6 moved", Route("error", "5.1.6 moved")),
        ("error:", Route("error", "Address is undeliverable")),
        ("retry", Route("retry", "Address is undeliverable")),
        ("discard:", Route("discard", "far.test")),
    ],
)
def test_table_values(value: str, route: Route) -> None:
    """Every form of the right-hand side (postfix.md §1)."""
    assert table_route(value, "far.test", _DEFAULT) == route


@pytest.mark.parametrize(
    ("value", "route"),
    [("t", Route("t", "n")), ("t:", Route("t", "n")), ("t:o:1", Route("t", "o:1"))],
)
def test_parameter_values(value: str, route: Route) -> None:
    """A transport alone keeps the next hop, unlike in a table."""
    assert default_route(value, "n") == route


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (Route("error", "5.2.1 gone"), ("5.2.1", "gone")),
        (Route("error", "gone"), ("5.1.1", "gone")),
        (Route("error", "4.2.1 later"), ("5.2.1", "later")),
        (Route("retry", "later"), ("4.1.1", "later")),
        (Route("retry", "5.2.1 later"), ("4.2.1", "later")),
        (Route("error", ""), ("5.1.1", "Address is undeliverable")),
        (Route("Error", "x"), None),
        (Route("smtp", "x"), None),
    ],
)
def test_refusals(route: Route, expected: tuple[str, str] | None) -> None:
    """error: is final and retry: is not, whatever status their text begins with."""
    assert refusal(route, "5.1.1") == expected


@pytest.mark.parametrize(
    "parameter",
    [
        "transport_maps",
        "relay_domains",
        "mydestination",
        "virtual_mailbox_domains",
        "sender_dependent_relayhost_maps",
        "sender_dependent_default_transport_maps",
    ],
)
def test_a_table_that_fails_is_no_answer(parameter: str) -> None:
    """Never "not found": the error passes through."""
    router = _router(**{parameter: "fail:x"})
    with pytest.raises(TableError):
        _resolve(router, "u@far.test", "s@s.test")


def test_a_table_that_cannot_be_is_a_configuration_error() -> None:
    """At the start, not at the first recipient."""
    with pytest.raises(ConfigError):
        _router(transport_maps="nosuch:/x")


def test_an_indexed_table_is_followed_without_reload(tmp_path: Path) -> None:
    """The route and the class change with the tables, also for a domain seen before."""
    lmdb = pytest.importorskip("lmdb")

    def build(name: str, entries: dict[str, str]) -> str:
        new = tmp_path / "new"
        environment = lmdb.open(str(new), subdir=False, lock=False)
        with environment.begin(write=True) as transaction:
            for key, value in entries.items():
                transaction.put(key.encode(), value.encode())
        environment.close()
        new.rename(tmp_path / f"{name}.lmdb")
        return f"lmdb:{tmp_path / name}"

    router = _router(
        transport_maps=build("transport", {"far.test": "one:1"}),
        relay_domains=build("relay", {"relay.test": "x"}),
    )
    assert _resolve(router, "u@far.test").route == Route("one", "1")
    assert _resolve(router, "u@far.test").address_class is AddressClass.DEFAULT
    build("transport", {"far.test": "two:2"})
    build("relay", {"far.test": "x"})
    two = Route("two", "2")
    # A table's answers are remembered for a moment.
    eventually(lambda: _resolve(router, "u@far.test").route == two, "the new route", 2)
    assert _resolve(router, "u@far.test").address_class is AddressClass.RELAY
    assert _resolve(router, "u@relay.test").address_class is AddressClass.DEFAULT


def test_what_is_remembered_is_bounded() -> None:
    """Any number of domains may be asked for."""
    router = _router()
    for number in range(10_000):
        _resolve(router, f"u@d{number}.test")
    assert len(router._domains) <= 4096


def test_an_empty_relayhost_by_sender_is_warned_of() -> None:
    """And ignored."""
    router = _router(sender_dependent_relayhost_maps="inline:{s@s.test=}", relayhost="[r]")
    with capture() as log:
        assert _resolve(router, "u@far.test", "s@s.test").route == Route("smtp", "[r]")
    assert log == [
        "trivial-rewrite: warning: inline:{s@s.test=}: empty value for s@s.test: ignored"
    ]


def test_a_sender_without_sense_routes_like_a_stranger() -> None:
    """It was refused at MAIL; what came in otherwise is still routed."""
    router = _router(sender_dependent_relayhost_maps="inline:{@s.test=[s]}")
    resolution = answer(router.resolve(parse_address("u@far.test"), Address("!x")))
    assert resolution.route == Route("smtp", "far.test")


def test_the_null_recipient_has_a_taker() -> None:
    """empty_address_recipient, at our origin."""
    router = _router(myorigin="gw.test")
    assert str(answer(router.resolve(NULL)).address) == "MAILER-DAEMON@gw.test"
    assert str(answer(router.resolve(Address("", "gw.test"))).address) == "MAILER-DAEMON@gw.test"


def test_each_class_but_the_rest_of_the_world_has_a_list() -> None:
    """And only the rest of the world is closed to strangers."""
    for each in AddressClass:
        assert each.is_ours is (each is not AddressClass.DEFAULT)
        assert (listing_of(each) is not None) is each.is_ours


_WORDS = st.text(st.sampled_from('aA1.-_@%!"\\[]:, \u00fc\u212a\udcff'), max_size=14)
_ROUTER = _router(
    relay_domains="a.a", virtual_mailbox_domains="a1", transport_maps="inline:{a@a=t:,*=s:n}"
)


@given(_WORDS, _WORDS)
def test_every_address_is_resolved(local: str, domain: str) -> None:
    """Somewhere, in bounded steps; what is ours is really ours."""
    resolution = answer(_ROUTER.resolve(Address(local, domain)))
    assert resolution.route.transport
    if resolution.error is None:
        assert resolution.address.domain
        assert resolution.address.local or resolution.address_class is AddressClass.DEFAULT
    else:
        assert resolution.route.transport == "error"
