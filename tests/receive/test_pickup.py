"""Pickup: files of maildrop become messages, are set aside, or stay for later."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from gatewayd.errors import StoreFull
from gatewayd.maillog import capture
from gatewayd.message import Notify, QueuedMessage, Route
from gatewayd.receive.headers import HeaderRules
from gatewayd.receive.intake import Arrivals, IntakeSettings
from gatewayd.receive.maildrop import Submission, drop
from gatewayd.receive.maildrop_folder import MaildropFolder
from gatewayd.receive.pickup import Pickup
from gatewayd.receive.trace import Host
from gatewayd.routing.router import Router
from tests.access.asking import answer, settings_of
from tests.fakes.queue_store import MemoryStore


class ImmediatePool:
    """A thread pool without threads: work is done when it's asked for."""

    def callInThreadWithCallback(self, on_result: Any, work: Any, *args: Any, **named: Any) -> None:
        from twisted.python.failure import Failure

        try:
            result, good = work(*args, **named), True
        except BaseException:
            result, good = Failure(), False
        on_result(good, result)


class Reactor(Clock):
    """Time under the test's control, and calls from threads at once."""

    def getThreadPool(self) -> ImmediatePool:
        return ImmediatePool()

    def callFromThread(self, call: Any, *args: Any, **named: Any) -> None:
        call(*args, **named)


class Place:
    """A maildrop folder, a store, and the pickup between."""

    def __init__(self, root: Path, configuration: dict[str, str] | None = None) -> None:
        self.drops = root / "maildrop"
        self.corrupt = root / "corrupt"
        self.drops.mkdir()
        self.store = MemoryStore()
        self.submitted: list[QueuedMessage] = []
        self.reactor = Reactor()
        self.reactor.advance(4_000_000_000)
        folder = MaildropFolder(str(self.drops), str(self.corrupt))
        settings = IntakeSettings(Host("gw.test", "gatewayd"), HeaderRules(hop_limit=5), 10_000)
        router = Router.from_settings(
            settings_of({"mydestination": "gw.test", "myorigin": "gw.test"} | (configuration or {}))
        )
        arrivals = Arrivals(self.store, self.reactor.seconds, lambda: True, self.submitted.append)
        self.refused_users: set[int] = set()
        self.pickup = Pickup(folder, settings, router, arrivals, self.reactor, self._allows, 60.0)

    async def _allows(self, user_id: int) -> bool:
        return user_id not in self.refused_users

    def drop(
        self, *recipients: str, content: bytes = b"Subject: x\r\n\r\nhi\r\n", **more: Any
    ) -> str:
        submission = Submission(more.pop("sender", "ann"), recipients or ("joe@far.test",), **more)
        return drop(str(self.drops), submission, [content])

    def left(self) -> list[str]:
        return sorted(os.listdir(self.drops))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_what_waited_is_taken_at_start(place: Place) -> None:
    """With sender and recipients rewritten and routed, our fields added, the file gone."""
    name = place.drop("joe", "joe@gw.test", "x@far.test", full_name="Ann", notify="NEVER")
    os.utime(place.drops / name, (1_000_000, 1_000_000))
    with capture() as log:
        place.pickup.start()
    (message,) = place.submitted
    assert place.left() == []
    assert str(message.envelope.sender) == "ann@gw.test"
    assert message.envelope.origin.user_id == os.geteuid()
    assert message.arrival == 1_000_000
    routed = [(str(r.recipient.address), r.recipient.route) for r in message.recipients]
    assert routed == [
        ("joe@gw.test", Route("local", "postfix.test")),
        ("x@far.test", Route("smtp", "far.test")),
    ]
    assert [r.recipient.original for r in message.recipients] == ["joe", "x@far.test"]
    assert {r.recipient.notify for r in message.recipients} == {Notify.NEVER}
    stored = answer(message.content.read(0, 9999)).decode()
    assert stored.startswith(f"Received: by gw.test (gatewayd, from userid {os.geteuid()})\r\n")
    assert "\r\nFrom: Ann <ann@gw.test>\r\n\r\nhi\r\n" in stored
    assert log[0] == f"pickup: {message.queue_id}: uid={os.geteuid()} from=<ann>"


def test_a_look_takes_what_came_and_time_does_too(place: Place) -> None:
    """Poked at once, else within the interval; not after stop()."""
    place.pickup.start()
    place.drop()
    place.pickup.look()
    assert len(place.submitted) == 1
    place.drop()
    place.reactor.advance(59)
    assert len(place.submitted) == 1
    place.reactor.advance(1)
    assert len(place.submitted) == 2
    answer(place.pickup.stop())
    place.drop()
    place.pickup.look()
    place.reactor.advance(1000)
    assert len(place.submitted) == 2
    assert not place.reactor.getDelayedCalls()


def test_many_files_go_in_one_look(place: Place) -> None:
    """More than one batch."""
    names = [place.drop(f"u{number}@far.test") for number in range(40)]
    place.pickup.start()
    assert len(place.submitted) == len(names)
    assert place.left() == []


def test_what_is_no_submission_is_set_aside(place: Place) -> None:
    """And said so; the others go on."""
    (place.drops / "junk").write_bytes(b"\xff\x00 junk")
    place.drop()
    with capture() as log:
        place.pickup.start()
    assert len(place.submitted) == 1
    assert place.left() == []
    assert os.listdir(place.corrupt) == ["junk"]
    assert log.containing("pickup: warning: maildrop/junk: no complete first line: moved to")


@pytest.mark.parametrize(
    ("content", "more"),
    [
        (b"Received: x\r\n" * 5 + b"\r\n", {}),
        (b"x" * 10_001, {}),
        (b"\r\n", {"sender": "a@"}),
    ],
)
def test_what_may_not_be_taken_is_kept(place: Place, content: bytes, more: dict[str, Any]) -> None:
    """A loop, too big, a sender without sense: set aside, never thrown away."""
    name = place.drop(content=content, **more)
    place.pickup.start()
    assert place.submitted == []
    assert not place.store.entries
    assert os.listdir(place.corrupt) == [name]


def test_only_who_may_submit_is_heard(place: Place) -> None:
    """By the owner of the file; what others left is set aside."""
    place.refused_users = {os.geteuid()}
    name = place.drop()
    with capture() as log:
        place.pickup.start()
    assert place.submitted == []
    assert os.listdir(place.corrupt) == [name]
    assert f"user {os.geteuid()} may not submit mail" in log[0]


def test_a_malformed_recipient_is_returned_like_any_other(place: Place) -> None:
    """Its route is one to error:, so the sender is told; the good one is delivered."""
    place.drop('"unfinished', "u@1.2.3.4", "good@far.test")
    place.pickup.start()
    (message,) = place.submitted
    assert [str(r.recipient.route) for r in message.recipients] == [
        "error:5.1.3 bad address syntax",
        "error:5.1.3 bad address syntax",
        "smtp:far.test",
    ]


def test_local_line_ends_become_right_ones(place: Place) -> None:
    """Bare CR and LF of a hostile file cannot smuggle a line into SMTP."""
    place.drop(content=b"Subject: x\n\na\n.\nMAIL FROM:<x>\rb")
    place.pickup.start()
    (message,) = place.submitted
    stored = answer(message.content.read(0, 9999))
    assert stored.endswith(b"\r\n\r\na\r\n.\r\nMAIL FROM:<x> b\r\n")
    assert stored.count(b"\n") == stored.count(b"\r\n") == stored.count(b"\r")


def test_a_full_store_leaves_the_file_for_later(place: Place) -> None:
    """Nothing is lost, nothing is set aside, and it's tried again."""
    name = place.drop()
    place.store.failing = StoreFull("no room")
    with capture() as log:
        place.pickup.start()
    assert place.left() == [name]
    assert log.containing("no room: left for later")
    place.store.failing = None
    place.reactor.advance(60)
    assert place.left() == []
    assert len(place.submitted) == 1


def test_a_table_that_fails_leaves_the_file_for_later(tmp_path: Path) -> None:
    """It is never taken for "not found"."""
    place = Place(tmp_path, {"transport_maps": "fail:down"})
    name = place.drop()
    place.pickup.start()
    assert place.left() == [name]
    assert not place.store.entries


def test_a_missing_folder_is_said_and_looked_for_again(place: Place) -> None:
    """The gateway goes on without it."""
    place.drops.rmdir()
    with capture() as log:
        place.pickup.start()
    assert log.containing("pickup: warning: maildrop: ")
    place.drops.mkdir()
    place.drop()
    place.reactor.advance(60)
    assert len(place.submitted) == 1


def test_stopping_waits_for_what_is_being_taken(place: Place) -> None:
    """A message that was given to the store is in before stop() returns."""
    place.drop()
    durable: list[Deferred[QueuedMessage]] = []
    put = place.store.put

    def slow(message: Any, lease: bool) -> Deferred[QueuedMessage]:
        durable.append(put(message, lease))
        waiting: Deferred[QueuedMessage] = Deferred()
        durable.append(waiting)
        return waiting

    place.store.put = slow  # type: ignore[method-assign]
    place.pickup.start()
    stopped = Deferred.fromCoroutine(place.pickup.stop())
    assert not stopped.called
    durable[0].addCallback(durable[1].callback)
    assert stopped.called
    assert place.left() == []
