"""The seams of gatewayd: every zope Interface, and nothing else.

Plugins and alternative stores implement these; tests verify that they do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from gatewayd.message import Content, DeliveryRequest, NewMessage, QueuedMessage, Route
from gatewayd.status import Outcome

if TYPE_CHECKING:
    from gatewayd.queue.records import Listing, Selection, Settlement, Totals
    from gatewayd.transport import TransportContext

__all__ = [
    "IIncomingContent",
    "ILookupTable",
    "IQueueStore",
    "IRequestSource",
    "ITransport",
    "ITransportMaker",
]


class ILookupTable(Interface):
    """A table of text by key: main.cf's ``type:name`` (docs/tables.md)."""

    name: str = Attribute("The reference as configured, ``type:name``.")
    fixed_string: bool = Attribute(
        "Whether partial keys (parents, without extension, @domain) may be asked too; "
        "pattern tables get the full key once."
    )

    async def lookup(key: str) -> str | None:
        """The value, or None if there is none. Case folding is the table's own matter.

        Raises TableError if it cannot tell now.
        """

    def close() -> None:
        """Give files and connections back."""


class IRequestSource(Interface):
    """The waiting requests of one next hop, as one lane of delivery sees them."""

    def take() -> DeliveryRequest | None:
        """The next request for this lane, or None if none waits (or the lane is to end).

        Each request taken must be given its outcomes by done(), exactly once.
        """

    def wait(seconds: float) -> Deferred[DeliveryRequest | None]:
        """Like take(), but on an idle connection: waits up to so many seconds for one."""

    def done(request: DeliveryRequest, outcomes: Mapping[int, Outcome]) -> None:
        """One outcome for every recipient of the request, by QueuedRecipient.number."""

    def round_trip(seconds: float) -> None:
        """This lane waits once a message for an answer, which takes so many seconds to come.

        Told once, when the first message has begun, and if that is small: then more lanes carry
        more. A transport that fills a line with one lane doesn't tell it.
        """


class ITransport(Interface):
    """A delivery agent: carries messages to a next hop. It never retries: the queue does."""

    async def deliver(nexthop: str, source: IRequestSource) -> None:
        """One lane: take requests for ``nexthop`` from ``source`` until it has none left.

        A transport that has no use for an open connection takes one, delivers it, calls done(),
        and so on. It may take the next before the last is done (pipelining).

        Raises NexthopUnavailable if the next hop cannot be reached and no taken request is
        without its outcomes; TransportBroken if the transport cannot work at all. Cancelling
        the Deferred that runs it ends the lane soon: what was taken and has no outcome yet is
        put back by the queue as not attempted.
        """

    def close() -> Deferred[None]:
        """Give back idle connections and the like; fires when done."""


class ITransportMaker(Interface):
    """What a transport plugin provides (beside twisted.plugin.IPlugin)."""

    name: str = Attribute("What the command column of master.cf names.")
    description: str = Attribute("One line for the list of transports.")

    def make(context: TransportContext) -> ITransport:
        """The transport for one master.cf service.

        Arguments are checked here, not at delivery. Raises ConfigError.
        """


class IIncomingContent(Interface):
    """A content on its way in. Memory use is bounded: the store moves large ones to disk."""

    size: int = Attribute("Octets written so far.")

    def write(octets: bytes) -> Deferred[None] | None:
        """Add octets. A Deferred means: pause the client until it fires.

        Raises StoreError or StoreFull (now or through the Deferred).
        """

    def finish() -> Content:
        """No more octets come; what a NewMessage takes."""

    def discard() -> None:
        """Forget it all; allowed at any time before the message is put in the queue."""


class IQueueStore(Interface):
    """The durable queue. Nothing outside gatewayd.queue knows what is behind it.

    Times are POSIX seconds. A message that was leased is in some dispatcher's hands and shows as
    active; a lease ends by settle(), release(), or a restart. A message that cannot be read is set
    aside (state corrupt), and so is one that the process has died of several times. A Deferred that
    fails does so with StoreError.
    """

    def new_queue_id(now: float) -> str:
        """A queue ID that was never given out before, in Postfix's short or long form."""

    def incoming() -> IIncomingContent:
        """A place for a content about to arrive. Raises StoreFull."""

    def put(message: NewMessage, lease: bool) -> Deferred[QueuedMessage]:
        """Make it durable; fires after the commit is on stable storage, never before.

        With ``lease`` the caller takes it into active at once (unless it's on hold).
        """

    def lease_due(now: float, limit: int) -> Deferred[Sequence[QueuedMessage]]:
        """Lease up to ``limit`` messages whose next attempt is due, longest due first."""

    def lease_selected(
        selection: Selection, after: int, limit: int
    ) -> Deferred[tuple[Sequence[QueuedMessage], int]]:
        """Lease waiting messages of a selection whatever their time, flush=True, in queue order.

        ``after`` is the position to go on from (0 first); gives the messages and the next
        position, which is 0 once the selection is through. Held and leased ones are skipped.
        """

    def next_due() -> Deferred[float | None]:
        """When the earliest message that waits is due, or None if none waits."""

    def settle(settlement: Settlement) -> Deferred[None]:
        """Record what an attempt brought and end the lease, in one transaction."""

    def release(queue_ids: Iterable[str]) -> Deferred[None]:
        """Put leased messages back as if they had not been attempted."""

    def listing(
        selection: Selection, after: int, limit: int
    ) -> Deferred[tuple[Sequence[Listing], int]]:
        """What waits, for people and programs, without contents; positions as in lease_selected."""

    def message(queue_id: str) -> Deferred[QueuedMessage | None]:
        """One message with its content, in whatever state; None if there is none."""

    def hold(selection: Selection) -> Deferred[int]:
        """Put on hold; gives how many. A leased one is held once its attempt ends."""

    def unhold(selection: Selection) -> Deferred[int]:
        """Release from hold to deferred, with its next attempt as it was."""

    def delete(selection: Selection) -> Deferred[int]:
        """Remove without notice to anyone. A leased one goes once its attempt ends."""

    def expire(selection: Selection) -> Deferred[int]:
        """Mark to be returned to the sender after the next attempt, which is due at once."""

    def requeue(selection: Selection) -> Deferred[int]:
        """Make due now what is deferred; held messages are released from hold first.

        So are corrupt ones: the operator has repaired them, or wants them tried again.
        """

    def reroute(routes: Mapping[str, Mapping[int, Route]]) -> Deferred[None]:
        """Replace routes: queue ID → recipient number → Route."""

    def totals() -> Deferred[Totals]:
        """Counts and octets by state, for status and metrics."""

    def close() -> Deferred[None]:
        """Commit what waits, end the store's threads."""
