"""A dispatcher over fakes, with its clock in the test's hands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.task import Clock

from gatewayd.address import Address
from gatewayd.message import Envelope, MemoryContent, NewMessage, QueuedMessage, Recipient, Route
from gatewayd.queue.dispatch import Dispatcher
from gatewayd.queue.dispatch_settings import DispatchSettings
from gatewayd.queue.reports import ReportWriter
from gatewayd.queue.schedule import TransportSettings
from tests.fakes.mail import FakeReport, FakeReports, RecordedLog, mail
from tests.fakes.queue_store import MemoryStore
from tests.fakes.transport import FakeTransport

START = 1_000_000.0


class Dispatching:
    """``transports`` are those of the configuration; more by transport settings.

    ``writer`` writes the reports in the place of ``reports``. ``ahead``: seconds by which somebody
    has set the time of day, which ``clock`` doesn't mind.
    """

    def __init__(
        self,
        settings: DispatchSettings | None = None,
        transports: Mapping[str, FakeTransport] | None = None,
        writer: ReportWriter | None = None,
        store: MemoryStore | None = None,
        **limits: TransportSettings,
    ) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.ahead = 0.0
        self.store = store or MemoryStore()
        self.transport = FakeTransport()
        self.transports: dict[str, Any] = dict(transports or {"smtp": self.transport})
        self.reports = FakeReports()
        self.log = RecordedLog()
        self.routes: dict[str, Route] = {}
        self._given: dict[Address, Route] = {}
        self.rerouted = 0
        self.resolved = 0
        self.dispatcher = Dispatcher(
            store=self.store,
            transports=self.transports,
            settings=settings or DispatchSettings(),
            transport_settings=limits,
            reports=writer or self.reports,
            prepare=self.prepare,
            resolve=self.resolve,
            rerouted=self._count_rerouted,
            reactor=self.clock,
            now=self.now,
            log=self.log,
        )

    def now(self) -> float:
        """The time of day."""
        return self.clock.seconds() + self.ahead

    async def prepare(self, report: FakeReport) -> NewMessage:
        route = Route("smtp", report.recipient.domain)
        return NewMessage(
            self.store.new_queue_id(self.now()),
            self.now(),
            Envelope(report.sender),
            (Recipient(report.recipient, route),),
            MemoryContent(report.content),
        )

    def _count_rerouted(self) -> None:
        self.rerouted += 1

    async def resolve(self, sender: Address, recipient: Address) -> Route:
        """``routes`` by domain come first, then the route that a recipient came with."""
        self.resolved += 1
        given = self._given.get(recipient, Route("smtp", recipient.domain))
        return self.routes.get(recipient.domain, given)

    def submit(self, queue_id: str, *recipients: str | Recipient, **rest: Any) -> QueuedMessage:
        """Put a message in the queue and hand it over, as the SMTP server does."""
        message = self.store.add(self._mail(queue_id, *recipients, **rest), lease=True)
        self.dispatcher.submit(message)
        return message

    def queue(self, queue_id: str, *recipients: str | Recipient, **rest: Any) -> None:
        """Put a message in the queue; the dispatcher has to find it."""
        self.store.add(self._mail(queue_id, *recipients, **rest))

    def _mail(self, queue_id: str, *recipients: str | Recipient, **rest: Any) -> NewMessage:
        rest.setdefault("arrival", self.now())
        made = mail(queue_id, *recipients, **rest)
        self._given.update((each.address, each.route) for each in made.recipients)
        return made

    def run(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass in steps, as it does."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end:
            self.clock.advance(min(step, end - self.clock.seconds()))

    def delivered(self) -> list[str]:
        """Queue IDs in the order they were tried."""
        found = []
        for transport in self.transports.values():
            found += [request.queue_id for request in transport.requests]
        return found
