"""discard: mail is taken and thrown away; the next hop is the reason to log."""

from __future__ import annotations

from gatewayd.interfaces import ITransport
from gatewayd.status import Action, Outcome
from gatewayd.transport import TransportContext
from gatewayd.transports.immediate import ImmediateTransport, refuse_arguments

__all__ = ["make"]


def make(context: TransportContext) -> ITransport:
    """The transport of one service. Raises ConfigError."""
    refuse_arguments(context)
    return ImmediateTransport(
        lambda nexthop: Outcome(Action.DELIVERED, "2.0.0", nexthop, relay="none")
    )
