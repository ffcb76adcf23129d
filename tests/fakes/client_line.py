"""The SMTP transport against servers in memory: no sockets, no waiting."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from gatewayd.interfaces import IRequestSource
from gatewayd.routing.hosts import Server
from gatewayd.smtp.client.transport import SmtpTransport
from gatewayd.smtp.client_settings import ClientSettings
from tests.fakes.mail import RecordedLog
from tests.fakes.mail_server import MailServer

Pieces = Callable[[bytes], Sequence[bytes]]


def whole(octets: bytes) -> Sequence[bytes]:
    return [octets]


class FakeHosts:
    """Knows the servers of every next hop, or raises ``error``."""

    def __init__(self, *servers: Server) -> None:
        self.servers_found = servers
        self.error: Exception | None = None

    async def servers(self, nexthop: str) -> tuple[Server, ...]:
        if self.error is not None:
            raise self.error
        return self.servers_found


class _Wire(StringTransport):
    """A connection that knows when it was dropped, and counts what was written at once."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False
        self.writes = 0

    def write(self, data: bytes) -> None:
        self.writes += 1
        super().write(data)

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass


class Connected:
    """One connection of the client to a server in memory."""

    def __init__(self, protocol: Any, server: MailServer, split: Pieces) -> None:
        self.protocol = protocol
        self.server = server
        self.wire = _Wire()
        self.is_lost = False
        self.is_stalled = False
        self._split = split
        protocol.makeConnection(self.wire)
        self._greeting = server.greet()

    def turn(self) -> bool:
        """Carry octets both ways once; False if there were none."""
        if self.is_lost:
            return False
        if self.is_stalled:
            return False
        octets = self.wire.value()
        self.wire.clear()
        answer, self._greeting = self._greeting, b""
        if octets:
            answer += self.server.receive(octets)
        for piece in self._split(answer) if answer else ():
            if not self.wire.disconnecting:
                self.protocol.dataReceived(piece)
        if self.server.is_closed or self.wire.disconnecting:
            if self.wire.value() and not self.wire.aborted and not self.server.is_closed:
                return True
            self.lose()
            return True
        return bool(octets or answer)

    def lose(self) -> None:
        if not self.is_lost:
            self.is_lost = True
            self.protocol.connectionLost(Failure(ConnectionDone()))


class Line:
    """A transport, and the servers it reaches by address.

    ``servers`` makes a server for each connection; None: the connection is refused.
    """

    def __init__(
        self,
        servers: Callable[[str], MailServer | None],
        *addresses: str,
        settings: ClientSettings | None = None,
        port: int = 2525,
        split: Pieces = whole,
    ) -> None:
        self.reactor = MemoryReactorClock()
        self.hosts = FakeHosts(
            *(Server(f"mx{n}.site.test", each, port) for n, each in enumerate(addresses, 1))
        )
        self.log = RecordedLog()
        hosts: Any = self.hosts
        self.transport = SmtpTransport(
            settings or ClientSettings(), hosts, self.reactor, self.log("smtp")
        )
        self.connections: list[Connected] = []
        self.errors: list[Any] = []
        self._servers = servers
        self._seen = 0
        self._split = split

    def deliver(self, source: IRequestSource) -> Deferred[None]:
        """Start a lane and carry octets until nothing moves."""
        lane = Deferred.fromCoroutine(self.transport.deliver("site.test", source))
        lane.addErrback(lambda failure: self.errors.append(failure.value))
        self.pump()
        return lane

    def pump(self) -> None:
        while self.step():
            pass

    def step(self) -> bool:
        """Connect, or carry octets both ways once; False if there was nothing to do."""
        return self._connect() or self._turn()

    def _turn(self) -> bool:
        moved = [each.turn() for each in self.connections]
        return any(moved)

    def pass_time(self, seconds: float) -> None:
        """Seconds go by, in steps of one."""
        for _ in range(int(seconds)):
            self.reactor.advance(1)
            self.pump()

    def _connect(self) -> bool:
        clients = self.reactor.tcpClients
        if self._seen == len(clients):
            return False
        host, _, factory, *_ = clients[self._seen]
        self._seen += 1
        server = self._servers(host)
        if server is None:
            factory.clientConnectionFailed(
                None, Failure(ConnectError(errno.ECONNREFUSED, "refused"))
            )
        else:
            self.connections.append(Connected(factory.buildProtocol(None), server, self._split))
        return True
