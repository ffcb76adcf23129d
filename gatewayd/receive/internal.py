"""Notices that the gateway itself sends, made messages of the queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gatewayd.address import Address
from gatewayd.interfaces import IQueueStore
from gatewayd.maillog import MailLog
from gatewayd.message import Envelope, MemoryContent, NewMessage, Recipient
from gatewayd.receive.headers import HeaderFilter
from gatewayd.receive.intake import IntakeSettings
from gatewayd.receive.trace import missing_fields, received_field
from gatewayd.routing.router import Router

__all__ = ["Notice", "NoticeMaker"]

log = MailLog("cleanup")


class Notice(Protocol):
    """What the maker needs of a ``gatewayd.notify`` report."""

    @property
    def sender(self) -> Address: ...
    @property
    def recipient(self) -> Address: ...
    @property
    def content(self) -> bytes: ...
    @property
    def smtputf8(self) -> bool: ...


class NoticeMaker:
    """Turns reports into messages that can be put in the queue.

    The caller puts them there, in the same transaction as the outcome that they report.
    """

    def __init__(
        self,
        settings: IntakeSettings,
        store: IQueueStore,
        router: Router,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._store = store
        self._router = router
        self._clock = clock

    async def prepare(self, report: Notice) -> NewMessage:
        """Routed, with a queue ID, a trace field and a Message-Id. Raises TableError: not now."""
        now = self._clock()
        resolution = await self._router.resolve(report.recipient, report.sender)
        recipients = (
            Recipient(resolution.address, resolution.route, original=str(report.recipient)),
        )
        queue_id = self._store.new_queue_id(now)
        envelope = Envelope(report.sender, smtputf8=report.smtputf8)
        host = self._settings.host
        trace = received_field(host, envelope, recipients, queue_id, now)
        missing = missing_fields(host, report.sender, queue_id, now)
        header = HeaderFilter(self._settings.headers, trace, missing)
        content = MemoryContent(header.feed(report.content) + header.finish())
        log.info(
            f"{queue_id}: message-id={header.message_id or '<>'}",
            queue_id=queue_id,
            message_id=header.message_id,
        )
        return NewMessage(queue_id, now, envelope, recipients, content, has_8bit=header.has_8bit)
