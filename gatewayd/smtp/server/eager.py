"""Coroutines that mostly finish at once, run without paying for a Deferred.

Nearly every answer in a session is there at once; a Deferred for each would cost more than the
answer. So the first step is taken by hand, and only what really waits becomes a Deferred.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

__all__ = ["first_step"]

T = TypeVar("T")


def first_step(coroutine: Coroutine[Any, Any, T]) -> tuple[T, None] | tuple[None, Deferred[T]]:
    """(result, None) of a coroutine that finished, or (None, Deferred of the result).

    Raises what the coroutine raises at once. Cancelling the Deferred cancels what is awaited.
    """
    try:
        awaited = coroutine.send(None)
    except StopIteration as stop:
        return stop.value, None
    return None, Deferred.fromCoroutine(_remainder(coroutine, awaited))


def _remainder(
    coroutine: Coroutine[Any, Any, T], awaited: Deferred[Any]
) -> Generator[Deferred[Any], Any, T]:
    """The rest of a coroutine that was begun by hand and waits for ``awaited``."""
    while True:
        try:
            try:
                result = yield awaited
            except Exception as error:
                awaited = coroutine.throw(error)
            else:
                awaited = coroutine.send(result)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        except GeneratorExit:
            coroutine.close()
            raise
