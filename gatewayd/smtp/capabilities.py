"""What a server offers in its EHLO reply (RFC 5321 §4.1.1.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gatewayd.smtp.replies import ServerReply

__all__ = ["Capabilities"]

_DIGITS = re.compile(r"[0-9]{1,20}\Z")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The extensions that matter to a client. ``size``: the limit, 0 for none or unknown.

    ``chunking`` only together with PIPELINING: without that, BDAT would win nothing.
    """

    pipelining: bool = False
    chunking: bool = False
    has_size: bool = False
    size: int = 0
    eight_bit: bool = False
    dsn: bool = False
    smtputf8: bool = False

    @classmethod
    def from_reply(cls, reply: ServerReply, discarded: frozenset[str]) -> Capabilities:
        """Read an EHLO or LHLO reply; keywords in ``discarded``, in capitals, don't count."""
        keywords: dict[str, str] = {}
        for line in reply.lines[1:]:
            name, _, arguments = line.strip().partition(" ")
            if name.upper() not in discarded:
                keywords[name.upper()] = arguments.strip()
        limit = keywords.get("SIZE", "")
        return cls(
            pipelining="PIPELINING" in keywords,
            chunking="CHUNKING" in keywords and "PIPELINING" in keywords,
            has_size="SIZE" in keywords,
            size=int(limit) if _DIGITS.match(limit) else 0,
            eight_bit="8BITMIME" in keywords,
            dsn="DSN" in keywords,
            smtputf8="SMTPUTF8" in keywords,
        )
