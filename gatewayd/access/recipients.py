"""Which recipients of our domains exist: the last check of every RCPT (postfix.md §6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gatewayd.routing.classes import AddressClass, listing_of
from gatewayd.routing.router import Resolution
from gatewayd.routing.transport_value import refusal
from gatewayd.status import Reply
from gatewayd.tables.address_keys import fold, recipient_keys
from gatewayd.tables.maps import Maps

if TYPE_CHECKING:
    from gatewayd.config.settings import Settings

__all__ = ["RecipientList", "RecipientLists"]


@dataclass(frozen=True, slots=True)
class RecipientList:
    """A class's valid recipients, and how others are refused."""

    maps: Maps
    code: int
    text: str


class RecipientLists:
    """The lists of all classes. A class without tables takes every recipient.

    ``never_refused`` are local parts in lower case that every local domain has, whatever its
    list says: postmaster (RFC 5321 §4.5.1), and the senders of our own notices.
    """

    def __init__(
        self,
        lists: Mapping[AddressClass, RecipientList],
        delimiters: str = "",
        never_refused: Iterable[str] = ("postmaster", "mailer-daemon", "double-bounce"),
    ) -> None:
        self._lists = {each: listed for each, listed in lists.items() if listed.maps}
        self._delimiters = delimiters
        self._never_refused = frozenset(never_refused)

    @classmethod
    def from_settings(cls, settings: Settings) -> RecipientLists:
        """Raises ConfigError for tables that cannot be."""
        show = settings.flag("show_user_unknown_table_name")
        lists: dict[AddressClass, RecipientList] = {}
        for address_class in AddressClass:
            listing = listing_of(address_class)
            # Virtual aliases are refused by their route, which is one to error:.
            if listing is not None and address_class is not AddressClass.ALIAS:
                lists[address_class] = RecipientList(
                    Maps.open(settings.words(listing.maps)),
                    settings.number(listing.code),
                    listing.text if show else "User unknown",
                )
        bounce_sender = fold(settings.text("double_bounce_sender"))
        return cls(
            lists,
            settings.text("recipient_delimiter"),
            ("postmaster", "mailer-daemon", bounce_sender),
        )

    async def refusal(self, resolution: Resolution, subject: str, detail: str) -> Reply | None:
        """Why nobody may send to this address, or None. ``detail``: the status without class.

        Raises TableError.
        """
        error = refusal(resolution.route, f"5.{detail}")
        if error is not None:
            status, text = error
            return Reply(550 if status[0] == "5" else 450, status, f"{subject} rejected: {text}")
        listed = self._lists.get(resolution.address_class)
        if listed is None or await self._knows(listed.maps, resolution):
            return None
        status = f"{listed.code // 100}.{detail}"
        return Reply(listed.code, status, f"{subject} rejected: {listed.text}")

    async def _knows(self, maps: Maps, resolution: Resolution) -> bool:
        is_local = resolution.address_class is AddressClass.LOCAL
        if is_local and fold(resolution.address.local) in self._never_refused:
            return True
        keys = recipient_keys(resolution.address, self._delimiters, is_local=is_local)
        return await maps.find_first(keys) is not None
