"""A transport whose outcome is known without any delivery."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from gatewayd.errors import ConfigError, ConfigProblem
from gatewayd.interfaces import IRequestSource, ITransport
from gatewayd.status import Outcome
from gatewayd.transport import TransportContext

__all__ = ["ImmediateTransport", "refuse_arguments"]


@implementer(ITransport)
class ImmediateTransport:
    """Gives every recipient of a next hop the same outcome."""

    def __init__(self, outcome_for: Callable[[str], Outcome]) -> None:
        self._outcome_for = outcome_for

    async def deliver(self, nexthop: str, source: IRequestSource) -> None:
        """See ITransport."""
        outcome = self._outcome_for(nexthop)
        while (request := source.take()) is not None:
            source.done(request, {each.number: outcome for each in request.recipients})

    def close(self) -> Deferred[None]:
        """Nothing is open."""
        return succeed(None)


def refuse_arguments(context: TransportContext) -> None:
    """Raises ConfigError if the service has any argument."""
    service = context.service
    if service.arguments:
        text = f"{service.command}: unknown argument: {service.arguments[0]}"
        raise ConfigError([ConfigProblem(service.file, service.line, text)])
