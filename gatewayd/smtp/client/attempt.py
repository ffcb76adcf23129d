"""A delivery request as it goes from server to server."""

from __future__ import annotations

from dataclasses import dataclass, field

from gatewayd.message import DeliveryRequest, QueuedRecipient
from gatewayd.status import Action, Outcome

__all__ = ["Attempt"]


@dataclass(slots=True, eq=False)
class Attempt:
    """A request and its outcomes so far, by recipient number.

    Deferrals are tried again at the next server, if there is one.
    """

    request: DeliveryRequest
    outcomes: dict[int, Outcome] = field(default_factory=dict)

    @property
    def is_untried(self) -> bool:
        """No server has said anything to it."""
        return not self.outcomes

    @property
    def remaining(self) -> tuple[QueuedRecipient, ...]:
        """The recipients that another server may still take."""
        if not self.outcomes:
            return self.request.recipients
        return tuple(
            each
            for each in self.request.recipients
            if (outcome := self.outcomes.get(each.number)) is None
            or outcome.action is Action.DEFERRED
        )

    def settle(self, outcome: Outcome) -> None:
        """One outcome for all that remain."""
        for each in self.remaining:
            self.outcomes[each.number] = outcome

    def settle_untried(self, outcome: Outcome) -> None:
        """One outcome for all that have none yet."""
        for each in self.request.recipients:
            self.outcomes.setdefault(each.number, outcome)
