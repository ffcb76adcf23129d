"""Takes the messages that programs left in ``maildrop/`` into the queue.

A file stays until its message is on stable storage; if the gateway is killed in between, it is
taken again: a message may come twice, but never not at all. Files that are no submissions, or
that may not be taken (too many hops), go to ``corrupt/``. What cannot be taken now (disk full, a
table that doesn't answer) stays and is tried at the next look.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThreadPool

from gatewayd.address import NULL, Address, parse_address
from gatewayd.errors import AddressSyntaxError, StoreError, TableError
from gatewayd.maillog import MailLog
from gatewayd.message import Envelope, Notify, Origin, Recipient, Route
from gatewayd.receive.intake import Arrivals, IncomingMessage, IntakeSettings
from gatewayd.receive.maildrop import MaildropError, Submission
from gatewayd.receive.maildrop_folder import DroppedFile, MaildropFolder
from gatewayd.receive.trace import missing_fields
from gatewayd.routing.rewrite import strip_source_route
from gatewayd.routing.router import Router
from gatewayd.smtp.ports import Refused

__all__ = ["Pickup"]

log = MailLog("pickup")

T = TypeVar("T")

_AT_ONCE = 16
"""Files taken at the same time: they share the store's commits."""

_BATCH = 500
"""Names read from the folder at a time."""


class Pickup:
    """Looks into maildrop when poked, and every ``interval`` seconds in case nobody poked.

    ``may_submit(user ID)`` tells whose mail is taken; it raises TableError if it can't tell now.
    """

    def __init__(
        self,
        folder: MaildropFolder,
        settings: IntakeSettings,
        router: Router,
        arrivals: Arrivals,
        reactor: Any,
        may_submit: Callable[[int], Awaitable[bool]],
        interval: float = 60.0,
    ) -> None:
        self.settings = settings
        self.router = router
        self._folder = folder
        self.arrivals = arrivals
        self._reactor = reactor
        self._may_submit = may_submit
        self._interval = interval
        self._timer: Any = None
        self._pass: Deferred[None] | None = None
        self._again = False
        self._stopped = True

    def start(self) -> None:
        """Take what is there, and from now on what comes."""
        self._stopped = False
        self.look()

    def look(self) -> None:
        """Somebody left a message: take it soon. Never raises."""
        if self._stopped:
            return
        if self._pass is not None:
            self._again = True
            return
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._pass = Deferred.fromCoroutine(self._look())
        self._pass.addErrback(lambda failure: log.failure("maildrop", failure))
        self._pass.addCallback(lambda _: self._looked())

    def _looked(self) -> None:
        self._pass = None
        if self._again:
            self._again = False
            self.look()
        elif not self._stopped:
            self._timer = self._reactor.callLater(self._interval, self.look)

    async def stop(self) -> None:
        """Take no more; returns when those being taken are in."""
        self._stopped = True
        self._again = False
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._pass is not None:
            ended: Deferred[None] = Deferred()
            self._pass.addCallback(ended.callback)
            await ended

    async def _look(self) -> None:
        """One pass: every file that is there, each of them once."""
        tried: set[str] = set()
        while not self._stopped:
            try:
                names = await self._in_thread(self._folder.names, tried, _BATCH)
            except OSError as error:
                log.warning(f"maildrop: {error}")
                return
            if not names:
                return
            for at in range(0, len(names), _AT_ONCE):
                if self._stopped:
                    return
                batch = names[at : at + _AT_ONCE]
                tried.update(batch)
                taken: list[Deferred[object]] = [
                    Deferred.fromCoroutine(self._take(name)) for name in batch
                ]
                if not all(await gatherResults(taken)):
                    return

    async def _take(self, name: str) -> bool:
        """One file; False if the store takes nothing now. Never raises."""
        try:
            dropped = await self._in_thread(self._folder.open, name)
            if dropped is None:
                return True
            try:
                await self._receive(dropped)
            finally:
                await self._in_thread(dropped.file.close)
            await self._in_thread(self._folder.remove, name)
        except (MaildropError, Refused) as error:
            await self._set_aside(name, str(error))
        except TableError as error:
            log.warning(f"{name}: {error}: left for later")
        except (OSError, StoreError) as error:
            log.warning(f"{name}: {error}: left for later")
            return False
        except Exception as error:
            log.failure(f"{name}: left for later", error)
        return True

    async def _set_aside(self, name: str, why: str) -> None:
        log.warning(f"maildrop/{name}: {why}: moved to corrupt/")
        try:
            await self._in_thread(self._folder.set_aside, name)
        except OSError as error:
            log.error(f"maildrop/{name}: cannot be moved to corrupt/: {error}")

    async def _receive(self, dropped: DroppedFile) -> None:
        """The file's message, into the queue."""
        submission = dropped.submission
        if not await self._may_submit(dropped.user_id):
            raise MaildropError(f"user {dropped.user_id} may not submit mail")
        sender = self._sender(submission)
        recipients = await self._recipients(submission, sender)
        envelope = Envelope(
            sender,
            body=submission.body,
            smtputf8=submission.smtputf8,
            ret=submission.ret,
            envid=submission.envid,
            origin=Origin(user_id=dropped.user_id),
        )
        incoming = IncomingMessage(
            self.settings,
            self.arrivals,
            envelope,
            recipients,
            partial(_missing, self.settings, sender, submission.full_name),
            dropped.modified,
        )
        log.info(
            f"{incoming.queue_id}: uid={dropped.user_id} from=<{submission.sender}>",
            queue_id=incoming.queue_id,
        )
        try:
            while piece := await self._in_thread(next, dropped.pieces, b""):
                pause = incoming.write(piece)
                if pause is not None:
                    await pause
            await incoming.commit()
        finally:
            incoming.abort()

    def _sender(self, submission: Submission) -> Address:
        text = strip_source_route(submission.sender)
        if text in ("", "<>"):
            return NULL
        try:
            return self.router.rewritten(parse_address(text))
        except AddressSyntaxError as error:
            raise MaildropError(str(error)) from None

    async def _recipients(self, submission: Submission, sender: Address) -> tuple[Recipient, ...]:
        """All of them, each once; what is no address is returned to the sender like any other."""
        notify = Notify.DEFAULT
        for word in submission.notify.split(",") if submission.notify else ():
            notify |= Notify[word]
        found: dict[Address, Recipient] = {}
        for text in submission.recipients:
            recipient = await self._recipient(text, sender, notify)
            found.setdefault(recipient.address, recipient)
        return tuple(found.values())

    async def _recipient(self, text: str, sender: Address, notify: Notify) -> Recipient:
        try:
            address = parse_address(strip_source_route(text))
        except AddressSyntaxError:
            route = Route("error", "5.1.3 bad address syntax")
            return Recipient(Address(text), route, original=text, notify=notify)
        resolution = await self.router.resolve(address, sender)
        return Recipient(resolution.address, resolution.route, original=text, notify=notify)

    def _in_thread(self, work: Callable[..., T], *arguments: Any) -> Deferred[T]:
        pool = self._reactor.getThreadPool()
        return deferToThreadPool(self._reactor, pool, work, *arguments)


def _missing(
    settings: IntakeSettings, sender: Address, full_name: str, queue_id: str, now: float
) -> tuple[tuple[str, str], ...]:
    return missing_fields(settings.host, sender, queue_id, now, full_name)
