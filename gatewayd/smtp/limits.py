"""How many connections there are, and from whom."""

from __future__ import annotations

from enum import Enum

__all__ = ["Admission", "ConnectionCounts"]


class Admission(Enum):
    """What becomes of a new connection."""

    SERVE = "now"
    WAIT = "when another has ended"
    TOO_MANY = "not: the client has enough"
    BUSY = "not: enough are waiting"


class ConnectionCounts:
    """Counts of one service's connections. Memory: one number for each connected address.

    Connections over ``total_limit`` wait unanswered, as they do in the kernel's queue when all
    of Postfix's processes are busy; at most ``waiting_limit`` of them.
    """

    __slots__ = ("_by_address", "serving", "waiting", "waiting_limit")

    def __init__(self, *, waiting_limit: int = 1000) -> None:
        self._by_address: dict[str, int] = {}
        self.serving = 0
        self.waiting = 0
        self.waiting_limit = waiting_limit

    def arrived(self, address: str, *, client_limit: int, total_limit: int) -> Admission:
        """A connection has come in; it counts until departed(). A limit of 0 is none."""
        count = self._by_address.get(address, 0) + 1
        self._by_address[address] = count
        if client_limit and count > client_limit:
            return Admission.TOO_MANY
        if not total_limit or self.serving < total_limit:
            self.serving += 1
            return Admission.SERVE
        if self.waiting >= self.waiting_limit:
            return Admission.BUSY
        self.waiting += 1
        return Admission.WAIT

    def promoted(self) -> None:
        """One that waited is served now."""
        self.waiting -= 1
        self.serving += 1

    def departed(self, address: str, admission: Admission) -> None:
        """A connection has ended; ``admission`` is what it last was."""
        count = self._by_address.get(address, 0) - 1
        if count > 0:
            self._by_address[address] = count
        else:
            self._by_address.pop(address, None)
        if admission is Admission.SERVE:
            self.serving -= 1
        elif admission is Admission.WAIT:
            self.waiting -= 1

    def of(self, address: str) -> int:
        """How many connections an address has."""
        return self._by_address.get(address, 0)
