"""A bound on processor time for what Python itself doesn't bound: its regular expressions.

PCRE counts its steps and gives up; Python's ``re`` would backtrack for hours. But it looks for
signals on its way, so a timer of the process can end it.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

__all__ = ["OutOfTime", "ProcessorTimeLimit"]


class OutOfTime(Exception):
    """The limit was reached."""


class ProcessorTimeLimit:
    """``with`` it, OutOfTime is raised once so many seconds of processor time are used.

    It can be used again and again, but not within itself. Only the main thread, where the
    reactor runs, gets signals: in another thread nothing is bounded.
    """

    __slots__ = ("_seconds",)

    _is_running = False
    _is_installed = False

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        if threading.get_ident() != threading.main_thread().ident:
            return
        if not ProcessorTimeLimit._is_installed:
            signal.signal(signal.SIGVTALRM, _ring)
            ProcessorTimeLimit._is_installed = True
        ProcessorTimeLimit._is_running = True
        signal.setitimer(signal.ITIMER_VIRTUAL, self._seconds)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if (
            ProcessorTimeLimit._is_running
            and threading.get_ident() == threading.main_thread().ident
        ):
            # First of all: a ring that comes late finds nobody to disturb.
            ProcessorTimeLimit._is_running = False
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _ring(signum: int, frame: FrameType | None) -> None:
    if ProcessorTimeLimit._is_running:
        raise OutOfTime
