"""What every part of the gateway logs with."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.logger import LogLevel, LogPublisher
from twisted.python.failure import Failure

__all__ = ["LEVEL_NAMES", "MailLog", "mail_publisher"]

mail_publisher = LogPublisher()
"""All events of the mail log; observers (twisted.logger.ILogObserver) may be added.

It is apart from twisted.logger's global publisher because a line costs several times as much
there: a delivered message makes six lines.
"""

LEVEL_NAMES = {
    LogLevel.debug: "debug",
    LogLevel.info: "info",
    LogLevel.warn: "warning",
    LogLevel.error: "error",
    LogLevel.critical: "error",
}


class MailLog:
    """The log of one program in Postfix's sense: smtpd, qmgr, smtp, or a transport's service.

    Texts are ready-made, in Postfix's layout; fields are for the JSON form. Texts need no
    cleaning: what strangers sent may stand in them as it is.
    """

    __slots__ = ("program",)

    is_debugging = False
    """Whether debug() lines are wanted: configure() says so."""

    def __init__(self, program: str) -> None:
        self.program = program

    def info(self, text: str, **fields: Any) -> None:
        self._emit(LogLevel.info, text, fields)

    def warning(self, text: str, **fields: Any) -> None:
        """Something is not as it should be, and the gateway copes; shown after ``warning:``."""
        self._emit(LogLevel.warn, text, fields)

    def error(self, text: str, **fields: Any) -> None:
        """Something that somebody must repair; shown after ``error:``."""
        self._emit(LogLevel.error, text, fields)

    def debug(self, text: str, **fields: Any) -> None:
        if MailLog.is_debugging:
            self._emit(LogLevel.debug, text, fields)

    def failure(
        self, text: str, failure: Failure | BaseException | None = None, **fields: Any
    ) -> None:
        """An error nobody expected: its text, and behind it where it happened.

        Without ``failure``, the exception being handled.
        """
        if failure is None:
            failure = Failure()
        elif not isinstance(failure, Failure):
            failure = Failure(failure, type(failure), failure.__traceback__)
        self._emit(LogLevel.error, text, fields, failure)

    def _emit(
        self, level: Any, text: str, fields: dict[str, Any], failure: Failure | None = None
    ) -> None:
        event = {
            "log_time": now(),
            "log_level": level,
            "log_namespace": self.program,
            "log_format": "{text}",
            "text": text,
            "fields": fields,
        }
        if failure is not None:
            event["log_failure"] = failure
        mail_publisher(event)


now: Callable[[], float] = time.time
