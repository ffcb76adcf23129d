"""One lane: the way through a next hop's servers, until nothing is left to deliver.

The first server that talks to us is given requests for as long as there are any. What a server
refuses for now is tried at the next one, recipient by recipient, while there is a next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from gatewayd.errors import NexthopUnavailable
from gatewayd.interfaces import IRequestSource
from gatewayd.maillog import MailLog
from gatewayd.message import DeliveryRequest
from gatewayd.routing.hosts import Server
from gatewayd.smtp.client.attempt import Attempt
from gatewayd.smtp.client.connection import ClientConnection
from gatewayd.smtp.client.delivery import Delivery
from gatewayd.smtp.client_settings import ClientSettings
from gatewayd.status import Action, Outcome

__all__ = ["Lane", "answer_all"]


Connect = Callable[[Server, str], Awaitable[ClientConnection | Outcome]]
"""Connects to a server of a next hop; or tells what it means for mail that it can't."""


def answer_all(request: DeliveryRequest, outcome: Outcome) -> dict[int, Outcome]:
    """One outcome for all recipients of a request, as IRequestSource.done() takes them."""
    return {each.number: outcome for each in request.recipients}


class Lane:
    """See the module."""

    def __init__(
        self,
        connect: Connect,
        nexthop: str,
        servers: Sequence[Server],
        source: IRequestSource,
        *,
        settings: ClientSettings,
        reactor: Any,
        log: MailLog,
    ) -> None:
        self._connect = connect
        self._nexthop = nexthop
        self._servers = deque(servers)
        self._source = source
        self._settings = settings
        self._reactor = reactor
        self._log = log
        self._leftovers: list[Attempt] = []
        self._sessions = 0
        self._trouble: Outcome | None = None

    async def run(self) -> None:
        """Until there is no request, or no server, left. Raises NexthopUnavailable."""
        while self._servers:
            server = self._servers.popleft()
            connection = await self._connect(server, self._nexthop)
            if isinstance(connection, Outcome):
                self._trouble = connection
                if connection.action is Action.FAILED:
                    break
                continue
            self._sessions += 1
            if 0 < self._settings.session_limit <= self._sessions:
                self._servers.clear()
            await self._deliver(server, connection)
            if not self._leftovers:
                return
        self._give_up()

    async def _deliver(self, server: Server, connection: ClientConnection) -> None:
        has_tried = any(not attempt.is_untried for attempt in self._leftovers)
        delivery = Delivery(
            connection,
            self._settings,
            self._reactor,
            self._log,
            attempts=self._leftovers,
            # New requests start with the first server, not where others ended up.
            source=None if has_tried else self._source,
            finish=self._finish,
            may_leave=bool(self._servers),
        )
        try:
            delivery.start()
            self._leftovers = await delivery.ended
        except BaseException:
            connection.abort()
            raise
        self._trouble = delivery.trouble or self._trouble
        if connection.dialogue.messages and any(each.is_untried for each in self._leftovers):
            # It hung up on mail it had not begun with, and took other mail before.
            self._servers.appendleft(server)
            self._sessions -= 1

    def _finish(self, attempt: Attempt) -> None:
        self._source.done(attempt.request, attempt.outcomes)

    def _give_up(self) -> None:
        """No server is left: what was tried keeps its outcomes, the rest gets the last trouble."""
        trouble = self._trouble
        if trouble is None:
            # Every server has served; what is left has outcomes.
            for attempt in self._leftovers:
                self._finish(attempt)
            return
        for attempt in self._leftovers:
            attempt.settle_untried(trouble)
            self._finish(attempt)
        if self._leftovers or self._sessions:
            return
        if trouble.action is Action.FAILED:
            # This server refuses for good, and one request at a time: a server that errs for a
            # moment is not to have everything returned that waits.
            request = self._source.take()
            if request is not None:
                self._source.done(request, answer_all(request, trouble))
            return
        raise NexthopUnavailable(
            trouble.status,
            trouble.text,
            relay=trouble.relay,
            remote_mta=trouble.remote_mta,
            diagnostic=trouble.diagnostic,
        )
