"""The SMTP server's edge: connections, back-pressure, time-outs, limits, the log, the end."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from gatewayd.address import Address
from gatewayd.errors import StoreError, StoreFull
from gatewayd.message import Origin, Recipient
from gatewayd.smtp.ports import Refused, Transaction
from gatewayd.smtp.server import ConnectionCounts, Exemptions, SmtpdFactory, SmtpdProtocol
from gatewayd.status import Reply
from tests.smtp.desk import MemoryIncoming, MemoryIntake, NullPolicy, settings

_MAIL = (b"EHLO c\r\n", b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<c@d>\r\n", b"DATA\r\n")


class Wire(StringTransport):
    """A transport that keeps what a real one would be told."""

    aborted = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


class Log:
    """Keeps lines by level."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str, **fields: Any) -> None:
        self.lines.append(text)

    def warning(self, text: str, **fields: Any) -> None:
        self.lines.append(f"warning: {text}")

    def error(self, text: str, **fields: Any) -> None:
        self.lines.append(f"error: {text}")

    def failure(self, text: str, failure: object = None, **fields: Any) -> None:
        self.lines.append(f"failure: {text}")


class Service:
    """A factory with all that it needs, and clients of it."""

    def __init__(self, **changes: Any) -> None:
        self.clock = Clock()
        self.log = Log()
        self.intake = MemoryIntake()
        self.policy = NullPolicy()
        self.names: dict[str, Any] = {}
        self.factory = SmtpdFactory(
            settings(**changes),
            self.policy,
            self.intake,
            self.clock,
            self.log,  # type: ignore[arg-type]
            self.name_of,
            ConnectionCounts(waiting_limit=2),
        )

    async def name_of(self, address: str) -> str:
        name = self.names.get(address, "client.test")
        return await name if isinstance(name, Deferred) else name

    def connect(self, host: str = "192.0.2.1") -> Client:
        kind = IPv6Address if ":" in host else IPv4Address
        protocol = self.factory.buildProtocol(kind("TCP", host, 4711))
        assert protocol is not None
        return Client(protocol)


class Client:
    """A client of a Service."""

    def __init__(self, protocol: SmtpdProtocol) -> None:
        self.protocol = protocol
        self.wire = Wire()
        protocol.makeConnection(self.wire)

    def say(self, *pieces: bytes) -> bytes:
        """What is replied to these pieces, each of which is one read."""
        for piece in pieces:
            self.protocol.dataReceived(piece)
        return self.said()

    def said(self) -> bytes:
        octets = self.wire.value()
        self.wire.clear()
        return octets

    def leave(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionError()))

    @property
    def is_closed(self) -> bool:
        return self.wire.disconnecting

    @property
    def is_paused(self) -> bool:
        return self.wire.producerState == "paused"


def test_a_session() -> None:
    """Connect to disconnect, and Postfix's lines about it."""
    service = Service()
    client = service.connect()
    verifyObject(IPushProducer, client.protocol)
    assert client.said() == b"220 mx.test ESMTP\r\n"
    assert client.say(*_MAIL).endswith(b"354 End data with <CR><LF>.<CR><LF>\r\n")
    assert client.say(b"x\r\n.\r\n") == b"250 2.0.0 Ok: queued as Q1\r\n"
    assert client.say(b"QUIT\r\n") == b"221 2.0.0 Bye\r\n"
    assert client.is_closed
    client.leave()
    assert service.intake.committed() == [b"x\r\n"]
    assert service.log.lines == [
        "connect from client.test[192.0.2.1]",
        "Q1: client=client.test[192.0.2.1]",
        "disconnect from client.test[192.0.2.1] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5",
    ]
    assert service.factory.sessions == 0
    assert not service.clock.getDelayedCalls()


def test_mapped_addresses_are_plain_ones() -> None:
    """An IPv4 client on an IPv6 socket is known by its IPv4 address."""
    service = Service()
    service.connect("::ffff:192.0.2.9")
    service.connect("2001:db8::1")
    assert service.log.lines == [
        "connect from client.test[192.0.2.9]",
        "connect from client.test[2001:db8::1]",
    ]


def test_slow_name_lookup() -> None:
    """The banner waits for the name; an early talker is heard after it."""
    service = Service()
    service.names["192.0.2.1"] = name = Deferred[str]()
    client = service.connect()
    assert client.say(b"NOOP\r\n") == b""
    assert client.is_paused
    name.callback("late.test")
    assert client.said() == b"220 mx.test ESMTP\r\n250 2.0.0 Ok\r\n"
    assert not client.is_paused
    assert service.log.lines == ["connect from late.test[192.0.2.1]"]


def test_failing_name_lookup() -> None:
    service = Service()
    service.names["192.0.2.1"] = name = Deferred[str]()
    client = service.connect()
    name.errback(OSError("no DNS"))
    assert client.said().startswith(b"220 ")
    assert service.log.lines[-1] == "connect from unknown[192.0.2.1]"


def test_client_lost_during_name_lookup() -> None:
    service = Service()
    service.names["192.0.2.1"] = Deferred[str]()
    service.connect().leave()
    assert service.factory.sessions == 0
    assert service.log.lines == []


class _Slow(NullPolicy):
    """Answers about senders when told to."""

    def __init__(self) -> None:
        self.asked: list[Deferred[Reply | None]] = []

    async def sender(self, peer: Origin, transaction: Transaction) -> Reply | None:
        self.asked.append(Deferred())
        return await self.asked[-1]


def test_back_pressure_while_the_policy_thinks() -> None:
    """What is there is held, nothing more is read, and all goes on with the answer."""
    service = Service()
    service.factory.policy = policy = _Slow()
    client = service.connect()
    client.say(b"EHLO c\r\n")
    assert client.say(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n") == b""
    assert not client.is_paused
    assert client.say(b"RSET\r\n") == b""
    assert client.is_paused
    policy.asked[0].callback(None)
    assert client.said() == b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n250 2.0.0 Ok\r\n"
    assert not client.is_paused


def test_policy_that_never_answers() -> None:
    """No answer within ipc_timeout is a temporary failure, not a hanging session."""
    service = Service()
    service.factory.policy = _Slow()
    client = service.connect()
    client.say(b"EHLO c\r\n", b"MAIL FROM:<a@b>\r\n")
    client.said()
    service.clock.pump([5.0] * 719)
    assert client.said() == b""
    service.clock.pump([5.0] * 3)
    assert client.said() == b"451 4.3.0 Temporary lookup failure\r\n"
    assert client.say(b"NOOP\r\n") == b"250 2.0.0 Ok\r\n"


def test_policy_that_breaks() -> None:
    """An error nobody foresaw: temporary failure for the client, all of it in the log."""

    class Broken(NullPolicy):
        async def recipient(
            self, peer: Origin, transaction: Transaction, address: Address
        ) -> Reply | Recipient:
            raise ZeroDivisionError

    service = Service()
    service.factory.policy = Broken()
    client = service.connect()
    client.say(*_MAIL[:2])
    assert client.say(_MAIL[2]).endswith(b"451 4.3.0 Temporary lookup failure\r\n")
    assert "failure: smtpd: no answer to a client" in service.log.lines


def test_client_lost_while_the_policy_thinks() -> None:
    service = Service()
    service.factory.policy = policy = _Slow()
    client = service.connect()
    client.say(b"EHLO c\r\n", b"MAIL FROM:<a@b>\r\n")
    client.leave()
    assert policy.asked[0].called
    assert service.factory.sessions == 0
    assert service.log.lines[-1].endswith("ehlo=1 mail=0/1 commands=1/2")


def test_slow_store() -> None:
    """A Deferred from write(): the client isn't read until it fires."""
    service = Service()
    full: list[Deferred[None]] = []

    def on_write(incoming: MemoryIncoming) -> Deferred[None]:
        full.append(Deferred())
        return full[-1]

    service.intake.on_write = on_write
    client = service.connect()
    client.say(*_MAIL, b"x" * 70000)
    assert len(full) == 1
    client.say(b"y" * 70000)
    assert client.is_paused
    assert len(full) == 1
    full[0].callback(None)
    assert len(full) == 2
    assert client.is_paused
    full[1].callback(None)
    assert not client.is_paused
    client.say(b"\r\n.\r\n")
    full[2].callback(None)
    assert client.said().endswith(b"queued as Q1\r\n")
    assert service.intake.committed() == [b"x" * 70000 + b"y" * 70000 + b"\r\n"]


def test_store_errors() -> None:
    """What the queue raises, at once or later, at begin, write or commit, and what is said."""
    reply = Reply(554, "5.4.0", "Error: too many hops")
    cases = [
        (StoreFull("x"), b"452 4.3.1 Insufficient system storage\r\n"),
        (StoreError("x"), b"451 4.3.0 Error: queue file write error\r\n"),
        (Refused(reply), b"554 5.4.0 Error: too many hops\r\n"),
        (RuntimeError("x"), b"451 4.3.0 "),
    ]
    for error, said in cases:
        for place in ("write", "write later", "commit", "commit later"):
            service = Service()
            later: Deferred[None] = Deferred()

            def fail(incoming: MemoryIncoming, error: Exception = error) -> Any:
                incoming.state = "gone"
                raise error

            async def fail_later(incoming: MemoryIncoming, later: Deferred[None] = later) -> None:
                incoming.state = "gone"
                await later

            if place == "write":
                service.intake.on_write = fail
            elif place == "write later":
                service.intake.on_write = lambda incoming, later=later: _gone(incoming, later)  # type: ignore[misc]
            else:
                service.intake.on_commit = fail_later if "later" in place else fail
            client = service.connect()
            client.say(*_MAIL)
            client.said()
            answer = client.say(b"x\r\n.\r\n")
            if "later" in place:
                assert answer == b""
                later.errback(error)
                answer = client.said()
            assert answer.startswith(said), (error, place)
            assert not service.intake.committed()
            assert client.say(b"NOOP\r\n") == b"250 2.0.0 Ok\r\n"


def _gone(incoming: MemoryIncoming, later: Deferred[None]) -> Deferred[None]:
    incoming.state = "gone"
    return later


def test_no_room_at_begin() -> None:
    service = Service()

    def full(*_: object) -> MemoryIncoming:
        raise StoreFull("no room")

    service.intake.begin = full  # type: ignore[method-assign]
    client = service.connect()
    assert client.say(*_MAIL).endswith(b"452 4.3.1 Insufficient system storage\r\n")


def test_acknowledged_only_after_commit() -> None:
    """250 waits for the commit; a client that leaves meanwhile doesn't stop it."""
    service = Service()
    durable: Deferred[None] = Deferred()

    async def commit(incoming: MemoryIncoming) -> None:
        await durable

    service.intake.on_commit = commit
    client = service.connect()
    client.say(*_MAIL)
    client.said()
    assert client.say(b"x\r\n.\r\n") == b""
    client.leave()
    assert not durable.called
    durable.callback(None)
    assert service.intake.committed() == [b"x\r\n"]


def test_lost_in_content_aborts() -> None:
    service = Service()
    client = service.connect()
    client.say(*_MAIL, b"half a message\r\n")
    client.leave()
    assert [each.state for each in service.intake.messages] == ["aborted"]
    assert (
        service.log.lines[-2] == "lost connection after DATA (14 bytes) from client.test[192.0.2.1]"
    )


def test_client_that_does_not_read() -> None:
    """Replies that pile up stop the session; then it's too late for it altogether."""
    service = Service(hard_error_limit=10**6, junk_command_limit=10**6)
    client = service.connect()
    client.say(b"EHLO c\r\n")
    client.said()
    client.protocol.pauseProducing()
    assert client.say(b"RSET\r\n" * 10) == b""
    assert client.is_paused
    client.protocol.resumeProducing()
    assert client.said().count(b"250 2.0.0 Ok") == 10
    client.protocol.pauseProducing()
    client.say(b"RSET\r\n")
    service.clock.pump([5.0] * 62)
    assert client.is_closed
    assert not client.wire.aborted
    service.clock.pump([5.0] * 4)
    assert client.wire.aborted


def test_timeout() -> None:
    service = Service()
    client = service.connect()
    client.say(b"EHLO c\r\n")
    client.said()
    service.clock.pump([5.0] * 59)
    assert not client.is_closed
    client.say(b"NO")
    service.clock.pump([5.0] * 59)
    assert not client.is_closed
    service.clock.pump([5.0] * 3)
    assert client.said() == b"421 4.4.2 mx.test Error: timeout exceeded\r\n"
    assert client.is_closed
    client.leave()
    assert service.log.lines[-2] == "timeout after EHLO from client.test[192.0.2.1]"
    assert not service.clock.getDelayedCalls()


def test_error_sleep() -> None:
    service = Service(soft_error_limit=1)
    client = service.connect()
    client.say(b"EHLO c\r\n", b"FOO\r\n")
    client.said()
    assert client.say(b"FOO\r\n") == b""
    service.clock.advance(1.0)
    assert client.said().startswith(b"500 ")
    client.say(b"FOO\r\n")
    client.leave()
    assert not service.clock.getDelayedCalls()


def test_one_clients_flood_leaves_turns_to_others() -> None:
    """After 200 events the reactor has its turn, and the rest follows."""
    service = Service()
    client = service.connect()
    client.say(b"EHLO c\r\n")
    said = client.say(b"MAIL FROM:<a@b>\r\n" + b"RCPT TO:<c@d>\r\n" * 900)
    assert 150 < said.count(b"250 2.1.5") < 250
    for _ in range(10):
        service.clock.advance(0)
    assert client.said().count(b"250 2.1.5") + said.count(b"250 2.1.5") == 900


def test_too_many_connections_of_one_client() -> None:
    service = Service(client_connection_count_limit=2)
    first, _ = service.connect(), service.connect()
    third = service.connect()
    assert third.said() == (b"421 4.7.0 mx.test Error: too many connections from 192.0.2.1\r\n")
    assert third.is_closed
    assert service.connect("192.0.2.2").said().startswith(b"220")
    third.leave()
    assert service.log.lines[-3:] == [
        "warning: Connection concurrency limit exceeded: 3 from client.test[192.0.2.1]"
        " for service smtp",
        "connect from client.test[192.0.2.2]",
        "disconnect from client.test[192.0.2.1] commands=0/0",
    ]
    first.leave()
    assert service.connect().said().startswith(b"220")
    service.factory.reconfigure(
        service.factory.settings, service.policy, Exemptions(limits=lambda address: True)
    )
    assert service.connect().said().startswith(b"220")


def test_all_ports_busy() -> None:
    """Over maxproc a client waits for its banner; over the waiting line it's told so."""
    service = Service(process_limit=2)
    served = [service.connect("192.0.2.1"), service.connect("192.0.2.2")]
    waiting = [service.connect("192.0.2.3"), service.connect("192.0.2.4")]
    busy = service.connect("192.0.2.5")
    assert busy.said() == b"421 4.3.2 mx.test Error: all server ports are busy\r\n"
    assert [each.said()[:3] for each in served] == [b"220", b"220"]
    assert [each.said() for each in waiting] == [b"", b""]
    waiting[0].leave()
    served[0].leave()
    assert waiting[1].said().startswith(b"220")
    busy.leave()
    assert service.factory.sessions == 2


def test_bare_lf_exemption() -> None:
    """Clients in the exclusions end DATA as of old."""
    service = Service()
    service.factory.reconfigure(
        service.factory.settings, service.policy, Exemptions(bare_lf="192.0.2.7".__eq__)
    )
    assert service.connect("192.0.2.7").say(*_MAIL, b"x\n.\n").endswith(b"queued as Q1\r\n")
    assert service.connect("192.0.2.8").say(*_MAIL, b"x\n.\n").endswith(b"<CR><LF>\r\n")


def test_reconfigure_is_for_new_sessions() -> None:
    service = Service()
    old = service.connect()
    service.factory.reconfigure(settings(disable_vrfy=True), service.policy)
    assert b"VRFY" in old.say(b"EHLO c\r\n")
    assert b"VRFY" not in service.connect().say(b"EHLO c\r\n")


def test_stop() -> None:
    """Idle sessions end at once, a transaction is finished, and then it's over."""
    service = Service()
    idle, busy = service.connect(), service.connect()
    idle.said()
    busy.say(*_MAIL)
    busy.said()
    done: list[None] = []
    service.factory.stop(30).addCallback(done.append)
    assert idle.said() == b"421 4.3.2 mx.test Error: service shutting down\r\n"
    assert idle.is_closed
    idle.leave()
    assert not done
    assert service.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1)) is None
    assert busy.say(b".\r\n").startswith(b"250 2.0.0 Ok: queued as Q1\r\n421 4.3.2")
    busy.leave()
    assert done == [None]
    assert not service.clock.getDelayedCalls()


def test_stop_has_a_bound() -> None:
    service = Service()
    busy = service.connect()
    busy.say(*_MAIL)
    service.factory.stop(30)
    service.clock.advance(29)
    assert not busy.wire.aborted
    service.clock.advance(2)
    assert busy.wire.aborted


def test_stop_without_sessions() -> None:
    done: list[None] = []
    Service().factory.stop(30).addCallback(done.append)
    assert done == [None]


def test_stop_while_a_name_is_looked_up() -> None:
    service = Service()
    service.names["192.0.2.1"] = name = Deferred[str]()
    client = service.connect()
    service.factory.stop(30)
    assert client.said().startswith(b"421 4.3.2")
    name.callback("late")
    assert client.said() == b""
