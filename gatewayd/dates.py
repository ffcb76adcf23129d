"""Dates as mail writes them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

__all__ = ["mail_date"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@lru_cache(maxsize=4)
def _date(second: int) -> str:
    at = datetime.fromtimestamp(second, UTC).astimezone()
    return (
        f"{_DAYS[at.weekday()]}, {at.day:2d} {_MONTHS[at.month - 1]} {at.year:04d} "
        f"{at:%H:%M:%S %z} ({at.tzname()})"
    )


def mail_date(now: float) -> str:
    """POSIX seconds as RFC 5322 §3.3 writes a date, in local time."""
    return _date(int(now))
