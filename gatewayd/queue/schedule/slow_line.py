"""More lanes for a destination behind a line with a long round trip.

SMTP without CHUNKING carries one message a round trip over a connection, however fast the line:
DATA ends what may be sent at once (RFC 2920 §3.1). Over a satellite, with 0.6 seconds there and
back, twenty connections leave three quarters of 2 Mbit/s unused. So a destination whose lanes
wait that long gets some above the usual limit, for as long as nothing speaks against it:

    the quickest answer took 0.4 s    longer than by any land line; if one is quicker, the others
                                      were not late because of the line
    a few for each connection         that answered about as soon as the quickest: a line that is
                                      full, or a server with enough to do, answers later
    one fewer for each request        that took more than four round trips, so that they end
                                      where the line is full; requests that take two add some again
    back to the usual limit           when a connection is refused or lost, or the next hop puts
                                      mail off: no further try while the destination is known
"""

from __future__ import annotations

from collections.abc import Iterable

from gatewayd.queue.schedule.window import Window
from gatewayd.status import Action, Outcome

__all__ = ["LONG", "SlowLine", "is_complaint"]

LONG = 0.4
"""Seconds. Light in glass goes half around the earth and back in 0.2, and cables make detours."""
_MORE = 8
"""Lanes for each one that opened: from five to 45 in one round trip, since each is a loss."""
_ABOUT = 1.25
_QUICK, _LATE = 2, 4
"""Round trips that a request takes. The first on a connection needs two, each other one."""


class SlowLine:
    """What is known of a destination's line. It moves ``window``, at most to ``limit``.

    ``seconds``: a first round trip.
    """

    __slots__ = ("_is_spoilt", "_limit", "_quickest", "_window")

    def __init__(self, window: Window, limit: int, seconds: float) -> None:
        self._window = window
        self._limit = limit
        self._quickest = seconds
        self._is_spoilt = False

    def opened(self, seconds: float) -> None:
        """A lane was opened, and waits so long for each answer."""
        self._quickest = min(self._quickest, seconds)
        if self._quickest < LONG:
            self._window.narrow()
        elif not self._is_spoilt and seconds <= self._quickest * _ABOUT:
            self._window.widen(self._limit, _MORE)

    def served(self, seconds: float) -> bool:
        """A lane took so long for a request. Whether the window may grow by it."""
        window = self._window
        if not window.is_wide or window.size < window.limit:
            return True
        if seconds > self._quickest * _LATE:
            window.shrink(max(window.limit, window.size - 1))
        return seconds <= self._quickest * _QUICK

    def spoil(self) -> None:
        """The next hop doesn't like it."""
        self._is_spoilt = True
        self._window.narrow()


def is_complaint(outcomes: Iterable[Outcome]) -> bool:
    """Whether the next hop puts mail off for another reason than whom it is for.

    RFC 3463: x.1 and x.2 are about the address and the mailbox.
    """
    return any(
        outcome.action is Action.DEFERRED and outcome.status[2:4] not in ("1.", "2.")
        for outcome in outcomes
    )
