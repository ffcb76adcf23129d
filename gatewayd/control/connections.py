"""Connections to the control socket, so many for each user: every local user may open it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IProtocolFactory
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure

from gatewayd.control.peer import peer_user_id

__all__ = ["USER_LIMIT", "LimitedByUser"]

USER_LIMIT = 20
"""Connections of one user at a time. The gateway's own users have no limit."""

_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
    b"Connection: close\r\n\r\n"
    b'{"error": "too many connections of this user"}\n'
)


class _Connection(ProtocolWrapper):
    """Hands on to the site what comes, unless its user has too many of these."""

    factory: LimitedByUser
    user_id: int | None = None

    def makeConnection(self, transport: Any) -> None:
        user_id = peer_user_id(transport.getHandle())
        if self.factory.admits(user_id):
            self.user_id = user_id
            super().makeConnection(transport)  # type: ignore[no-untyped-call]
        else:
            transport.write(_REFUSAL)
            transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        if self.user_id is not None:
            super().dataReceived(data)  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        if self.user_id is not None:
            self.factory.left(self.user_id)
            super().connectionLost(reason)  # type: ignore[no-untyped-call]


class LimitedByUser(WrappingFactory):
    """The factory to listen with; ``is_own`` tells the users without limit."""

    protocol = _Connection
    noisy = False

    def __init__(self, site: IProtocolFactory, is_own: Callable[[int], bool]) -> None:
        super().__init__(site)  # type: ignore[no-untyped-call]
        self._is_own = is_own
        self._open: Counter[int] = Counter()

    def admits(self, user_id: int) -> bool:
        """Whether the user may have one more; counts it."""
        if self._open[user_id] >= USER_LIMIT and not self._is_own(user_id):
            return False
        self._open[user_id] += 1
        return True

    def left(self, user_id: int) -> None:
        """One of the user's connections has ended."""
        self._open[user_id] -= 1
        if not self._open[user_id]:
            del self._open[user_id]
