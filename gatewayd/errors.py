"""The errors that cross module borders.

An error's text is what an administrator or a remote peer gets to see: it never holds a
stack trace, and no configuration where a stranger could read it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatewayd.status import Diagnostic

__all__ = [
    "AddressSyntaxError",
    "ConfigError",
    "ConfigProblem",
    "GatewayError",
    "NexthopUnavailable",
    "StoreError",
    "StoreFull",
    "TableError",
    "TransportBroken",
]


class GatewayError(Exception):
    """Anything that gatewayd itself raises on purpose."""


class AddressSyntaxError(GatewayError):
    """Text that should be a mail address and is not (RFC 5321 §4.1.2)."""


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One thing wrong in a configuration file: where, and what.

    ``line`` counts from 1; 0 means the file as a whole.
    """

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.text}"


class ConfigError(GatewayError):
    """A configuration that cannot be used. Holds every problem found, not only the first."""

    def __init__(self, problems: Iterable[ConfigProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class TableError(GatewayError):
    """A lookup table that cannot answer now. Never to be taken for "not found"."""


class StoreError(GatewayError):
    """The queue could not keep or change something; what was asked did not happen."""


class StoreFull(StoreError):
    """No room is left for new mail (RFC 5321 reply 452); deliveries go on."""


class NexthopUnavailable(GatewayError):
    """Nothing was sent because the next hop as such cannot be reached.

    All that waits for it is deferred with ``status`` (RFC 3463, class 4) and ``text``, and the
    next hop counts as failed once. ``relay`` is what the log names as relay= (or "none");
    ``remote_mta`` and ``diagnostic`` are for a report: who refused, and how, if anybody did.
    """

    def __init__(
        self,
        status: str,
        text: str,
        *,
        relay: str = "none",
        remote_mta: str = "",
        diagnostic: Diagnostic | None = None,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.relay = relay
        self.remote_mta = remote_mta
        self.diagnostic = diagnostic


class TransportBroken(GatewayError):
    """The transport itself cannot work (no such program, no modem): not the next hop's fault.

    The queue defers with 4.3.0 and leaves the whole transport alone for transport_retry_time.
    """
