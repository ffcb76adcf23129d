"""Next hops, and the values of transport tables that name them."""

from __future__ import annotations

import ipaddress

from gatewayd.message import Route
from gatewayd.routing.nexthop import BadNexthop, parse_lmtp_nexthop, parse_nexthop
from gatewayd.routing.transport_value import default_route, refusal, table_route
from tests.fuzz.inputs import split, text

SEEDS = (
    b"example.com",
    b"[mail.example.com]:587, [192.0.2.1] backup.example:smtp",
    b"smtp:[ipv6:2001:db8::1]:25",
    b"unix:/run/lmtp inet:host:24",
    b"error:5.1.2 no such host",
    b"retry:4.4.4 later",
    b"relay:",
    b":[other]",
)
WORDS = (
    *(b"[", b"]", b":", b",", b" ", b"host", b"example.com", b"25", b"smtp", b"unix:", b"inet:"),
    *(b"192.0.2.1", b"2001:db8::1", b"ipv6:", b"error:", b"retry:", b"5.1.1 ", b"4.", b"/", b"@"),
)


def target(data: bytes) -> bool:
    """BadNexthop, or hops that say where to; routes say what the value said."""
    payload, _ = split(data)
    source = text(payload)
    default = Route("smtp", "default")
    route = table_route(source, "domain.example", default)
    assert route.transport
    assert route is default or source.startswith((route.transport, ":"))
    default_route(source, "next")
    refused = refusal(route, "5.1.1")
    if refused is not None:
        status, reason = refused
        assert status[0] == {"error": "5", "retry": "4"}[route.transport]
        assert reason
    taken = False
    for parse in (parse_nexthop, parse_lmtp_nexthop):
        try:
            hops = parse(source)
        except BadNexthop:
            continue
        taken = True
        for hop in hops:
            assert bool(hop.path) is not bool(hop.host)
            assert not hop.address or ipaddress.ip_address(hop.address)
            assert not (hop.by_mx and hop.address)
    return taken
