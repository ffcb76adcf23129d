"""error and retry: the next hop is the reason, with a status code before it if it has one.

The service's name decides, as in Postfix's master.cf: ``retry`` defers, anything else returns.
"""

from __future__ import annotations

from gatewayd.interfaces import ITransport
from gatewayd.status import Action, Outcome, split_status
from gatewayd.transport import TransportContext
from gatewayd.transports.immediate import ImmediateTransport, refuse_arguments

__all__ = ["make"]


def make(context: TransportContext) -> ITransport:
    """The transport of one service. Raises ConfigError."""
    refuse_arguments(context)
    is_retry = context.service.name == "retry"
    soft = context.settings.flag("soft_bounce")

    def outcome_for(nexthop: str) -> Outcome:
        default = "4.0.0" if is_retry else "5.0.0"
        status, text = split_status(nexthop, default)
        defers = is_retry or soft
        status = f"{'4' if defers else '5'}{status[1:]}"
        action = Action.DEFERRED if defers else Action.FAILED
        return Outcome(action, status, text or "Address is undeliverable")

    return ImmediateTransport(outcome_for)
