"""The states of an SMTP server session."""

from __future__ import annotations

from enum import Enum

__all__ = ["Chunking", "Phase"]


class Phase(Enum):
    """What the next octets from the client are."""

    GREETING = "nothing yet: the banner comes first"
    COMMANDS = "a command line"
    STARTING_TLS = "a TLS handshake, which isn't the session's to read"
    AUTHENTICATING = "an answer within AUTH's own dialogue"
    DATA = "content up to CRLF.CRLF"
    CHUNK = "as many octets as BDAT said"
    ENDING = "nothing: the message's fate comes first"
    CLOSED = "nothing any more"


class Chunking(Enum):
    """Where a transaction is with BDAT."""

    NONE = "no BDAT yet"
    TAKING = "chunks are content"
    FAILED = "chunks are thrown away up to LAST or RSET"
