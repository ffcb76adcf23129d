"""Requests for a transport, and a source of them that records what became of each."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from gatewayd.address import NULL, parse_address
from gatewayd.errors import StoreError
from gatewayd.interfaces import IRequestSource
from gatewayd.message import (
    Content,
    DeliveryRequest,
    Envelope,
    MemoryContent,
    Notify,
    QueuedMessage,
    QueuedRecipient,
    Recipient,
    Route,
)
from gatewayd.status import Outcome

ROUTE = Route("smtp", "site.test")


def request(
    queue_id: str = "Q1",
    *recipients: str | Recipient,
    content: bytes | Content = b"Subject: test\r\n\r\nbody\r\n",
    sender: str = "sender@us.test",
    has_8bit: bool = False,
    **envelope: Any,
) -> DeliveryRequest:
    """A request for one message; recipients are numbered from 1."""
    queued = tuple(
        QueuedRecipient(
            number,
            each if isinstance(each, Recipient) else Recipient(parse_address(each), ROUTE, each),
        )
        for number, each in enumerate(recipients or ("user@site.test",), 1)
    )
    message = QueuedMessage(
        queue_id,
        0.0,
        Envelope(parse_address(sender) if sender else NULL, **envelope),
        queued,
        MemoryContent(content) if isinstance(content, bytes) else content,
        has_8bit=has_8bit,
    )
    return DeliveryRequest(message, ROUTE, queued)


def recipient(text: str, notify: Notify = Notify.DEFAULT, orcpt: str = "") -> Recipient:
    """A recipient with DSN parameters."""
    return Recipient(parse_address(text), ROUTE, text, notify, orcpt)


class DiskContent:
    """Content that takes its time: each read waits until release(), or answers at once.

    ``truncated``: octets that are there, of those that should be.
    """

    def __init__(self, octets: bytes, *, slow: bool = False, truncated: int | None = None) -> None:
        self._octets = octets
        self._there = octets if truncated is None else octets[:truncated]
        self._slow = slow
        self.waiting: deque[Deferred[None]] = deque()
        self.error: StoreError | None = None
        self.largest_read = 0

    @property
    def size(self) -> int:
        return len(self._octets)

    async def read(self, offset: int, length: int) -> bytes:
        if self._slow:
            wait: Deferred[None] = Deferred()
            self.waiting.append(wait)
            await wait
        if self.error is not None:
            raise self.error
        self.largest_read = max(self.largest_read, length)
        return self._there[offset : offset + length]

    def release(self) -> None:
        self.waiting.popleft().callback(None)


@implementer(IRequestSource)
class FakeSource:
    """Gives requests in order. ``results``: queue ID → recipient number → outcome.

    ``holds``: wait() stays open until supply() or starve(), instead of answering None at once.
    """

    def __init__(self, requests: Iterable[DeliveryRequest] = (), *, holds: bool = False) -> None:
        self.requests = deque(requests)
        self.results: dict[str, dict[int, Outcome]] = {}
        self.taken = 0
        self.waits: list[float] = []
        self.round_trips: list[float] = []
        self.cancelled = 0
        self._holds = holds
        self._wait: Deferred[DeliveryRequest | None] | None = None

    def take(self) -> DeliveryRequest | None:
        if not self.requests:
            return None
        self.taken += 1
        return self.requests.popleft()

    def wait(self, seconds: float) -> Deferred[DeliveryRequest | None]:
        self.waits.append(seconds)
        if self.requests or not self._holds:
            return succeed(self.take())
        self._wait = Deferred(self._abandoned)
        return self._wait

    def _abandoned(self, _: object) -> None:
        self.cancelled += 1
        self._wait = None

    def supply(self, request: DeliveryRequest) -> None:
        """Something waits; whoever waits for it gets it."""
        self.requests.append(request)
        if self._wait is not None:
            wait, self._wait = self._wait, None
            wait.callback(self.take())

    def starve(self) -> None:
        """The time of wait() is up."""
        wait, self._wait = self._wait, None
        assert wait is not None
        wait.callback(None)

    def done(self, request: DeliveryRequest, outcomes: Mapping[int, Outcome]) -> None:
        assert request.queue_id not in self.results, f"{request.queue_id} done twice"
        assert outcomes.keys() == {each.number for each in request.recipients}
        self.results[request.queue_id] = dict(outcomes)

    def round_trip(self, seconds: float) -> None:
        self.round_trips.append(seconds)

    def actions(self) -> dict[str, list[str]]:
        """Queue ID → what was done for each recipient, in words."""
        return {
            queue_id: [outcomes[number].action.value for number in sorted(outcomes)]
            for queue_id, outcomes in self.results.items()
        }
