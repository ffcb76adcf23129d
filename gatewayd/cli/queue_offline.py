"""The queue opened by a command itself, while the daemon is down."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore

from gatewayd.config.settings import Settings
from gatewayd.control.client import ControlRefused
from gatewayd.control.operator import Operator, UnknownVerb, selection_from
from gatewayd.errors import StoreError
from gatewayd.message import Content
from gatewayd.queue.sqlite_store import SqliteStore, StoreSettings

__all__ = ["OfflineQueue"]

T = TypeVar("T")


class OfflineQueue:
    """The verbs of the control socket, done in this process. One call at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = StoreSettings.from_settings(settings)

    def listing(self, **selection: Any) -> Iterator[dict[str, Any]]:
        """Messages, each as GET /queue gives it."""

        async def collect(operator: Operator) -> list[dict[str, Any]]:
            asked = selection_from({key: value for key, value in selection.items() if value})
            return [entry async for page in operator.listing(asked) for entry in page]

        return iter(self._with_store(collect))

    def change(self, verb: str, selection: Mapping[str, Any]) -> dict[str, Any]:
        """As POST /VERB answers."""

        async def change(operator: Operator) -> dict[str, Any]:
            return await operator.change(verb, selection_from(selection))

        return self._with_store(change)

    def message(self, queue_id: str) -> dict[str, Any]:
        """As GET /message/ID answers."""

        async def message(operator: Operator) -> dict[str, Any]:
            return (await _found(operator, queue_id))[0]

        return self._with_store(message)

    def content(self, queue_id: str) -> Iterator[bytes]:
        """A message's octets."""

        async def content(operator: Operator) -> bytes:
            found = (await _found(operator, queue_id))[1]
            return await found.read(0, found.size)

        yield self._with_store(content)

    def _with_store(self, verb: Callable[[Operator], Awaitable[T]]) -> T:
        """Run one verb with the store open, in a reactor of its own that ends with it."""
        from twisted.internet import reactor

        results: list[T] = []
        errors: list[BaseException] = []

        async def work() -> None:
            store = SqliteStore.from_settings(self._settings, reactor)
            await store.open()
            try:
                results.append(await verb(Operator(store, None)))
            finally:
                await store.close()

        _run_until_done(reactor, Deferred.fromCoroutine(work()), errors)
        if errors:
            if isinstance(errors[0], StoreError | UnknownVerb):
                raise ControlRefused(503, (str(errors[0]),)) from errors[0]
            raise errors[0]
        return results[0]


async def _found(operator: Operator, queue_id: str) -> tuple[dict[str, Any], Content]:
    found = await operator.message(queue_id)
    if found is None:
        raise ControlRefused(404, (f"no message {queue_id} in the queue",))
    return found


def _run_until_done(reactor: Any, work: Deferred[None], errors: list[BaseException]) -> None:
    core: IReactorCore = reactor
    # Threads that have read large contents wait for more; the command's end doesn't wait for them.
    reactor.getThreadPool().threadFactory = partial(threading.Thread, daemon=True)

    def ended(result: Any) -> None:
        if result is not None:
            errors.append(result.value)
        reactor.callLater(0, reactor.crash)

    work.addBoth(ended)
    reactor.run(installSignalHandlers=False)
    del core
