"""One thread, one connection, one transaction for all that waits.

Whoever wants something of the database leaves it here and goes on. The thread takes all that has
gathered, does it in one transaction, commits (which waits for the disk once, for all), and only
then tells everybody, with one call into the reactor. While it waits for the disk the next group
gathers: the busier, the larger the groups.

Work that nobody waits for rides along with the next group, or goes after a short delay.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

__all__ = ["Database", "GroupCommit", "Work"]

_LAZY_DELAY = 0.02
"""Seconds that work without hurry waits for company."""
_GROUP_LIMIT = 512
"""Pieces of work in one transaction: bounds memory and the longest wait."""


@dataclass(slots=True, eq=False)
class Work:
    """A piece of work: what kind, with what, and who waits for its result."""

    kind: str
    argument: Any
    done: Deferred[Any]
    urgent: bool = True


class Database(Protocol):
    """What the thread drives; all of it is called on that thread only."""

    def open(self) -> None: ...

    def perform(self, group: Sequence[Work]) -> list[Any]:
        """Do a group in one transaction, on disk when this returns.

        A result, or an exception, for each piece of work. Raises nothing.
        """

    def idle(self) -> None:
        """Nothing waits: time for housekeeping."""

    def close(self) -> None: ...


class GroupCommit:
    """The thread, and the way to leave work for it."""

    def __init__(self, database: Database, reactor: Any) -> None:
        self._database = database
        self._reactor = reactor
        self._changed = threading.Condition()
        self._waiting: list[Work] = []
        self._urgent = 0
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> Deferred[None]:
        """Open the database on the thread; fires when it's ready, or fails."""
        ready: Deferred[None] = Deferred()
        self._thread = threading.Thread(
            target=self._run, args=(ready,), name="queue-store", daemon=True
        )
        self._thread.start()
        return ready

    def add(self, kind: str, argument: Any = None, *, urgent: bool = True) -> Deferred[Any]:
        """Leave work; the Deferred fires in the reactor's thread after the commit."""
        work = Work(kind, argument, Deferred(), urgent)
        with self._changed:
            if self._stopping:
                work.done.errback(Failure(RuntimeError("the queue's store is closed")))
                return work.done
            self._waiting.append(work)
            self._urgent += urgent
            if (urgent and self._urgent == 1) or len(self._waiting) == 1:
                self._changed.notify()
        return work.done

    def stop(self) -> Deferred[None]:
        """Do what waits, close the database, end the thread."""
        stopped: Deferred[None] = Deferred()
        thread = self._thread
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if thread is None:
            stopped.callback(None)
            return stopped

        def join() -> None:
            thread.join()
            self._reactor.callFromThread(stopped.callback, None)

        threading.Thread(target=join, daemon=True).start()
        return stopped

    def _run(self, ready: Deferred[None]) -> None:
        try:
            self._database.open()
        except Exception as error:
            self._tell(lambda failure: ready.errback(failure), Failure(error))
            return
        self._tell(ready.callback, None)
        while (group := self._next_group()) is not None:
            if not group:
                self._database.idle()
                continue
            results = self._database.perform(group)
            self._tell(_deliver, group, results)
        self._database.close()

    def _next_group(self) -> list[Work] | None:
        """All that waits (up to a limit); empty after a while of nothing; None at the end."""
        with self._changed:
            if not self._waiting and not self._stopping:
                self._changed.wait(1.0)
            if self._waiting and not self._urgent and not self._stopping:
                self._changed.wait(_LAZY_DELAY)
            if not self._waiting:
                return None if self._stopping else []
            group = self._waiting[:_GROUP_LIMIT]
            del self._waiting[:_GROUP_LIMIT]
            self._urgent = sum(work.urgent for work in self._waiting)
            return group

    def _tell(self, what: Callable[..., object], *arguments: object) -> None:
        self._reactor.callFromThread(what, *arguments)


def _deliver(group: Sequence[Work], results: Sequence[Any]) -> None:
    for work, result in zip(group, results, strict=True):
        if work.done.called:
            continue
        if isinstance(result, BaseException):
            work.done.errback(Failure(result))
        else:
            work.done.callback(result)
