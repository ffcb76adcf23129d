"""HTTP requests and answers in bounded memory, whatever is sent and however slowly it's read."""

from __future__ import annotations

from io import BytesIO

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.web import http
from twisted.web.server import Request
from zope.interface import implementer

__all__ = ["BODY_LIMIT", "BoundedRequest", "Pacing"]

BODY_LIMIT = 1 << 20
"""Octets that a request's body may have: names for some hundred thousand messages."""


class BoundedRequest(Request):
    """A request that keeps no more of its body than the limit; ``is_too_large`` then.

    twisted.web would put a large one into a file, before anybody has asked whose it is.
    """

    is_too_large = False

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        assert self.content is not None
        if self.content.tell() + len(data) > BODY_LIMIT:
            self.is_too_large = True
        else:
            self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        # A body is JSON, whatever it says it is: forms would be taken apart.
        self.requestHeaders.removeHeader(b"content-type")
        super().requestReceived(command, path, version)  # type: ignore[no-untyped-call]


@implementer(IPushProducer)
class Pacing:
    """Writes to a request no faster than its client reads; to be used by ``with``.

    When the client is gone, whoever waits here is cancelled with the whole answer.
    """

    def __init__(self, request: http.Request) -> None:
        self._request = request
        self._resumed: Deferred[None] | None = None

    def __enter__(self) -> Pacing:
        self._request.registerProducer(self, True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._request.channel is not None:
            self._request.unregisterProducer()

    async def write(self, octets: bytes) -> None:
        """Send, and wait while the client lags behind."""
        self._request.write(octets)
        if self._resumed is not None:
            await self._resumed

    def pauseProducing(self) -> None:
        if self._resumed is None:
            self._resumed = Deferred()

    def resumeProducing(self) -> None:
        waiting, self._resumed = self._resumed, None
        if waiting is not None:
            waiting.callback(None)

    def stopProducing(self) -> None:
        """The client is gone: the request's notifyFinish() tells everybody."""
