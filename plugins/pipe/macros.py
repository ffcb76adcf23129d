"""``$name`` in a pipe command's arguments. No shell ever sees the result (postfix.md §3).

An argument that mentions a recipient's macro stands once for each recipient, in its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from gatewayd.address import Address
from gatewayd.message import DeliveryRequest, QueuedRecipient
from gatewayd.plugins.pipe.attributes import Attributes
from gatewayd.tables.address_keys import fold, split_extension

__all__ = ["BadMacro", "by_bytes", "command_line", "expanded_size", "shown_recipient"]

_MACRO = re.compile(r"\$(?:(\$)|([A-Za-z0-9_]+)|\{([^{}]*)\}|\(([^()]*)\)|)")
_NAME = re.compile(r"[A-Za-z0-9_]+\Z")
_BY_RECIPIENT = frozenset(
    ("recipient", "original_recipient", "user", "extension", "mailbox", "domain")
)


class BadMacro(Exception):
    """An argument that cannot be expanded: a mistake in master.cf."""


def by_bytes(recipients: Iterable[QueuedRecipient]) -> list[QueuedRecipient]:
    """The recipients by domain, then address, in the order of their octets."""
    return sorted(
        recipients,
        key=lambda each: (
            each.recipient.address.domain.encode("utf-8", "surrogateescape"),
            each.recipient.address.local.encode("utf-8", "surrogateescape"),
        ),
    )


def expanded_size(size: int) -> int:
    """$size: header and body, line ends counted as two octets, as the content holds them."""
    return size


def command_line(
    attributes: Attributes,
    request: DeliveryRequest,
    recipients: Sequence[QueuedRecipient],
    nexthop: str,
    delimiters: str,
) -> list[str]:
    """The command's arguments. Raises BadMacro."""
    shared = _shared_values(attributes, request, nexthop)
    arguments: list[str] = []
    own: list[dict[str, str]] | None = None
    for word in attributes.argv:
        names = _names(word)
        if unknown := sorted(names - _BY_RECIPIENT - set(shared)):
            raise BadMacro(f'unknown macro name "{unknown[0]}" in "{word}"')
        if names & _BY_RECIPIENT:
            if own is None:
                own = [_recipient_values(attributes, each, delimiters) for each in recipients]
            arguments += [_substituted(word, {**shared, **values}) for values in own]
        else:
            arguments.append(_substituted(word, shared))
    return arguments


def _names(word: str) -> set[str]:
    names = set()
    for match in _MACRO.finditer(word):
        if match[1]:
            continue
        name = match[2] or match[3] or match[4] or ""
        if not _NAME.match(name):
            raise BadMacro(f'bad macro in "{word}"')
        names.add(name)
    return names


def _substituted(word: str, values: dict[str, str]) -> str:
    return _MACRO.sub(
        lambda match: "$" if match[1] else values[match[2] or match[3] or match[4]], word
    )


def _shared_values(
    attributes: Attributes, request: DeliveryRequest, nexthop: str
) -> dict[str, str]:
    envelope = request.message.envelope
    origin = envelope.origin
    flags = attributes.flags
    return {
        "sender": _address(envelope.sender, flags) if envelope.sender else _null(attributes),
        "nexthop": fold(nexthop) if "h" in flags else nexthop,
        "size": str(expanded_size(request.message.size)),
        "queue_id": request.queue_id,
        "envid": envelope.envid,
        "client_address": origin.client_address,
        "client_hostname": origin.client_name,
        "client_helo": origin.helo,
        "client_port": str(origin.client_port) if origin.client_port else "",
        "client_protocol": origin.protocol,
        "sasl_method": origin.sasl_method,
        "sasl_sender": origin.sasl_sender,
        "sasl_username": origin.sasl_username,
    }


def _null(attributes: Attributes) -> str:
    null = attributes.null_sender
    if null and "q" in attributes.flags:
        return str(Address(null)) if null != "<>" else '"<>"'
    return null


def _address(address: Address, flags: frozenset[str]) -> str:
    return str(address) if "q" in flags else address.internal


def shown_recipient(address: Address, flags: frozenset[str]) -> Address:
    """The address in the case that the flags h and u ask for."""
    local = fold(address.local) if "u" in flags else address.local
    domain = fold(address.domain) if "h" in flags else address.domain
    return Address(local, domain)


def _recipient_values(
    attributes: Attributes, queued: QueuedRecipient, delimiters: str
) -> dict[str, str]:
    flags = attributes.flags
    address = shown_recipient(queued.recipient.address, flags)
    original = queued.recipient.original or str(queued.recipient.address)
    user, extension = split_extension(address.local, delimiters)
    return {
        "recipient": _address(address, flags),
        "original_recipient": _original(original, flags),
        "user": user,
        "extension": extension[1:],
        "mailbox": address.local,
        "domain": fold(address.domain) if "h" in flags else address.domain,
    }


def _original(text: str, flags: frozenset[str]) -> str:
    from gatewayd.address import parse_address
    from gatewayd.errors import AddressSyntaxError

    try:
        return _address(shown_recipient(parse_address(text), flags), flags)
    except AddressSyntaxError:
        return text
