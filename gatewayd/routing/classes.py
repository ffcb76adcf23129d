"""Address classes: the five ways in which this gateway can stand to a domain.

They are asked for in the order of this enumeration, and the first that claims the domain has
it (postfix.md §1). The class decides who may send to a recipient, which list must know it, and
which transport takes its mail unless a transport table says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["AddressClass", "Listing", "listing_of"]


class AddressClass(Enum):
    """What a recipient's domain is to us."""

    LOCAL = "local"
    """Mail for it ends here: mydestination, or our own address as a literal."""
    ALIAS = "virtual alias"
    """Every recipient is only another name: virtual_alias_domains."""
    VIRTUAL = "virtual mailbox"
    """Mailboxes without system users: virtual_mailbox_domains."""
    RELAY = "relay"
    """We pass mail on to its own hosts for anybody: relay_domains."""
    DEFAULT = "default"
    """The rest of the world: only for those we trust."""

    @property
    def is_ours(self) -> bool:
        """Whether strangers may send to it."""
        return self is not AddressClass.DEFAULT


@dataclass(frozen=True, slots=True)
class Listing:
    """Where the valid recipients of a class are named, and how an unknown one is refused."""

    maps: str
    code: str
    text: str


_LISTINGS = {
    AddressClass.LOCAL: Listing(
        "local_recipient_maps",
        "unknown_local_recipient_reject_code",
        "User unknown in local recipient table",
    ),
    AddressClass.ALIAS: Listing(
        "virtual_alias_maps",
        "unknown_virtual_alias_reject_code",
        "User unknown in virtual alias table",
    ),
    AddressClass.VIRTUAL: Listing(
        "virtual_mailbox_maps",
        "unknown_virtual_mailbox_reject_code",
        "User unknown in virtual mailbox table",
    ),
    AddressClass.RELAY: Listing(
        "relay_recipient_maps",
        "unknown_relay_recipient_reject_code",
        "User unknown in relay recipient table",
    ),
}


def listing_of(address_class: AddressClass) -> Listing | None:
    """How recipients of the class are checked; None if it has no list (the rest of the world)."""
    return _LISTINGS.get(address_class)
