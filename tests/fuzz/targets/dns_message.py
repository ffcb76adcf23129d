"""DNS answers: read, refused as somebody else's, or nonsense that means "try later"."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset

from gatewayd.routing.dns.messages import (
    Answer,
    NoData,
    NoSuchDomain,
    Question,
    TemporaryFailure,
    parse_name,
    read,
)
from tests.fuzz.inputs import split

_NAME = "mail.example.com"
_KINDS = {b"\0\1": "A", b"\0\x0c": "PTR", b"\0\x10": "TXT", b"\0\x1c": "AAAA"}


def _answer(kind: str, *rrsets: dns.rrset.RRset, rcode: int = 0, flags: int = 0) -> bytes:
    query = dns.message.make_query(_NAME, kind, use_edns=0)
    query.id = 7
    message = dns.message.make_response(query, recursion_available=True)
    message.flags |= flags
    message.set_rcode(rcode)
    message.answer = list(rrsets)
    octets: bytes = message.to_wire(max_size=65535)
    return octets


def _rrset(kind: str, *data: str, name: str = _NAME) -> dns.rrset.RRset:
    return dns.rrset.from_text(f"{name}.", 300, "IN", kind, *data)


SEEDS = (
    _answer("MX", _rrset("MX", "10 mx1.example.com.", "20 mx2.example.com.")),
    _answer("A", _rrset("CNAME", "other.example."), _rrset("A", "192.0.2.1", name="other.example")),
    _answer("AAAA", _rrset("AAAA", "2001:db8::1", "2001:db8::2")),
    _answer("TXT", _rrset("TXT", '"v=spf1 -all" "more"')),
    _answer("MX", rcode=dns.rcode.NXDOMAIN),
    _answer("MX", rcode=dns.rcode.FORMERR),
    _answer("A", _rrset("CNAME", f"{_NAME}.")),
    _answer("A", flags=dns.flags.TC),
)
WORDS = (
    *(b"\xc0\x0c", b"\x00\x0f\x00\x01", b"\x00\x01\x00\x01", b"\x00\x05\x00\x01", b"\x04mail"),
    *(b"\x07example\x03com\x00", b"\x00\x00\x01\x2c", b"\x00\x04", b"\xc0\x2a", b"\x00", b"\x3f"),
    *(b"\x00\x07\x84\x00", b"\x00\x07\x80\x83", b"\x00\x01\x00\x02\x00\x00\x00\x01", b"\xc0\xff"),
    *(b"\x00\x1c\x00\x01\x00\x00\x01\x2c\x00\x10", b"\x00\x29\x04\xd0", b"\xff\xff"),
)


def target(data: bytes) -> bool:
    """Nothing but TemporaryFailure; a result holds for a bounded time."""
    payload, decisions = split(data)
    kind = _KINDS.get(payload[30:32], "MX")  # what the question there asks, usually
    question = Question(parse_name(_NAME), kind, 7, lambda: decisions.randrange(2))
    try:
        message = question.answered(payload)
    except TemporaryFailure:
        return False
    _check_name(payload)
    if message is None:
        return False
    try:
        reading = read(message, _NAME, kind)
    except TemporaryFailure:
        return True
    assert 0 <= reading.ttl <= 86400
    assert reading.result is None or isinstance(reading.result, Answer | NoSuchDomain | NoData)
    assert bool(reading.alias) is (reading.result is None)
    if isinstance(reading.result, Answer):
        assert reading.result.records
        for record in reading.result.records:
            str(record)
    return True


def _check_name(octets: bytes) -> None:
    try:
        name = parse_name(octets.decode("utf-8", "surrogateescape"))
    except NoSuchDomain:
        return
    assert len(name.to_wire()) <= 255
