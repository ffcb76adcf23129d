"""cidr tables and networks: what's in a network is in it, other keys match nothing."""

from __future__ import annotations

import ipaddress

from gatewayd.errors import ConfigError
from gatewayd.tables.cidr import cidr_pattern, cidr_subject, parse_network
from gatewayd.tables.rules import RuleTable, parse_rules
from tests.fuzz.inputs import answer, split, text
from tests.fuzz.targets.regexp_table import check_lines

SEEDS = (
    b"10.0.0.0/8 one\n!192.168.0.0/16 two\n[2001:db8::]/32 three\n::1 four\n\00010.1.2.3",
    b"if 10.0.0.0/8\n10.1.0.0/16 in\nif !10.2.0.0/16\n0.0.0.0/0\n  x\nendif\nendif\n"
    b"\0::ffff:10.3.0.1",
    b"# c\n::/0 $1 all\n\0fe80::1%eth0",
)
WORDS = (
    *(b"10.0.0.0", b"/8", b"/", b"::", b"2001:db8:", b"[", b"]", b"!", b"if ", b"endif\n", b" x\n"),
    *(b".", b":", b"0", b"1", b"f", b"255", b"\n", b"\n ", b"\0", b"/128", b"/0", b"%", b"$1"),
)
FOUND = (b"!n<\xb3\x98p\xf9\xd5\x19",)


def target(data: bytes) -> bool:
    """Raises ConfigError with lines, or answers as the networks' own arithmetic does."""
    payload, _ = split(data)
    source, _, key = payload.partition(b"\0")
    subject = key.decode("utf-8", "replace")
    for word in text(source).split():
        try:
            network = parse_network(word)
        except ValueError:
            continue
        assert parse_network(str(network)) == network
    try:
        rules = parse_rules(text(source), "f", cidr_pattern)
    except ConfigError as error:
        check_lines(error, source)
        return False
    table = RuleTable("f", rules, cidr_subject)
    assert answer(table.lookup(subject)) is None or ipaddress.ip_address(subject)
    return bool(rules)
