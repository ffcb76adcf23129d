"""The smtp and lmtp transports: one for each master.cf service."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint
from twisted.internet.error import ConnectError, TCPTimedOutError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.protocol import Factory
from zope.interface import implementer

from gatewayd.errors import ConfigError, ConfigProblem
from gatewayd.interfaces import IRequestSource, ITransport
from gatewayd.maillog import MailLog
from gatewayd.routing.hosts import Hosts, NexthopRefused, Server
from gatewayd.smtp.client.connection import ClientConnection
from gatewayd.smtp.client.lane import Lane, answer_all
from gatewayd.smtp.client_settings import ClientSettings
from gatewayd.smtp.trouble import Peer, connect_trouble
from gatewayd.status import Action, Outcome

if TYPE_CHECKING:
    from gatewayd.transport import TransportContext

__all__ = ["SmtpTransport", "make"]

_LEAVING_LIMIT = 50
"""Connections that may wait for a server to answer QUIT or to take its last octets."""


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
        self._connections: dict[ClientConnection, None] = {}

    async def deliver(self, nexthop: str, source: IRequestSource) -> None:
        """One lane. Raises NexthopUnavailable."""
        try:
            servers = await self._hosts.servers(nexthop)
        except NexthopRefused as refused:
            outcome = Outcome(Action.FAILED, refused.status, refused.text)
            if self._settings.soft_bounce:
                outcome = Outcome(Action.DEFERRED, f"4{refused.status[1:]}", refused.text)
            while (request := source.take()) is not None:
                source.done(request, answer_all(request, outcome))
            return
        lane = Lane(
            self._connect,
            nexthop,
            servers,
            source,
            settings=self._settings,
            reactor=self._reactor,
            log=self._log,
        )
        await lane.run()

    def close(self) -> Deferred[None]:
        """Drop what still waits for servers to say goodbye; lanes end by being cancelled."""
        for connection in list(self._connections):
            connection.abort()
        return succeed(None)

    async def _connect(self, server: Server, nexthop: str) -> ClientConnection | Outcome:
        """An open connection, or what it means for mail that there's none."""
        peer = Peer(server.name, server.address, server.port, server.best_mx)
        made = self._reactor.seconds()
        connection = ClientConnection(self._settings, peer, nexthop, self._reactor, made)
        factory = Factory.forProtocol(lambda: connection)
        factory.noisy = False
        try:
            await self._endpoint(server).connect(factory)
        except (ConnectError, OSError) as error:
            trouble = connect_trouble(peer, _reason(error))
            self._log.info(trouble.text)
            return trouble
        self._limit_leaving()
        self._connections[connection] = None
        connection.gone = lambda: self._connections.pop(connection, None)
        refused = await connection.opened
        if refused is None:
            return connection
        connection.leave()
        self._log.info(refused.text)
        return refused

    def _limit_leaving(self) -> None:
        leaving = [each for each in self._connections if each.is_leaving]
        for connection in leaving[: max(0, len(leaving) - _LEAVING_LIMIT)]:
            connection.abort()

    def _endpoint(self, server: Server) -> Any:
        settings = self._settings
        timeout = settings.timeouts.connect or None
        if server.is_unix:
            return UNIXClientEndpoint(self._reactor, server.address, timeout=timeout)
        is_ipv6 = ":" in server.address
        bind = settings.bind_address6 if is_ipv6 else settings.bind_address
        kind: Any = TCP6ClientEndpoint if is_ipv6 else TCP4ClientEndpoint
        return kind(
            self._reactor,
            server.address,
            server.port,
            timeout=timeout,
            bindAddress=(bind, 0) if bind else None,
        )


def _reason(error: BaseException) -> str:
    """A connection error in the system's words: Connection refused."""
    number = getattr(error, "osError", None) or getattr(error, "errno", None)
    if isinstance(number, int):
        return os.strerror(number)
    if isinstance(error, TCPTimedOutError | ConnectTimeout):
        return os.strerror(errno.ETIMEDOUT)
    return str(error) or type(error).__name__
