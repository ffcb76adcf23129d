"""Who is at the other end of the control socket, and what that one may do."""

from __future__ import annotations

import pwd
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from gatewayd.config.settings import Settings
from gatewayd.tables.match_list import MatchList

__all__ = ["Permissions", "Right", "peer_user_id"]

_UCRED = struct.Struct("3i")


class Right:
    """What a verb needs."""

    LIST = "authorized_mailq_users"
    FLUSH = "authorized_flush_users"
    SUBMIT = "authorized_submit_users"
    OPERATE = ""
    """Everything else: root and the gateway's own user only."""


def peer_user_id(connected: socket.socket) -> int:
    """The user who connected, as the kernel says (SO_PEERCRED, unix(7))."""
    octets = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    user_id: int = _UCRED.unpack(octets)[1]
    return user_id


@dataclass(frozen=True, slots=True)
class Permissions:
    """Which users have which right. ``own`` are the user IDs that may do everything."""

    own: frozenset[int]
    lists: dict[str, MatchList]

    @classmethod
    def from_settings(cls, settings: Settings, gateway: int | None = None) -> Permissions:
        """Rights as main.cf gives them. ``gateway`` is the user it runs as, if not mail_owner."""
        rights = (Right.LIST, Right.FLUSH, Right.SUBMIT)
        own = {0, *_user_ids([settings.text("mail_owner")])}
        if gateway is not None:
            own.add(gateway)
        return cls(
            frozenset(own),
            {name: MatchList.open(settings.words(name), name) for name in rights},
        )

    async def allows(self, user_id: int, right: str) -> bool:
        """Whether the user has the right. Raises TableError if a table cannot tell."""
        if user_id in self.own:
            return True
        if right not in self.lists:
            return False
        return await self.lists[right].matches(_user_name(user_id))


def _user_ids(names: Sequence[str]) -> set[int]:
    found = set()
    for name in names:
        try:
            found.add(pwd.getpwnam(name).pw_uid)
        except KeyError:
            continue
    return found


def _user_name(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return str(user_id)
