"""The default of mynetworks. The values are those of Postfix with the same interfaces."""

from __future__ import annotations

import ipaddress

import pytest

from gatewayd.config.machine import interface_networks
from gatewayd.config.networks import listening, networks_by_style

_MACHINE = [
    ipaddress.ip_interface(text)
    for text in (
        *("127.0.0.1/8", "192.0.2.2/24", "::1/128", "2001:db8::2/64", "fe80::fc:ff:fe00:1/64"),
    )
]


@pytest.mark.parametrize(
    ("style", "networks"),
    [
        (
            "host",
            "127.0.0.1/32 192.0.2.2/32 [::1]/128 [2001:db8::2]/128 [fe80::fc:ff:fe00:1]/128",
        ),
        ("subnet", "127.0.0.0/8 192.0.2.0/24 [::1]/128 [2001:db8::]/64 [fe80::]/64"),
        ("class", "127.0.0.0/8 192.0.2.0/24 [::1]/128 [2001:db8::]/64 [fe80::]/64"),
    ],
)
def test_styles(style: str, networks: str) -> None:
    assert networks_by_style(style, _MACHINE) == networks


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.1.2.3/30", "10.0.0.0/8"),
        ("172.16.5.4/24", "172.16.0.0/16"),
        ("198.51.100.7/28", "198.51.100.0/24"),
        ("240.1.2.3/8", "240.1.2.3/32"),
    ],
)
def test_classes_are_the_old_ones(address: str, network: str) -> None:
    assert networks_by_style("class", [ipaddress.ip_interface(address)]) == network


@pytest.mark.parametrize(
    ("interfaces", "protocols", "count"),
    [
        (["all"], ["all"], 5),
        (["all"], ["ipv4"], 2),
        (["all"], ["ipv6"], 3),
        (["all"], ["ipv4", "ipv6"], 5),
        (["loopback-only"], ["all"], 2),
        (["localhost"], ["ipv4"], 1),
        (["192.0.2.2", "[2001:db8::2]"], ["all"], 2),
        (["mail.example"], ["all"], 0),
        ([], ["all"], 0),
    ],
)
def test_only_interfaces_that_we_listen_on_count(
    interfaces: list[str], protocols: list[str], count: int
) -> None:
    assert len(listening(_MACHINE, interfaces, protocols)) == count


def test_the_machine_has_a_loopback_interface() -> None:
    assert ipaddress.ip_interface("127.0.0.1/8") in interface_networks()
