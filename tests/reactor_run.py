"""A coroutine run to its end in the real reactor, as often as tests like."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")
reactor: Any = _reactor
reactor.getThreadPool().threadFactory = partial(threading.Thread, daemon=True)


def run(work: Callable[[], Coroutine[Any, Any, T]], seconds: float = 60.0) -> T:
    """The coroutine's result; raises what it raises, or TimeoutError after so many seconds."""
    results: list[Any] = []

    def ended(result: Any) -> None:
        results.append(result)
        reactor.crash()

    def start() -> None:
        Deferred.fromCoroutine(work()).addTimeout(seconds, reactor).addBoth(ended)

    reactor.callWhenRunning(start)
    reactor._startedBefore = False  # Twisted's reactor runs again after crash(), if let
    reactor.run(installSignalHandlers=False)
    if isinstance(results[0], Failure):
        results[0].raiseException()
    result: T = results[0]
    return result
