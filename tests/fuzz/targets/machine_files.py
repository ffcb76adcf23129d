"""resolv.conf, hosts, and what Linux says of its own addresses under /proc/net."""

from __future__ import annotations

import ipaddress

from gatewayd.routing.dns.machine_files import parse_hosts, parse_name_servers
from tests.fuzz.inputs import split

SEEDS = (
    b"# c\nnameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch example.com\noptions ndots:2\n",
    b"127.0.0.1 localhost localhost.localdomain # me\n::1\tip6-localhost\n192.0.2.7 a A b.\n",
    b"nameserver\nnameserver fe80::1%eth0\nnameserver x\n999.0.0.1 bad\n",
)
WORDS = (
    *(b"nameserver ", b"127.0.0.1", b"::1", b"\n", b"#", b" ", b"\t", b"a", b".example", b"%eth0"),
    *(b"0x7f.1", b"1", b";", b"\r\n", b"options"),
)


def target(data: bytes) -> bool:
    """Whatever stands there: addresses are addresses, names are words."""
    payload, _ = split(data)
    source = payload.decode("utf-8", "replace")
    servers = parse_name_servers(source)
    assert len(servers) <= 3
    for server in servers:
        ipaddress.ip_address(server)
    hosts = list(parse_hosts(source))
    for address, names in hosts:
        ipaddress.ip_address(address)
        assert all(name.split() == [name] and "#" not in name for name in names)
    return bool(servers or hosts)
