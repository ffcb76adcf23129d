"""A scripted DNS server on loopback, UDP and TCP on one port: what the DNS can do to us.

    with DnsServer({"example.com": {"MX": ["10 mx.example.com."]}}) as dns:
        … dns.address …, dns.asked

Zone values are lists of records in presentation form, or a fault for that name and type:
``servfail refused formerr notimp timeout truncate garbage wrong-id wrong-question lower-case
no-edns referral empty``. ``"*"`` as type covers all types. Names that aren't there: NXDOMAIN.

As a program: python -m tests.dns_server ZONE.json [PORT] prints the port and serves until killed.
"""

from __future__ import annotations

import json
import socket
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

Zone = Mapping[str, Mapping[str, Sequence[str] | str]]

_RCODES = {
    "servfail": dns.rcode.SERVFAIL,
    "refused": dns.rcode.REFUSED,
    "formerr": dns.rcode.FORMERR,
    "notimp": dns.rcode.NOTIMP,
}
_SOA = "ns.test. root.test. 1 2 3 4 60"


class DnsServer:
    """Serves a zone from a thread. ``asked`` lists (name, type, "udp" or "tcp"), in order."""

    def __init__(self, zone: Zone, port: int = 0, ttl: int = 300) -> None:
        self.zone = {name.lower(): dict(types) for name, types in zone.items()}
        self.ttl = ttl
        self.asked: list[tuple[str, str, str]] = []
        self._udp, self._tcp = _bound_pair(self, port)
        self.port: int = self._udp.server_address[1]
        self._threads = [
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
            for server in (self._udp, self._tcp)
        ]

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def count(self, name: str, kind: str) -> int:
        """How often this was asked, by UDP or TCP."""
        return sum(each[:2] == (name, kind) for each in self.asked)

    def __enter__(self) -> DnsServer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self._udp, self._tcp):
            server.shutdown()
            server.server_close()

    def answer(self, octets: bytes, by: str) -> bytes | None:
        """The octets to send back; None for silence."""
        query = dns.message.from_wire(octets)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind, by))
        types = self.zone.get(name)
        content = None if types is None else types.get(kind, types.get("*"))
        reply = dns.message.make_response(query, recursion_available=True)
        if isinstance(content, str):
            return _fault(content, query, reply, self._records(name, kind, ()), by)
        reply.answer = self._records(name, kind, content or ())
        if types is None or not reply.answer:
            _deny(reply, exists=types is not None)
        return reply.to_wire(max_size=65535)

    def _records(self, name: str, kind: str, content: Sequence[str]) -> list[dns.rrset.RRset]:
        """The records, behind the CNAMEs that lead to them."""
        sets: list[dns.rrset.RRset] = []
        if not content:
            alias = self.zone.get(name, {}).get("CNAME")
            if alias and not isinstance(alias, str) and kind != "CNAME":
                sets.append(dns.rrset.from_text(f"{name}.", self.ttl, "IN", "CNAME", *alias))
            return sets
        return [dns.rrset.from_text(f"{name}.", self.ttl, "IN", kind, *content)]


def _deny(reply: dns.message.Message, *, exists: bool) -> None:
    if not exists:
        reply.set_rcode(dns.rcode.NXDOMAIN)
    reply.authority = [dns.rrset.from_text("test.", 300, "IN", "SOA", _SOA)]


def _fault(
    fault: str,
    query: dns.message.Message,
    reply: dns.message.Message,
    records: list[dns.rrset.RRset],
    by: str,
) -> bytes | None:
    """What a server does that isn't well. Several words: "truncate A 192.0.2.1" by TCP then."""
    word, _, rest = fault.partition(" ")
    if rest:
        kind, _, data = rest.partition(" ")
        name = query.question[0].name.to_text()
        reply.answer = [dns.rrset.from_text(name, 300, "IN", kind, *data.split("|"))]
    else:
        reply.answer = records
    if word in _RCODES:
        reply.answer = []
        reply.set_rcode(_RCODES[word])
    elif word == "timeout":
        return None
    elif word == "truncate" and by == "udp":
        reply.answer = []
        reply.flags |= dns.flags.TC
    elif word == "truncate-twice":
        reply.flags |= dns.flags.TC
    elif word == "garbage":
        return reply.to_wire()[:12] + b"\xff" * 40
    elif word == "wrong-id":
        reply.id ^= 1
    elif word == "wrong-question":
        reply.question[0].name = dns.name.from_text("forged.test.")
    elif word == "lower-case":
        lower = dns.name.from_text(query.question[0].name.to_text().lower())
        reply.question[0].name = query.question[0].name if by == "tcp" else lower
    elif word == "no-edns" and query.edns >= 0:
        reply = dns.message.make_response(query)
        reply.use_edns(False)
        reply.set_rcode(dns.rcode.FORMERR)
    elif word == "referral":
        reply.flags &= ~dns.flags.RA
        reply.authority = [dns.rrset.from_text(".", 300, "IN", "NS", "a.root.test.")]
    elif word == "empty":
        _deny(reply, exists=True)
    return reply.to_wire(max_size=65535)


class _Udp(socketserver.ThreadingUDPServer):
    allow_reuse_address = False
    daemon_threads = True
    max_packet_size = 65535
    owner: DnsServer


class _Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    owner: DnsServer


class _UdpHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        octets, sock = self.request
        answer = self.server.owner.answer(octets, "udp")  # type: ignore[attr-defined]
        if answer is not None:
            sock.sendto(answer, self.client_address)


class _TcpHandler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        size = self.rfile.read(2)
        if len(size) < 2:
            return
        octets = self.rfile.read(int.from_bytes(size, "big"))
        answer = self.server.owner.answer(octets, "tcp")  # type: ignore[attr-defined]
        if answer is None:
            time.sleep(30)
            return
        # In two pieces, as networks do.
        framed = struct.pack("!H", len(answer)) + answer
        self.wfile.write(framed[:1])
        self.wfile.flush()
        self.wfile.write(framed[1:])


def _bound_pair(owner: DnsServer, port: int) -> tuple[_Udp, _Tcp]:
    """Both servers on one port; another one is tried if TCP's is taken."""
    for _ in range(20):
        udp = _Udp(("127.0.0.1", port), _UdpHandler)
        try:
            tcp = _Tcp(("127.0.0.1", udp.server_address[1]), _TcpHandler)
        except OSError:
            udp.server_close()
            if port:
                raise
            continue
        udp.owner = tcp.owner = owner
        return udp, tcp
    raise OSError("no port that is free for UDP and TCP")


def silent_port() -> tuple[socket.socket, tuple[str, int]]:
    """A UDP socket that never answers; the caller closes it."""
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 0))
    return silent, silent.getsockname()


def main(arguments: list[str]) -> None:
    with open(arguments[0]) as file:
        zone: Any = json.load(file)
    with DnsServer(zone, int(arguments[1]) if len(arguments) > 1 else 0) as server:
        print(server.port, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
