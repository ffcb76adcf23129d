"""Which keys are asked for an address or a domain, and in which order (postfix.md §1, §6).

All pure. Pattern tables (regexp, pcre, cidr, …) get the full key only; for tables of fixed
strings the partial keys follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gatewayd.address import Address

__all__ = ["Key", "domain_keys", "fold", "recipient_keys", "split_extension", "transport_keys"]

_FOLD = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


class Key(NamedTuple):
    """A key to ask. ``partial``: of fixed-string tables only."""

    text: str
    partial: bool = False


def fold(text: str) -> str:
    """ASCII letters in lower case; nothing else changes (U+212A stays itself)."""
    return text.lower() if text.isascii() else text.translate(_FOLD)


def split_extension(local: str, delimiters: str) -> tuple[str, str]:
    """(user, extension with its delimiter); the extension is "" if there is none.

    The first delimiter counts, but not at the start; ``owner-x`` and ``x-request`` are whole
    names where ``-`` delimits.
    """
    if not delimiters:
        return local, ""
    if "-" in delimiters:
        folded = fold(local)
        if folded.startswith("owner-") or folded.endswith("-request"):
            return local, ""
    if fold(local) in ("mailer-daemon", "double-bounce"):
        return local, ""
    for place, char in enumerate(local):
        if char in delimiters and place:
            return local[:place], local[place:]
    return local, ""


def _forms(local: str, domain: str) -> Iterator[str]:
    """The external form, and the internal one where it differs."""
    external = str(Address(local, domain))
    yield external
    internal = f"{local}@{domain}" if domain else local
    if internal != external:
        yield internal


def _parents(domain: str, plain: bool) -> Iterator[str]:
    if domain.startswith("["):
        return
    rest = domain
    while "." in rest:
        rest = rest.partition(".")[2]
        if rest:
            yield rest if plain else f".{rest}"


def transport_keys(address: Address, delimiters: str, plain_parents: bool) -> Iterator[Key]:
    """transport(5): the address, without its extension, its domain, parents, ``*``."""
    for text in _forms(address.local, address.domain):
        yield Key(text)
    user, extension = split_extension(address.local, delimiters)
    if extension:
        for text in _forms(user, address.domain):
            yield Key(text, partial=True)
    yield from (Key(text, partial=True) for text in domain_keys(address.domain, plain_parents))
    yield Key("*")


def domain_keys(domain: str, plain_parents: bool) -> Iterator[str]:
    """A domain, then its parents: as ``parent`` or as ``.parent``, longest first."""
    yield domain
    yield from _parents(domain, plain_parents)


def recipient_keys(address: Address, delimiters: str, *, is_local: bool) -> Iterator[Key]:
    """Recipient lists: user+ext@domain, user@domain, then (if local) user+ext, user, @domain."""
    user, extension = split_extension(address.local, delimiters)
    for text in _forms(address.local, address.domain):
        yield Key(text)
    if extension:
        for text in _forms(user, address.domain):
            yield Key(text, partial=True)
    if is_local:
        for text in _forms(address.local, ""):
            yield Key(text, partial=True)
        if extension:
            for text in _forms(user, ""):
                yield Key(text, partial=True)
    yield Key(f"@{address.domain}", partial=True)
