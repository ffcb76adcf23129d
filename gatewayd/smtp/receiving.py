"""A message while its content comes in: decoded, measured, handed on in large pieces."""

from __future__ import annotations

from collections.abc import Callable

from gatewayd.smtp import reply_texts
from gatewayd.smtp.content import ContentDecoder
from gatewayd.smtp.session_events import Abort, Content, Event
from gatewayd.status import Reply

__all__ = ["Receiving"]

_PIECE = 65536


class Receiving:
    """What a session keeps of the message it is being sent.

    Content leaves by ``post`` as Content events of about 64 KB, so that a small message is one
    write and a large one never gathers in memory. After ``failure`` the rest is thrown away.
    """

    __slots__ = (
        "_gathered",
        "_gathered_size",
        "_limit",
        "_post",
        "decoder",
        "failure",
        "queue_id",
        "size",
    )

    def __init__(
        self,
        queue_id: str,
        decoder: ContentDecoder,
        size_limit: int,
        post: Callable[[Event], None],
    ) -> None:
        self.queue_id = queue_id
        self.decoder = decoder
        self.size = 0
        self.failure: Reply | None = None
        self._limit = size_limit
        self._post = post
        self._gathered: list[bytes] = []
        self._gathered_size = 0

    def take(self, octets: bytes) -> None:
        """More content, decoded."""
        self.size += len(octets)
        if self._limit and self.size > self._limit and self.failure is None:
            self.fail(reply_texts.TOO_BIG)
            self._post(Abort())
        if self.failure is None and octets:
            self._gathered.append(octets)
            self._gathered_size += len(octets)
            if self._gathered_size >= _PIECE:
                self.hand_on()

    def hand_on(self) -> None:
        """Post what has gathered."""
        if self._gathered:
            self._post(Content(b"".join(self._gathered)))
            self._gathered.clear()
            self._gathered_size = 0

    def fail(self, reply: Reply) -> None:
        """The message will be refused with this reply once its end is reached."""
        if self.failure is None:
            self.failure = reply
        self._gathered.clear()
        self._gathered_size = 0
