"""A delivery report, before it's given a queue ID and a route."""

from __future__ import annotations

from dataclasses import dataclass

from gatewayd.address import Address

__all__ = ["Report"]


@dataclass(frozen=True, slots=True)
class Report:
    """A message about a message. ``kind`` is what the log calls it.

    ``content`` has CRLF line ends and no Received field.
    """

    sender: Address
    recipient: Address
    content: bytes
    smtputf8: bool
    kind: str
