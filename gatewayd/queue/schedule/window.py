"""How many deliveries a destination may have at once: a window that feedback moves.

Each delivery that got through adds positive feedback, each failure to reach the destination
subtracts negative feedback; the window grows by one once successes have added up to one, and
shrinks by one with the first failure, then each time that failures have added up to one. Failures
also add up as shares of the window ("cohorts"): when as many as filled a whole window have
failed, without any success between, the destination is to be taken for dead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["NOTHING", "UNIT", "Feedback", "Window"]

_FEEDBACK = re.compile(
    r"\s*([0-9]{1,4}(?:\.[0-9]{1,6})?)\s*(?:/\s*(concurrency|sqrt_concurrency)\s*)?\Z"
)
_POWERS = {None: 0.0, "concurrency": 1.0, "sqrt_concurrency": 0.5}


@dataclass(frozen=True, slots=True)
class Feedback:
    """The amount ``share / window ** power``, as a setting writes it: ``1``, ``1/concurrency``
    or ``1/sqrt_concurrency``, the number from 0 to 1."""

    share: float = 1.0
    power: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Feedback:
        """Raises ValueError saying what is wrong with the text."""
        match = _FEEDBACK.match(text)
        if match is None or not 0 <= float(match[1]) <= 1:
            raise ValueError(
                f"{text!r} is not a number from 0 to 1, "
                "optionally followed by /concurrency or /sqrt_concurrency"
            )
        return cls(float(match[1]), _POWERS[match[2]])

    def amount(self, window: int) -> float:
        return self.share / window**self.power if self.power else self.share


NOTHING = Feedback(0.0)
UNIT = Feedback()

_ROUNDING = 1e-9


class Window:
    """A destination's concurrency: ``size`` deliveries, from 1 to ``limit`` (0: no limit).

    One with a limit can be made wide: then it may grow beyond that for a time.
    """

    __slots__ = ("_ceiling", "_failure", "_success", "cohorts", "initial", "limit", "size")

    def __init__(self, initial: int, limit: int) -> None:
        self.limit = limit
        self.initial = max(1, min(initial, limit) if limit else initial)
        self.reset()

    def reset(self) -> None:
        """As for a destination never seen before."""
        self._ceiling = self.limit
        self.size = self.initial
        self.cohorts = 0.0
        self._success = 0.0
        self._failure = 0.0

    def succeeded(self, feedback: Feedback, busy: int) -> bool:
        """A delivery got through while ``busy`` ran. True if the window has grown.

        It only grows while it is used: up to the initial size above what really runs.
        """
        self.cohorts = 0.0
        size, ceiling = self.size, self._ceiling
        if (ceiling and size >= ceiling) or size >= busy + self.initial:
            return False
        amount = feedback.amount(size)
        self._success += amount
        while self._success >= 1 - _ROUNDING:
            self.size += 1
            self._success -= 1
            self._failure = 0.0
        if ceiling and self.size > ceiling:
            self.size = ceiling
        return self.size > size

    @property
    def is_wide(self) -> bool:
        """Whether it may grow beyond its limit."""
        return self._ceiling > self.limit

    def widen(self, ceiling: int, by: int) -> None:
        """Make room for some more, and let it grow up to a ceiling above the limit."""
        self._ceiling = ceiling
        self.size = min(ceiling, self.size + by)

    def narrow(self) -> None:
        """Its limit holds again."""
        if self.is_wide:
            self._ceiling = self.limit
            self.size = min(self.size, self.limit)

    def relimit(self, limit: int) -> None:
        """Another limit holds from now on."""
        self.limit = self._ceiling = limit
        if limit:
            self.size = min(self.size, limit)
            self.initial = min(self.initial, limit)

    def shrink(self, size: int) -> None:
        """So many deliveries at once are known to work, and one more is known not to."""
        self.size = max(1, min(self.size, size))

    def failed(self, feedback: Feedback, cohort_limit: float) -> bool:
        """The destination could not be reached. True if it is to be taken for dead.

        A ``cohort_limit`` of 0 means that no destination is ever taken for dead.
        """
        self.cohorts += 1 / self.size
        amount = feedback.amount(self.size)
        self._failure -= amount
        while self._failure < -_ROUNDING:
            self.size -= 1
            self._success = 0.0
            self._failure += 1
        self.size = max(1, self.size)
        return bool(cohort_limit) and self.cohorts >= cohort_limit - _ROUNDING
