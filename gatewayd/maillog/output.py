"""From events to lines to a sink, many lines a write.

Lines are gathered and written once in a tenth of a second, or when there are many, or at once if
one is an error: a write for each line would cost more than making it.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEvent,
    globalLogBeginner,
    globalLogPublisher,
)
from twisted.python.failure import Failure
from zope.interface import implementer, provider

from gatewayd.maillog.lines import JsonLayout, Layout, PostfixLayout, SyslogLayout, printable
from gatewayd.maillog.logger import LEVEL_NAMES, MailLog, mail_publisher
from gatewayd.maillog.settings import LogSettings
from gatewayd.maillog.sinks import DescriptorSink, FileSink, Sink, SyslogSink

__all__ = ["Captured", "capture", "configure", "flush", "take_over_twisted", "unconfigure"]

_PAUSE = 0.1
_BATCH_LINES = 400
_EARLY_LINES = 500
_TRACEBACK_LINES = 40
_TWISTED = "gatewayd"
"""The program under whose name Twisted's own events appear."""


@implementer(ILogObserver)
class _Output:
    """An observer that writes each event's line to a sink, in batches."""

    def __init__(self, layout: Layout, sink: Sink, reactor: Any) -> None:
        self._layout = layout
        self._sink = sink
        self._reactor = reactor
        self._lines: list[str] = []
        self._timer: IDelayedCall | None = None
        self._scheduled = False
        self._thread = threading.get_ident()

    def __call__(self, event: LogEvent) -> None:
        level = event["log_level"]
        self._lines.append(
            self._layout.line(
                event["log_time"],
                event["log_namespace"],
                LEVEL_NAMES[level],
                event["text"],
                event["fields"],
            )
        )
        failure = event.get("log_failure")
        if failure is not None:
            self._explain(event, failure)
        if threading.get_ident() != self._thread:
            self._reactor.callFromThread(self.flush)
        elif level is LogLevel.error or len(self._lines) >= _BATCH_LINES:
            self.flush()
        elif not self._scheduled:
            self._scheduled = True
            self._timer = self._reactor.callLater(_PAUSE, self._due)

    def _explain(self, event: LogEvent, failure: Failure) -> None:
        traceback = failure.getTraceback(detail="brief").split("\n")
        for text in [line for line in traceback if line.strip()][-_TRACEBACK_LINES:]:
            self._lines.append(
                self._layout.line(event["log_time"], event["log_namespace"], "error", text, {})
            )

    def _due(self) -> None:
        self._scheduled = False
        self.flush()
        if self._sink.is_behind and not self._scheduled:
            self._scheduled = True
            self._timer = self._reactor.callLater(_PAUSE, self._due)

    def flush(self) -> None:
        lines, self._lines = self._lines, []
        self._sink.write(lines)
        lost = "" if self._sink.is_behind else self._sink.take_losses()
        if lost:
            MailLog("maillog").warning(lost)

    def close(self) -> None:
        self.flush()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._sink.close()

    def reopen(self) -> None:
        self._sink.reopen()


@implementer(ILogObserver)
class _Early:
    """Keeps the latest events until it is known where they go."""

    def __init__(self) -> None:
        self.events: deque[LogEvent] = deque(maxlen=_EARLY_LINES)

    def __call__(self, event: LogEvent) -> None:
        self.events.append(event)


_early = _Early()
_output: _Output | None = None
mail_publisher.addObserver(_early)


def configure(settings: LogSettings, reactor: Any, owner: tuple[int, int] | None = None) -> None:
    """Log to where the settings say, from now on, and also what Twisted itself reports.

    Called at the start and after each reload, in the reactor's thread. ``owner`` (user and group
    id) gets the file if we're root still. Raises ConfigError if the file cannot be opened; then
    all stays as it was.
    """
    global _output
    replacement = _Output(*_make(settings, owner), reactor)
    previous, _output = _output, replacement
    if previous is None:
        mail_publisher.removeObserver(_early)
        globalLogPublisher.addObserver(_observe_twisted)
    else:
        mail_publisher.removeObserver(previous)
        previous.close()
    MailLog.is_debugging = settings.debug
    mail_publisher.addObserver(replacement)
    while _early.events:
        replacement(_early.events.popleft())


def unconfigure() -> None:
    """Write what is gathered, and go back to the state before configure()."""
    global _output
    if _output is None:
        return
    previous, _output = _output, None
    mail_publisher.removeObserver(previous)
    globalLogPublisher.removeObserver(_observe_twisted)
    previous.close()
    MailLog.is_debugging = False
    mail_publisher.addObserver(_early)


def flush(reopen: bool = False) -> None:
    """Write what is gathered. ``reopen``: look for the file anew."""
    if _output is not None:
        if reopen:
            _output.reopen()
        _output.flush()


def take_over_twisted() -> None:
    """Where nobody else (twistd) has begun Twisted's own logging: it would stay in memory."""
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)


def _make(settings: LogSettings, owner: tuple[int, int] | None) -> tuple[Layout, Sink]:
    pid = os.getpid()
    sink: Sink
    if settings.file in ("/dev/stderr", "/dev/stdout"):
        # By descriptor: opening these by name fails if they're sockets, as under systemd.
        sink = DescriptorSink(os.dup(2 if settings.file == "/dev/stderr" else 1))
    elif settings.file:
        sink = FileSink(settings.file, owner)
    else:
        sink = SyslogSink()
    if settings.format == "json":
        return JsonLayout(settings.host, settings.name, pid), sink
    if settings.file:
        return PostfixLayout(settings.host, settings.name, pid), sink
    return SyslogLayout(settings.facility, settings.name, pid), sink


@provider(ILogObserver)
def _observe_twisted(event: LogEvent) -> None:
    """Twisted's warnings and errors, unhandled ones of Deferreds included, become lines, too."""
    level = event.get("log_level")
    failure = event.get("log_failure")
    if failure is None and level not in (LogLevel.warn, LogLevel.error, LogLevel.critical):
        return
    text = " ".join(formatEvent(event).split("\n"))
    log = MailLog(_TWISTED)
    if failure is not None:
        log.failure(text or "unexpected error", failure)
    elif level is LogLevel.warn:
        log.warning(text)
    else:
        log.error(text)


@implementer(ILogObserver)
class Captured(list[str]):
    """Lines as ``program: text``, and the ``events`` they came from."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        word = LEVEL_NAMES[event["log_level"]]
        prefix = f"{word}: " if word in ("warning", "error") else ""
        failure = event.get("log_failure")
        reason = f": {failure.getErrorMessage()}" if failure is not None else ""
        self.append(f"{event['log_namespace']}: {prefix}{printable(event['text'])}{reason}")
        self.events.append(event)

    def containing(self, text: str) -> Sequence[str]:
        return [line for line in self if text in line]


@contextmanager
def capture() -> Iterator[Captured]:
    """For tests: all that is logged inside, whatever is configured."""
    captured = Captured()
    mail_publisher.addObserver(captured)
    try:
        yield captured
    finally:
        mail_publisher.removeObserver(captured)
