"""Transports that a reload has replaced: closed as soon as nothing uses them."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from gatewayd.interfaces import ITransport
from gatewayd.maillog import MailLog

__all__ = ["Retirement"]

_PATIENCE = 5.0
"""Seconds that a transport has for its close()."""


class Retirement:
    """Closes transports; one that fails or hangs in that keeps nobody else from closing."""

    def __init__(self, reactor: IReactorTime, log: MailLog) -> None:
        self._reactor = reactor
        self._log = log
        self._waiting: list[ITransport] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, transports: Iterable[ITransport]) -> None:
        """They are to be closed after their last lane."""
        self._waiting += transports

    def close_unused(self, used: set[int]) -> None:
        """Close those whose id() is not in ``used``."""
        unused = [each for each in self._waiting if id(each) not in used]
        self._waiting = [each for each in self._waiting if id(each) in used]
        for transport in unused:
            Deferred.fromCoroutine(self._close(transport))

    async def close_all(self, transports: Iterable[ITransport]) -> None:
        """Close these and all that still wait."""
        waiting, self._waiting = self._waiting, []
        closing = [Deferred.fromCoroutine(self._close(each)) for each in [*transports, *waiting]]
        for each in closing:
            await each

    async def _close(self, transport: ITransport) -> None:
        try:
            closing = transport.close()
            closing.addTimeout(_PATIENCE, self._reactor)
            await closing
        except Exception as error:
            self._log.failure("a transport could not be closed", error)
