"""glibc's regcomp(3) and regexec(3): what Postfix's regexp tables are made of, asked directly."""

from __future__ import annotations

import ctypes

__all__ = ["BadExpression", "Expression"]

_EXTENDED, _ICASE, _NEWLINE, _NOSUB = 1, 2, 4, 8
_SIZE_OF_REGEX_T = 256  # more than any platform's

_libc = ctypes.CDLL(None)


class BadExpression(Exception):
    """regcomp refuses it."""


class Expression:
    """A compiled expression; strings must be ASCII, without NUL."""

    def __init__(
        self, pattern: str, *, extended: bool, newline: bool, ignore_case: bool = False
    ) -> None:
        flags = _NOSUB | _EXTENDED * extended | _NEWLINE * newline | _ICASE * ignore_case
        self._compiled = ctypes.create_string_buffer(_SIZE_OF_REGEX_T)
        error = _libc.regcomp(self._compiled, pattern.encode("ascii"), flags)
        if error:
            raise BadExpression(error)

    def matches(self, subject: str) -> bool:
        """Whether it's found anywhere."""
        found: int = _libc.regexec(self._compiled, subject.encode("ascii"), 0, None, 0)
        return found == 0

    def close(self) -> None:
        """Give the memory back."""
        _libc.regfree(self._compiled)
