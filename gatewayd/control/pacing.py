"""Answers as long as the queue in bounded memory: written no faster than the client reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.web.http import Request
from zope.interface import implementer

__all__ = ["PacedAnswer", "paced"]


@implementer(IPushProducer)
class PacedAnswer:
    """A request's answer, piece by piece."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._caught_up: Deferred[None] | None = None

    async def write(self, octets: bytes) -> None:
        """Send a piece, and wait while too much of the answer is on its way."""
        self._request.write(octets)
        if self._caught_up is not None:
            await self._caught_up

    def pauseProducing(self) -> None:
        """The client is behind."""
        if self._caught_up is None:
            self._caught_up = Deferred()

    def resumeProducing(self) -> None:
        """The client has caught up."""
        waiting, self._caught_up = self._caught_up, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)

    def stopProducing(self) -> None:
        """The client is gone: whoever answers is cancelled, by the request's notifyFinish."""


@contextmanager
def paced(request: Request) -> Iterator[PacedAnswer]:
    """The answer to a request that has its headers."""
    answer = PacedAnswer(request)
    request.registerProducer(answer, True)
    try:
        yield answer
    finally:
        request.unregisterProducer()
