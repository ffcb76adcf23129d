"""Where the log goes, and in which form: what main.cf says of it."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gatewayd.errors import ConfigError, ConfigProblem

if TYPE_CHECKING:
    from gatewayd.config.settings import Settings

__all__ = ["FACILITIES", "LogSettings"]

FACILITIES = {
    "kern": 0, "user": 1, "mail": 2, "daemon": 3, "auth": 4, "syslog": 5, "lpr": 6, "news": 7,
    "uucp": 8, "cron": 9, "authpriv": 10, "ftp": 11,
    **{f"local{n}": 16 + n for n in range(8)},
}  # fmt: skip
"""RFC 3164 §4.1.1."""

_FORMATS = ("postfix", "json")


@dataclass(frozen=True, slots=True)
class LogSettings:
    """``file`` "" means syslog; ``host`` is the machine's name as the lines show it."""

    file: str = ""
    format: str = "postfix"
    facility: int = FACILITIES["mail"]
    name: str = "gatewayd"
    host: str = "localhost"
    debug: bool = False

    @classmethod
    def from_settings(cls, settings: Settings) -> LogSettings:
        """Raises ConfigError naming every parameter with a value that cannot be used."""
        problems = []
        form = settings.text("maillog_format")
        if form not in _FORMATS:
            problems.append(f"maillog_format: {form!r} is none of: {', '.join(_FORMATS)}")
        facility = settings.text("syslog_facility")
        if facility not in FACILITIES:
            problems.append(f"syslog_facility: {facility!r} is none of: {', '.join(FACILITIES)}")
        file = settings.text("maillog_file")
        if file and not file.startswith("/"):
            problems.append(f"maillog_file: {file!r} is not an absolute path")
        if problems:
            raise ConfigError(ConfigProblem("main.cf", 0, problem) for problem in problems)
        return cls(
            file=file,
            format=form,
            facility=FACILITIES[facility],
            name=settings.text("syslog_name"),
            host=socket.gethostname().partition(".")[0] or "localhost",
            debug=settings.flag("maillog_debug"),
        )
