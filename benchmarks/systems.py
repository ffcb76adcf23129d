"""The systems compared: a private Postfix and a private gatewayd, configured alike.

Each listens on 127.0.0.1, relays ``example.com`` to a next hop given by a transport map, checks
recipients against relay_recipient_maps, and logs to a file. Both queues lie in the same folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

__all__ = ["System", "write_maps"]

_RECIPIENTS = "user@others.example x\n" + "".join(
    f"{user}@example.com x\n" for user in ["user", *(f"{n}user" for n in range(1, 1001))]
)


class System(Protocol):
    """A running mail system."""

    name: str

    @property
    def port(self) -> int:
        """Where its smtpd listens."""

    @property
    def process(self) -> int:
        """Its main process, of which the others are children."""

    def queued(self) -> int:
        """Messages in the queue."""

    def deferred(self) -> int:
        """Those of them that wait for a later attempt."""

    def flush(self) -> None:
        """postqueue -f."""


def write_maps(folder: Path, nexthop: str) -> dict[str, str]:
    """The tables' sources, and the settings that name them."""
    (folder / "relay_recipients").write_text(_RECIPIENTS)
    (folder / "transport").write_text(f"example.com {nexthop}\n")
    return {
        "relay_domains": "example.com",
        "relay_recipient_maps": f"hash:{folder}/relay_recipients",
        "transport_maps": f"hash:{folder}/transport",
    }
