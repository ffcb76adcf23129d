"""When something that waits for time alone has to be looked at again."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["Alarms"]

T = TypeVar("T")


class Alarms(Generic[T]):
    """At most one alarm for each holder: the earliest that was asked for.

    Whoever is woken asks again for what comes later.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._at: dict[T, float] = {}
        self._count = 0

    def set(self, at: float, holder: T) -> None:
        pending = self._at.get(holder)
        if pending is None or at < pending:
            self._at[holder] = at
            self._count += 1
            heapq.heappush(self._heap, (at, self._count, holder))

    def next_at(self) -> float | None:
        """When the next one is due."""
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> Iterator[T]:
        """Those whose time has come."""
        while self._heap and self._heap[0][0] <= now:
            at, _, holder = heapq.heappop(self._heap)
            if self._at.get(holder) == at:
                del self._at[holder]
                yield holder
