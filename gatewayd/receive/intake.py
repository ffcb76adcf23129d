"""Messages from a protocol server, through the header filter, into the queue: ``ports.Intake``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gatewayd.errors import AddressSyntaxError, StoreError
from gatewayd.interfaces import IIncomingContent, IQueueStore
from gatewayd.maillog import MailLog
from gatewayd.message import Envelope, NewMessage, Origin, QueuedMessage, Recipient
from gatewayd.receive.headers import HeaderFilter, HeaderRules, TooManyHops
from gatewayd.receive.trace import Host, missing_fields, received_field
from gatewayd.routing.rewrite import RewriteRules, rewrite
from gatewayd.smtp.ports import Refused
from gatewayd.status import Reply

if TYPE_CHECKING:
    from gatewayd.config.settings import Settings

__all__ = ["Arrivals", "IntakeSettings", "StoreIntake"]

log = MailLog("cleanup")

_TOO_MANY_HOPS = Reply(554, "5.4.0", "Error: too many hops")
_TOO_BIG = Reply(552, "5.3.4", "Error: message file too big")


@dataclass(frozen=True, slots=True)
class IntakeSettings:
    """The parameters of taking messages in. ``size_limit`` in octets; 0 is none.

    ``rules`` complete the senders' addresses; recipients come rewritten.
    """

    host: Host
    headers: HeaderRules = field(default_factory=HeaderRules)
    size_limit: int = 10240000
    rules: RewriteRules | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> IntakeSettings:
        drop = (name.lower().encode("ascii", "ignore") for name in _drop_names(settings))
        return cls(
            host=Host(settings.text("myhostname"), settings.text("mail_name")),
            headers=HeaderRules(
                size_limit=settings.number("header_size_limit"),
                hop_limit=settings.number("hopcount_limit"),
                drop=frozenset(drop) | {b"return-path"},
                always_add_missing=settings.flag("always_add_missing_headers"),
                undisclosed_recipients=settings.text("undisclosed_recipients_header"),
            ),
            size_limit=settings.number("message_size_limit"),
            rules=RewriteRules.from_settings(settings),
        )


def _drop_names(settings: Settings) -> tuple[str, ...]:
    return tuple(name.rstrip(":") for name in settings.words("message_drop_headers"))


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Where messages go: the store, and what must hear of each one that is in.

    ``clock`` gives POSIX seconds. ``room`` tells whether the dispatcher takes another message
    right away; if so ``submitted`` gets it, else it waits in the store, due at once, and
    ``stored`` is called.
    """

    store: IQueueStore
    clock: Callable[[], float]
    room: Callable[[], bool]
    submitted: Callable[[QueuedMessage], None]
    stored: Callable[[], None] = lambda: None

    def put(self, message: NewMessage) -> Deferred[QueuedMessage]:
        """Make it durable and hand it on. Fails with StoreError or StoreFull.

        Cancelling ends the wait only: what the store was given stays given, and is handed on.
        """
        lease = self.room() and not message.hold
        waiting: Deferred[QueuedMessage] = Deferred()

        def durable(queued: QueuedMessage) -> None:
            if lease:
                self.submitted(queued)
            else:
                self.stored()
            waiting.callback(queued)

        self.store.put(message, lease).addCallbacks(durable, waiting.errback)
        return waiting


class StoreIntake:
    """``ports.Intake`` over a queue store.

    ``is_local`` tells whether a client's messages are to be completed with the header fields
    that they lack (local_header_rewrite_clients).
    """

    def __init__(
        self,
        settings: IntakeSettings,
        arrivals: Arrivals,
        is_local: Callable[[Origin], bool] = lambda origin: False,
    ) -> None:
        self.settings = settings
        self.arrivals = arrivals
        self._is_local = is_local

    def begin(self, envelope: Envelope, recipients: tuple[Recipient, ...]) -> IncomingMessage:
        """Start a message. Raises StoreFull, StoreError."""
        envelope = self._rewritten(envelope)
        headers = self.settings.headers
        completed = headers.always_add_missing or self._is_local(envelope.origin)
        missing = partial(missing_fields, self.settings.host, envelope.sender)
        return IncomingMessage(
            self.settings, self.arrivals, envelope, recipients, missing if completed else None
        )

    def _rewritten(self, envelope: Envelope) -> Envelope:
        """With a complete sender. One without sense was let in by nobody's rules: it stays."""
        if self.settings.rules is None:
            return envelope
        try:
            sender = rewrite(envelope.sender, self.settings.rules)
        except AddressSyntaxError:
            return envelope
        return envelope if sender is envelope.sender else replace(envelope, sender=sender)


class IncomingMessage:
    """``ports.Incoming``: one message on its way in.

    ``missing`` gives the fields to add if there are none, from queue ID and time; None: add none.
    ``arrived`` is when the message came, if not now.

    The content is given up by whatever ends it but commit(): a refusal, an error of the store,
    abort(). After that, writing more is harmless and does nothing.
    """

    __slots__ = (
        "_arrivals",
        "_arrived",
        "_content",
        "_envelope",
        "_filter",
        "_recipients",
        "_size",
        "_size_limit",
        "queue_id",
    )

    def __init__(
        self,
        settings: IntakeSettings,
        arrivals: Arrivals,
        envelope: Envelope,
        recipients: tuple[Recipient, ...],
        missing: Callable[[str, float], tuple[tuple[str, str], ...]] | None,
        arrived: float | None = None,
    ) -> None:
        now = arrivals.clock()
        store = arrivals.store
        self._content: IIncomingContent | None = store.incoming()
        self.queue_id: str = store.new_queue_id(now)
        self._arrivals = arrivals
        self._arrived = now if arrived is None else min(arrived, now)
        self._envelope = envelope
        self._recipients = recipients
        self._size = 0
        self._size_limit = settings.size_limit
        host = settings.host
        trace = received_field(host, envelope, recipients, self.queue_id, now)
        added = missing(self.queue_id, now) if missing else ()
        self._filter = HeaderFilter(settings.headers, trace, added)

    def write(self, octets: bytes) -> Deferred[None] | None:
        """Add content. Raises Refused, StoreFull, StoreError, here or through the Deferred."""
        if self._content is None:
            return None
        self._size += len(octets)
        if 0 < self._size_limit < self._size:
            raise self._refused(_TOO_BIG)
        try:
            return self._store(self._filter.feed(octets))
        except TooManyHops:
            raise self._refused(_TOO_MANY_HOPS) from None

    def _store(self, octets: bytes) -> Deferred[None] | None:
        if not octets or self._content is None:
            return None
        try:
            pause = self._content.write(octets)
        except BaseException:
            self.abort()
            raise
        return None if pause is None else pause.addErrback(self._given_up)

    def _given_up(self, failure: Failure) -> Failure:
        self.abort()
        return failure

    def _refused(self, reply: Reply) -> Refused:
        log.info(
            f"{self.queue_id}: reject: {reply} from=<{self._envelope.sender.internal}>",
            queue_id=self.queue_id,
        )
        self.abort()
        return Refused(reply)

    async def commit(self) -> QueuedMessage:
        """On stable storage. Raises Refused, StoreFull, StoreError."""
        if self._content is None:
            raise RuntimeError("the message was given up")
        try:
            rest = self._filter.finish()
        except TooManyHops:
            raise self._refused(_TOO_MANY_HOPS) from None
        pause = self._store(rest)
        if pause is not None:
            await pause
        message_id = self._filter.message_id
        log.info(
            f"{self.queue_id}: message-id={message_id or '<>'}",
            queue_id=self.queue_id,
            message_id=message_id,
        )
        message = NewMessage(
            self.queue_id,
            self._arrived,
            self._envelope,
            self._recipients,
            self._content.finish(),
            has_8bit=self._filter.has_8bit,
        )
        content, self._content = self._content, None
        try:
            return await self._arrivals.put(message)
        except StoreError:
            content.discard()
            raise

    def abort(self) -> None:
        """Forget it all."""
        content, self._content = self._content, None
        if content is not None:
            content.discard()
