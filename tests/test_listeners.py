"""Where services listen: what their names mean, and who can't have what."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from gatewayd.config.load import make_settings
from gatewayd.config.main_cf import Assignment
from gatewayd.config.master_cf import Service
from gatewayd.errors import ConfigError
from gatewayd.listeners import ListenAddress, Listeners, listen_addresses
from tests.peers import free_port, listens


def _addresses(name: str, **settings: str) -> list[str]:
    settings = {"inet_protocols": "ipv4", **settings}
    assignments = {key: Assignment(key, value, "main.cf", 1) for key, value in settings.items()}
    service = Service(name, "inet", "smtpd", file="master.cf", line=7)
    found = listen_addresses(service, make_settings("/nowhere", assignments, "gw.example"))
    return [str(each) for each in found]


@pytest.mark.parametrize(
    ("name", "settings", "addresses"),
    [
        ("25", {"inet_interfaces": "all"}, ["0.0.0.0:25"]),
        ("smtp", {"inet_interfaces": "loopback-only"}, ["127.0.0.1:25"]),
        (
            "submission",
            {"inet_interfaces": "127.0.0.1, 127.0.0.2"},
            ["127.0.0.1:587", "127.0.0.2:587"],
        ),
        ("127.0.0.3:2525", {"inet_interfaces": "all"}, ["127.0.0.3:2525"]),
        ("[127.0.0.3]:2525", {}, ["127.0.0.3:2525"]),
        ("localhost:2525", {}, ["127.0.0.1:2525"]),
        ("[::1]:25", {}, []),
        ("[::1]:25", {"inet_protocols": "all"}, ["[::1]:25"]),
    ],
)
def test_names(name: str, settings: dict[str, str], addresses: list[str]) -> None:
    if "inet_protocols" in settings and not socket.has_ipv6:
        pytest.skip("needs IPv6")
    assert _addresses(name, **settings) == addresses


@pytest.mark.parametrize(
    "name",
    ["nosuchservice", "65536", "127.0.0.1:", ":25", "a b:25", "ü..x:25", "a" * 64 + ":25", "²"],
)
def test_bad_names_are_told_with_their_line(name: str) -> None:
    with pytest.raises(ConfigError, match=r"master\.cf:7: service ") as error:
        _addresses(name)
    assert name in str(error.value)


@pytest.fixture
def listeners() -> Iterator[Listeners]:
    made = Listeners()
    yield made
    made.close()


def _address(port: int) -> ListenAddress:
    return ListenAddress(socket.AF_INET, "127.0.0.1", port)


def test_all_are_bound_or_none(listeners: Listeners) -> None:
    """What is bound already stays so: a reload takes it over."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        first, second = _address(free_port()), _address(taken.getsockname()[1])
        with pytest.raises(ConfigError, match=f"cannot listen on {second}: Address already in use"):
            listeners.bind([first, second])
        assert not listens(first.port)
    listeners.bind([first])
    listeners.bind([first, second])
    assert listens(first.port)
    assert listens(second.port)
    assert listeners.serving == ()
