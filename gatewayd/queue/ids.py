"""Queue IDs, in Postfix's two forms (postfix.md §13), never given out twice.

Short: five hexadecimal digits of the time's microseconds, then a number in hexadecimal.
Long: seconds and microseconds in base 52, ``z``, the number in base 51: sorts by time.

The number alone makes an ID unique: it only grows, whatever the clock does.
"""

from __future__ import annotations

__all__ = ["long_queue_id", "short_queue_id"]

_BASE_52 = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"


def short_queue_id(now: float, number: int) -> str:
    """The short form; ``now`` is POSIX time."""
    return f"{int(now * 1_000_000) % 1_000_000:05X}{number:X}"


def long_queue_id(now: float, number: int) -> str:
    """The long form."""
    seconds, microseconds = divmod(int(now * 1_000_000), 1_000_000)
    return f"{_digits(seconds, 52, 6)}{_digits(microseconds, 52, 4)}z{_digits(number, 51, 1)}"


def _digits(value: int, base: int, width: int) -> str:
    digits = ""
    while value:
        value, rest = divmod(value, base)
        digits = _BASE_52[rest] + digits
    return digits.rjust(width, "0")
