"""Asks a running Postfix how it rewrites and resolves an address: the protocol of its socket."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from gatewayd.address import parse_address
from gatewayd.errors import AddressSyntaxError
from gatewayd.routing.classes import AddressClass
from tests.postfix import Postfix

_ROUTED, _ERROR, _FAIL = 2, 4, 8
_CLASSES = {
    1 << 8: AddressClass.LOCAL,
    1 << 9: AddressClass.ALIAS,
    1 << 10: AddressClass.VIRTUAL,
    1 << 11: AddressClass.RELAY,
    1 << 12: AddressClass.DEFAULT,
}


@dataclass(frozen=True)
class Answer:
    """Postfix's resolution; ``recipient`` in internal form."""

    recipient: str
    transport: str
    nexthop: str
    address_class: AddressClass | None
    routed: bool
    error: bool
    failed: bool


def _ask(instance: Postfix, **attributes: str) -> dict[str, str]:
    request = b"".join(
        f"{name}\0{value}\0".encode("utf-8", "surrogateescape")
        for name, value in attributes.items()
    )
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(instance.root / "queue/private/rewrite"))
        connection.sendall(request + b"\0")
        stream = connection.makefile("rb")
        _record(stream)
        return _record(stream)


def _record(stream) -> dict[str, str]:  # type: ignore[no-untyped-def]
    fields: dict[str, str] = {}
    while name := _text(stream):
        fields[name] = _text(stream)
    return fields


def _text(stream) -> str:  # type: ignore[no-untyped-def]
    octets = bytearray()
    while (octet := stream.read(1)) not in (b"\0", b""):
        octets += octet
    return octets.decode("utf-8", "surrogateescape")


def resolve(instance: Postfix, external: str, sender: str = "") -> Answer:
    """What becomes of an address that a client gave in external form."""
    rewritten = _ask(instance, request="rewrite", rule="local", address=external)["address"]
    try:
        internal = parse_address(rewritten).internal
    except AddressSyntaxError:
        internal = rewritten
    reply = _ask(instance, request="resolve", sender=sender, address=internal)
    flags = int(reply["flags"])
    return Answer(
        reply["recipient"],
        reply["transport"],
        reply["nexthop"],
        next((each for bit, each in _CLASSES.items() if flags & bit), None),
        bool(flags & _ROUTED),
        bool(flags & _ERROR),
        bool(flags & _FAIL),
    )
