"""DNS questions and answers as octets, and what an answer means (RFC 1035, RFC 2308). Pure.

Whether there is none, or whether it cannot be told now, decides if mail goes back or waits. Only
NXDOMAIN, and an empty answer of a server that had the right to give one, say "there is none".
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from gatewayd.errors import GatewayError

__all__ = [
    "Answer",
    "NoData",
    "NoSuchDomain",
    "Question",
    "Reading",
    "TemporaryFailure",
    "parse_name",
    "read",
]

_MAX_TTL = 86400.0
_NEGATIVE_TTL = 300.0
_UNSAID_TTL = 5.0
_CNAME_LIMIT = 10
_UDP_SIZE = 1232


class TemporaryFailure(GatewayError):
    """The DNS gives no answer now: time-out, SERVFAIL, no server, nonsense."""


class NoSuchDomain(GatewayError):
    """The name does not exist (NXDOMAIN), or could not exist."""


class NoData(GatewayError):
    """The name exists, but has no record of the type asked for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Records of one type, as dnspython's rdata, in no order; ``name`` after CNAMEs."""

    name: str
    records: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a message said: a result that holds for ``ttl`` seconds, or an alias to go on with."""

    result: Answer | NoSuchDomain | NoData | None
    ttl: float
    alias: str = ""


def parse_name(text: str) -> dns.name.Name:
    """A domain as the DNS has it, IDNA included. Raises NoSuchDomain for what no domain can be."""
    try:
        if "\\" in text or not text.strip("."):
            raise ValueError
        return dns.name.from_text(text)
    except (dns.exception.DNSException, ValueError):
        raise NoSuchDomain(f"{text[:80]!r}: invalid host or domain name") from None


class Question:
    """One question, and the test that an answer is one to it.

    ``bit`` gives random bits (for the letters' case): like the ID and the port, they come back in
    a true answer only, and a forger has to guess them. Some servers answer in lower case, so
    such an answer isn't rejected but found out: ``is_case_lost``.
    """

    __slots__ = ("_message", "is_case_lost", "octets")

    def __init__(
        self,
        name: dns.name.Name,
        kind: str,
        message_id: int,
        bit: Callable[[], int],
        *,
        edns: bool = True,
    ) -> None:
        self._message = dns.message.make_query(
            _in_random_case(name, bit), kind, use_edns=0 if edns else -1, payload=_UDP_SIZE
        )
        self._message.id = message_id
        self.octets = self._message.to_wire()
        self.is_case_lost = False

    def answered(self, octets: bytes) -> dns.message.Message | None:
        """The message, if it answers this question; None for anything else.

        Raises TemporaryFailure if it's an answer beyond reading.
        """
        if len(octets) < 12 or octets[:2] != self.octets[:2] or not octets[2] & 0x80:
            return None
        try:
            # Of an answer that was cut short, the records don't matter.
            is_cut = bool(octets[2] & 0x02)
            message = dns.message.from_wire(octets, question_only=is_cut, ignore_trailing=True)
        except (dns.exception.DNSException, ValueError, struct.error, IndexError):
            raise TemporaryFailure("name server's answer is malformed") from None
        asked = self._message.question[0]
        if not message.question:
            # FORMERR and NOTIMP come without a question (RFC 6891 §7).
            return message if message.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP) else None
        echoed = message.question[0]
        if len(message.question) != 1 or echoed.name != asked.name:
            return None
        if (echoed.rdtype, echoed.rdclass) != (asked.rdtype, asked.rdclass):
            return None
        self.is_case_lost = echoed.name.labels != asked.name.labels
        return message


def _in_random_case(name: dns.name.Name, bit: Callable[[], int]) -> dns.name.Name:
    return dns.name.Name(
        [
            bytes(o ^ 0x20 if 97 <= o | 0x20 <= 122 and bit() else o for o in label)
            for label in name.labels
        ]
    )


def read(message: dns.message.Message, name: str, kind: str) -> Reading:
    """What a NOERROR or NXDOMAIN message says of ``name``. Raises TemporaryFailure."""
    wanted = dns.rdatatype.from_text(kind)
    start = current = parse_name(name)
    ttl = _MAX_TTL
    for _ in range(_CNAME_LIMIT):
        records = [each for each in message.answer if each.name == current]
        for rrset in records:
            if rrset.rdtype == wanted:
                ttl = min(ttl, float(rrset.ttl))
                return Reading(Answer(_text(current), tuple(rrset)), ttl)
        alias = next((each for each in records if each.rdtype == dns.rdatatype.CNAME), None)
        if alias is None:
            break
        ttl = min(ttl, float(alias.ttl))
        current = alias[0].target
    else:
        raise TemporaryFailure(f"{name}: an alias of an alias, in a circle or too often")
    if message.rcode() == dns.rcode.NXDOMAIN:
        return Reading(NoSuchDomain(f"{name} does not exist"), min(ttl, _negative_ttl(message)))
    if current != start:
        return Reading(None, ttl, _text(current))
    if not _may_deny(message):
        raise TemporaryFailure("name server does not look up names for us")
    none = NoData(f"{name} has no record of type {kind}")
    return Reading(none, _negative_ttl(message))


def _text(name: dns.name.Name) -> str:
    text: str = name.to_text(omit_final_dot=True)
    return text


def _may_deny(message: dns.message.Message) -> bool:
    """Whether an empty answer means that there's nothing.

    An empty answer that neither comes from the domain's own server nor from one that offers
    recursion is a referral, or a resolver that isn't one.
    """
    if message.flags & (dns.flags.AA | dns.flags.RA):
        return True
    return any(each.rdtype == dns.rdatatype.SOA for each in message.authority)


def _negative_ttl(message: dns.message.Message) -> float:
    """How long "there is none" holds (RFC 2308 §5)."""
    for rrset in message.authority:
        if rrset.rdtype == dns.rdatatype.SOA:
            return min(_NEGATIVE_TTL, float(rrset.ttl), float(rrset[0].minimum))
    return _UNSAID_TTL
