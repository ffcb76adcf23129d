"""From a protocol server into the store: what is stored, what is refused, what is handed on."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.address import Address, parse_address
from gatewayd.errors import StoreError, StoreFull
from gatewayd.maillog import capture
from gatewayd.message import Envelope, NewMessage, Origin, QueuedMessage, Recipient, Route
from gatewayd.receive.headers import HeaderRules
from gatewayd.receive.intake import Arrivals, IncomingMessage, IntakeSettings, StoreIntake
from gatewayd.receive.internal import NoticeMaker
from gatewayd.receive.trace import Host
from gatewayd.routing.rewrite import RewriteRules
from gatewayd.smtp.ports import Refused
from tests.access.asking import OWN, answer, settings_of
from tests.fakes.mail import FakeReport
from tests.fakes.queue_store import MemoryIncoming, MemoryStore

_ORIGIN = Origin("ESMTP", "client.test", "client.test", "192.0.2.9", 25)
_TO = Recipient(Address("joe", "example.com"), Route("relay", "example.com"), "joe@example.com")
_NOW = 1_000_000_000.25


class PausingIncoming(MemoryIncoming):
    """A content whose writes each wait for the test."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[Deferred[None]] = []
        self.discarded = 0

    def write(self, octets: bytes) -> Deferred[None] | None:
        super().write(octets)
        self.pauses.append(Deferred())
        return self.pauses[-1]

    def discard(self) -> None:
        self.discarded += 1
        super().discard()


class IntakeTests(SynchronousTestCase):
    """StoreIntake over a store in memory."""

    def setUp(self) -> None:
        self.store = MemoryStore()
        self.submitted: list[QueuedMessage] = []
        self.has_room = True
        self.stored = 0
        self.now = _NOW

    def _arrivals(self) -> Arrivals:
        return Arrivals(
            self.store,
            lambda: self.now,
            lambda: self.has_room,
            self.submitted.append,
            self._count_stored,
        )

    def _count_stored(self) -> None:
        self.stored += 1

    def _begin(
        self,
        sender: str = "ann@example.net",
        recipients: tuple[Recipient, ...] = (_TO,),
        origin: Origin = _ORIGIN,
        size_limit: int = 0,
        hop_limit: int = 50,
    ) -> IncomingMessage:
        settings = IntakeSettings(
            Host("gw.test", "gatewayd"), HeaderRules(hop_limit=hop_limit), size_limit
        )
        intake = StoreIntake(settings, self._arrivals(), lambda o: o.client_address == "127.0.0.1")
        return intake.begin(Envelope(parse_address(sender), origin=origin), recipients)

    def _stored(self, queue_id: str) -> bytes:
        content = self.store.entries[queue_id].message.content
        octets: bytes = answer(content.read(0, content.size))
        return octets

    def test_a_message_gets_our_trace_field_and_is_submitted(self) -> None:
        """Stored under the ID that was given out, handed on once it is durable."""
        incoming = self._begin()
        with capture() as log:
            assert incoming.write(b"Message-Id: <m>\r\nSubject: x\r\n\r\nhi\r\n") is None
            queued = answer(incoming.commit())
        assert queued.queue_id == incoming.queue_id
        assert self.submitted == [queued]
        lines = self._stored(incoming.queue_id).split(b"\r\n")
        assert lines[0] == b"Received: from client.test (client.test [192.0.2.9])"
        assert lines[1] == b"\tby gw.test (gatewayd) with ESMTP id " + queued.queue_id.encode()
        assert lines[2].startswith(b"\tfor <joe@example.com>; ")
        assert lines[3:] == [b"Message-Id: <m>", b"Subject: x", b"", b"hi", b""]
        assert queued.arrival == _NOW
        assert f"cleanup: {queued.queue_id}: message-id=<m>" in log

    def test_without_room_the_message_waits_in_the_store(self) -> None:
        """It is not leased, and nobody is handed it."""
        self.has_room = False
        incoming = self._begin()
        incoming.write(b"\r\n")
        queued = answer(incoming.commit())
        assert (self.submitted, self.stored) == ([], 1)
        assert not self.store.entries[queued.queue_id].leased

    def test_only_local_clients_get_missing_fields(self) -> None:
        """Message-Id, Date and From, in this order."""
        incoming = self._begin(origin=Origin("SMTP", "me", "localhost", "127.0.0.1"))
        incoming.write(b"\r\nhi\r\n")
        queued = answer(incoming.commit())
        stored = self._stored(queued.queue_id)
        names = [line.split(b":")[0] for line in stored.split(b"\r\n")[3:6]]
        assert names == [b"Message-Id", b"Date", b"From"]
        assert b"Message-Id: <20010909014640." in stored
        incoming = self._begin()
        incoming.write(b"\r\nhi\r\n")
        assert b"Date:" not in self._stored(answer(incoming.commit()).queue_id)

    def test_the_sender_is_completed(self) -> None:
        """A bare user gets our origin; the null sender and what makes no sense stay."""
        settings = IntakeSettings(Host("gw.test", "g"), rules=RewriteRules("origin.test"))
        intake = StoreIntake(settings, self._arrivals())
        for given, stored in (("ann", "ann@origin.test"), ("", ""), ("!x", "!x"), ("a@b.", "a@b")):
            sender = parse_address(given)
            incoming = intake.begin(Envelope(sender, origin=_ORIGIN), (_TO,))
            incoming.write(b"\r\n")
            assert str(answer(incoming.commit()).envelope.sender) == stored

    def test_a_message_over_the_limit_is_refused_and_forgotten(self) -> None:
        """552 when the limit is passed, and nothing is stored."""
        incoming = self._begin(size_limit=10)
        assert incoming.write(b"\r\n12345678") is None
        with pytest.raises(Refused) as refused:
            incoming.write(b"9")
        assert str(refused.value.reply) == "552 5.3.4 Error: message file too big"
        assert incoming.write(b"more") is None
        assert not self.store.entries

    def test_a_loop_is_refused(self) -> None:
        """554 5.4.0, whether it shows while the message comes or at its end."""
        for message in (b"Received: x\r\n" * 4 + b"\r\n", b"Received: x\r\n" * 4):
            incoming = self._begin(hop_limit=5)
            with pytest.raises(Refused) as refused:
                self._through(incoming, message)
            assert str(refused.value.reply) == "554 5.4.0 Error: too many hops"
        assert not self.store.entries

    @staticmethod
    def _through(incoming: IncomingMessage, message: bytes) -> None:
        incoming.write(message)
        answer(incoming.commit())

    def test_the_stores_errors_pass_through(self) -> None:
        """The session answers them; nothing is submitted."""
        for error in (StoreFull("full"), StoreError("broken")):
            incoming = self._begin()
            incoming.write(b"\r\n")
            self.store.failing = error
            with pytest.raises(type(error)):
                answer(incoming.commit())
        assert not self.submitted

    def _pausing(self) -> tuple[IncomingMessage, PausingIncoming]:
        content = PausingIncoming()
        self.store.incoming = lambda: content  # type: ignore[method-assign]
        return self._begin(), content

    def test_back_pressure_reaches_the_client(self) -> None:
        """What the store says goes to whoever writes."""
        incoming, content = self._pausing()
        assert incoming.write(b"To: x\r\n") is None
        pause = incoming.write(b"\r\nbody")
        assert pause is content.pauses[0]
        content.pauses[0].callback(None)
        self.successResultOf(pause)

    def test_an_error_while_pausing_gives_the_content_up(self) -> None:
        """Once, and further octets are thrown away."""
        incoming, content = self._pausing()
        pause = incoming.write(b"\r\nbody")
        assert pause is not None
        content.pauses[0].errback(StoreFull("full"))
        self.failureResultOf(pause, StoreFull)
        assert content.discarded == 1
        assert incoming.write(b"more") is None
        incoming.abort()
        assert content.discarded == 1

    def test_a_client_that_goes_away_leaves_nothing(self) -> None:
        """abort() gives the content back, at once and only once."""
        incoming, content = self._pausing()
        incoming.abort()
        incoming.abort()
        assert content.discarded == 1
        with pytest.raises(RuntimeError):
            answer(incoming.commit())

    def test_who_stops_waiting_does_not_lose_the_message(self) -> None:
        """What the store was given is handed on when it is durable, whoever still waits."""
        durable: Deferred[QueuedMessage] = Deferred()
        given: list[NewMessage] = []

        def put(message: NewMessage, lease: bool) -> Deferred[QueuedMessage]:
            given.append(message)
            return durable

        self.store.put = put  # type: ignore[method-assign]
        incoming = self._begin()
        incoming.write(b"\r\n")
        waiting = Deferred.fromCoroutine(_awaited(incoming.commit()))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        assert not self.submitted
        queued = self.store.add(given[0], lease=True)
        durable.callback(queued)
        assert self.submitted == [queued]

    def test_notices_are_routed_and_traced(self) -> None:
        """With our Received field and a Message-Id of their own, not yet put in the queue."""
        router = _router({"mydestination": "", "relayhost": "[smart.test]"})
        settings = IntakeSettings(Host("gw.test", "gatewayd"))
        maker = NoticeMaker(settings, self.store, router, lambda: _NOW)
        header, body = b"From: m\r\nDate: d\r\n", b"\r\nso sorry \xc3\xa9\r\n"
        content = header + body
        report = FakeReport(Address("", ""), parse_address("u@far.test"), content, False, "notice")
        with capture() as log:
            message = answer(maker.prepare(report))
        assert not self.store.entries
        assert message.recipients[0].route == Route("smtp", "[smart.test]")
        stored = answer(message.content.read(0, 9999))
        assert stored.startswith(b"Received: by gw.test (gatewayd)\r\n\tid 00001; ")
        made = b"Message-Id: <20010909014640.00001@gw.test>\r\n"
        assert stored.endswith(header + made + body)
        assert message.has_8bit
        assert not message.envelope.sender
        assert "cleanup: 00001: message-id=<20010909014640.00001@gw.test>" in log


async def _awaited(coroutine: Coroutine[Any, Any, QueuedMessage]) -> QueuedMessage:
    return await coroutine


def _router(configuration: dict[str, str]) -> Any:
    from gatewayd.routing.router import Router

    return Router.from_settings(settings_of(configuration), OWN)


def test_the_parameters_are_read() -> None:
    """From main.cf's names, the drop list in any case."""
    settings = IntakeSettings.from_settings(
        settings_of(
            {
                "mail_name": "Mailer",
                "message_drop_headers": "BCC, x-Secret:",
                "hopcount_limit": "7",
                "header_size_limit": "99",
                "message_size_limit": "1234",
                "always_add_missing_headers": "yes",
            }
        )
    )
    assert settings.host.by == "by postfix.test (Mailer)"
    assert settings.headers == HeaderRules(
        99, 7, frozenset((b"bcc", b"x-secret", b"return-path")), True, ""
    )
    assert settings.size_limit == 1234
