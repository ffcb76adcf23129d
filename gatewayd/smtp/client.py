"""SMTP and LMTP delivery: lanes of messages over connections, on Twisted.

One lane: find the servers, connect to the first that talks to us, and give it requests for as
long as there are any. What a server refuses for now is tried at the next one, recipient by
recipient, while there is a next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Factory
from zope.interface import implementer

from gatewayd.errors import ConfigError, ConfigProblem, NexthopUnavailable
from gatewayd.interfaces import IRequestSource, ITransport
from gatewayd.maillog import MailLog
from gatewayd.message import DeliveryRequest
from gatewayd.routing.hosts import Hosts, NexthopRefused, Server
from gatewayd.smtp.attempt import Attempt
from gatewayd.smtp.client_connection import ClientConnection
from gatewayd.smtp.client_settings import ClientSettings
from gatewayd.smtp.trouble import Peer
from gatewayd.status import Action, Outcome, deferred

if TYPE_CHECKING:
    from gatewayd.transport import TransportContext

__all__ = ["SmtpTransport", "make"]


def make(context: TransportContext) -> ITransport:
    """The transport of a master.cf service whose command is smtp or lmtp. Raises ConfigError."""
    service = context.service
    if service.arguments:
        text = f"{service.command}: unknown argument: {service.arguments[0]}"
        raise ConfigError([ConfigProblem(service.file, service.line, text)])
    lmtp = service.command == "lmtp"
    settings = ClientSettings.from_settings(context.settings, lmtp=lmtp)
    name = service.name if service.name == service.command else f"{service.name}/{service.command}"
    hosts = Hosts.from_settings(context.settings, context.resolver, lmtp=lmtp)
    return SmtpTransport(settings, hosts, context.reactor, MailLog(name))


@implementer(ITransport)
class SmtpTransport:
    """See ITransport."""

    def __init__(self, settings: ClientSettings, hosts: Hosts, reactor: Any, log: MailLog) -> None:
        self._settings = settings
        self._hosts = hosts
        self._reactor = reactor
        self._log = log

    async def deliver(self, nexthop: str, source: IRequestSource) -> None:
        """One lane. Raises NexthopUnavailable."""
        try:
            servers = await self._hosts.servers(nexthop)
        except NexthopRefused as refused:
            outcome = Outcome(Action.FAILED, refused.status, refused.text)
            if self._settings.soft_bounce:
                outcome = Outcome(Action.DEFERRED, f"4{refused.status[1:]}", refused.text)
            while (request := source.take()) is not None:
                source.done(request, _for_all(request, outcome))
            return
        await _Lane(self, servers, source).run()

    def close(self) -> Deferred[None]:
        """Connections live no longer than their lanes: nothing is kept here."""
        return succeed(None)

    async def connect(self, server: Server) -> ClientConnection:
        """A connection that the server has opened for mail. Raises NexthopUnavailable."""
        peer = Peer(server.name, server.address, server.port)
        connection = ClientConnection(self._settings, peer, self._reactor, self._log)
        factory = Factory.forProtocol(lambda: connection)
        factory.noisy = False
        try:
            await self._endpoint(server).connect(factory)
        except (ConnectError, OSError) as error:
            text = f"connect to {peer}:{server.port}: {_reason(error)}"
            raise NexthopUnavailable("4.4.1", text) from None
        try:
            refused = await connection.opened
        except BaseException:
            connection.abort()
            raise
        if refused is not None:
            connection.hang_up()
            raise _ServerRefused(refused)
        return connection

    def _endpoint(self, server: Server) -> Any:
        timeout = self._settings.timeouts.connect or None
        if server.is_unix:
            return UNIXClientEndpoint(self._reactor, server.address, timeout or 0)
        if ":" in server.address:
            bind = self._settings.bind_address6
            kind: Any = TCP6ClientEndpoint
        else:
            bind = self._settings.bind_address
            kind = TCP4ClientEndpoint
        return kind(
            self._reactor,
            server.address,
            server.port,
            timeout=timeout,
            bindAddress=(bind, 0) if bind else None,
        )

    @property
    def settings(self) -> ClientSettings:
        return self._settings

    @property
    def log(self) -> MailLog:
        return self._log


_NOT_TRIED = deferred("4.4.2", "the server hung up before the message")


class _ServerRefused(Exception):
    """A server that does not talk to us; what that means for mail, if there is no other."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.text)
        self.outcome = outcome


class _Lane:
    """The way of one lane through the servers."""

    def __init__(
        self, transport: SmtpTransport, servers: Sequence[Server], source: IRequestSource
    ) -> None:
        self._transport = transport
        self._servers = deque(servers)
        self._source = source
        self._leftovers: deque[Attempt] = deque()
        self._sessions = 0
        self._last_trouble: Outcome | None = None

    async def run(self) -> None:
        """Until there is no request, or no server, left."""
        while self._servers:
            server = self._servers.popleft()
            connection = await self._connected(server)
            if connection is None:
                continue
            self._sessions += 1
            limit = self._transport.settings.session_limit
            if limit and self._sessions >= limit:
                self._servers.clear()
            source = None if self._leftovers else self._source
            left = await connection.deliver(
                self._leftovers, source, self._finish, may_leave=bool(self._servers)
            )
            self._leftovers = deque(left)
            if not left:
                return
            if connection.messages and any(not attempt.outcomes for attempt in left):
                # It hung up on messages it had not begun with: they have not been tried.
                self._servers.appendleft(server)
                self._sessions -= 1
        self._give_up()

    async def _connected(self, server: Server) -> ClientConnection | None:
        try:
            return await self._transport.connect(server)
        except NexthopUnavailable as error:
            self._last_trouble = Outcome(
                Action.DEFERRED, error.status, error.text, error.relay, error.remote_mta
            )
        except _ServerRefused as refused:
            self._last_trouble = refused.outcome
            if refused.outcome.action is Action.FAILED:
                self._servers.clear()
        self._transport.log.info(self._last_trouble.text)
        return None

    def _finish(self, attempt: Attempt) -> None:
        self._source.done(attempt.request, attempt.outcomes)

    def _give_up(self) -> None:
        """No server is left: what was tried keeps its outcomes, the rest gets the last trouble."""
        trouble = self._last_trouble
        for attempt in self._leftovers:
            for each in attempt.request.recipients:
                if each.number not in attempt.outcomes:
                    attempt.outcomes[each.number] = trouble or _NOT_TRIED
            self._finish(attempt)
        if self._sessions or trouble is None:
            return
        if trouble.action is Action.FAILED:
            while (request := self._source.take()) is not None:
                self._source.done(request, _for_all(request, trouble))
            return
        raise NexthopUnavailable(
            trouble.status, trouble.text, relay=trouble.relay, remote_mta=trouble.remote_mta
        )


def _for_all(request: DeliveryRequest, outcome: Outcome) -> Mapping[int, Outcome]:
    return {each.number: outcome for each in request.recipients}


def _reason(error: BaseException) -> str:
    """A connection error as people know it: "Connection refused"."""
    number = getattr(error, "osError", None) or getattr(error, "errno", None)
    if isinstance(number, int):
        import os

        return os.strerror(number)
    names = {
        "ConnectionRefusedError": "Connection refused",
        "TimeoutError": "Connection timed out",
        "TCPTimedOutError": "Connection timed out",
        "NoRouteError": "No route to host",
    }
    return names.get(type(error).__name__, str(error) or type(error).__name__)
