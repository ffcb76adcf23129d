"""Where recipients of an active message go: to wait for a destination, or no further for now."""

from __future__ import annotations

from collections.abc import Callable, Container

from gatewayd.message import QueuedRecipient, Route
from gatewayd.queue.active import ActiveMessage
from gatewayd.queue.dispatch_settings import DispatchSettings
from gatewayd.queue.flush import fold
from gatewayd.queue.results import Results
from gatewayd.queue.schedule import BROKEN, Schedule
from gatewayd.status import Action, Outcome, deferred

__all__ = ["Placing"]

_DISCARDED = Outcome(Action.DELIVERED, "2.0.0", "undeliverable postmaster notification discarded")
_DEFERRED_TRANSPORT = deferred("4.3.2", "deferred transport")


class Placing:
    """Places recipients by their routes. ``seconds`` is the schedule's clock."""

    def __init__(self, schedule: Schedule, results: Results, seconds: Callable[[], float]) -> None:
        self._schedule = schedule
        self._results = results
        self._seconds = seconds
        self._settings = DispatchSettings()
        self._transports: Container[str] = ()

    def configure(self, settings: DispatchSettings, transports: Container[str]) -> None:
        self._settings = settings
        self._transports = transports

    def place(self, entry: ActiveMessage, recipients: tuple[QueuedRecipient, ...]) -> None:
        if len(recipients) == 1:
            self._place_at(entry, recipients[0].recipient.route, recipients)
            return
        groups: dict[Route, list[QueuedRecipient]] = {}
        for recipient in recipients:
            groups.setdefault(recipient.recipient.route, []).append(recipient)
        for route, group in groups.items():
            self._place_at(entry, route, tuple(group))

    def refuse_unknown(self) -> None:
        """After a reload: defer what still waits for a transport that is no more."""
        schedule = self._schedule
        names = {each.route.transport for each in schedule.destinations() if each.waiting}
        for name in names:
            if name not in self._transports:
                reason = _unknown(name)
                self._results.refused(schedule.drain(name, reason.status, reason.text))

    def _place_at(
        self, entry: ActiveMessage, route: Route, recipients: tuple[QueuedRecipient, ...]
    ) -> None:
        recipients = self._without_double_bounces(entry, recipients)
        name = route.transport
        if not recipients:
            return
        if name not in self._transports:
            self._results.refuse(entry, recipients, _unknown(name))
        elif name in self._settings.defer_transports and not entry.epoch:
            self._results.refuse(entry, recipients, _DEFERRED_TRANSPORT)
        elif len(recipients) > 1 and self._schedule.is_by_recipient(route):
            for recipient in recipients:
                self._wait(entry, route, (recipient,))
        else:
            self._wait(entry, route, recipients)

    def _wait(
        self, entry: ActiveMessage, route: Route, recipients: tuple[QueuedRecipient, ...]
    ) -> None:
        schedule = self._schedule
        destination = schedule.destination(route, recipients)
        why = schedule.place(entry, destination, recipients, self._seconds(), entry.epoch)
        if why is not None:
            self._results.refuse(entry, recipients, deferred(why.status, why.text))

    def _without_double_bounces(
        self, entry: ActiveMessage, recipients: tuple[QueuedRecipient, ...]
    ) -> tuple[QueuedRecipient, ...]:
        """Reports about reports end here, lest they go round for ever."""
        local, domain = self._settings.double_bounce
        for each in recipients:
            if each.recipient.address.local == local:
                break
        else:
            return recipients
        addresses = [each.recipient.address for each in recipients]
        ends = [one.local == local and fold(one.domain) == domain for one in addresses]
        mine = [each for each, is_mine in zip(recipients, ends, strict=True) if is_mine]
        if mine:
            self._results.refuse(entry, mine, _DISCARDED)
        return tuple(each for each, is_mine in zip(recipients, ends, strict=True) if not is_mine)


def _unknown(transport: str) -> Outcome:
    status, text = BROKEN
    return deferred(status, f'{text}: there is no service "{transport}" in master.cf')
