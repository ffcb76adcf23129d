"""A control socket in the test's reactor, asked by blocking clients in threads."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.python.failure import Failure

from gatewayd.address import Address
from gatewayd.control.client import ControlClient
from gatewayd.control.operator import Operator
from gatewayd.control.peer import Permissions
from gatewayd.control.server import control_site
from gatewayd.message import Envelope, MemoryContent, NewMessage, Recipient, Route
from gatewayd.queue.records import Selection
from tests.fakes.queue_store import MemoryStore
from tests.reactor_run import reactor, run

T = TypeVar("T")


@dataclass
class Gateway:
    """A running gateway that keeps what was asked of it. ``failure``: what reload() raises."""

    asked: list[object] = field(default_factory=list)
    failure: Exception | None = None

    async def flush(self, selection: Selection) -> None:
        self.asked.append(selection)

    async def reload(self) -> tuple[str, ...]:
        if self.failure is not None:
            raise self.failure
        return ("main.cf:1: a warning",)

    def stop(self) -> None:
        self.asked.append("stop")

    def pick_up(self) -> None:
        self.asked.append("pick up")

    def queue_changed(self) -> None:
        self.asked.append("queue changed")

    def status(self) -> dict[str, Any]:
        return {"listening": ["127.0.0.1:25"], "counters": {}, "gauges": {}}


def message(store: MemoryStore, sender: str = "a", content: bytes = b"x: y\r\n\r\nbody\r\n") -> str:
    """One more in the queue; gives its ID."""
    queue_id = store.new_queue_id(0.0)
    recipient = Recipient(Address("c", "example.com"), Route("smtp", "example.com"))
    envelope = Envelope(Address(sender, "example.org"))
    store.add(NewMessage(queue_id, 1.0, envelope, (recipient,), MemoryContent(content)))
    return queue_id


class ControlSocket:
    """The server's parts; ``ask()`` runs a client's function while the server serves."""

    def __init__(self, path: Path, permissions: Permissions) -> None:
        self.path = path
        self.store = MemoryStore()
        self.gateway = Gateway()
        self.permissions = permissions
        self.client = ControlClient(str(path), timeout=20)

    def ask(self, work: Callable[[], T]) -> T:
        """What ``work`` gives, done in a thread."""

        async def serve() -> T:
            operator = Operator(self.store, self.gateway)
            site = control_site(operator, self.gateway, lambda: self.permissions, reactor)
            endpoint = UNIXServerEndpoint(reactor, str(self.path), mode=0o666)
            port = await endpoint.listen(site)
            try:
                return await _in_thread(work)
            finally:
                await port.stopListening()

        return run(serve)

    def say(self, octets: bytes) -> bytes:
        """All that is answered to these octets, until the server hangs up."""

        def talk() -> bytes:
            with self.connected() as connection:
                connection.sendall(octets)
                return received(connection)

        return self.ask(talk)

    @contextmanager
    def connected(self) -> Iterator[socket.socket]:
        """A connection of our own."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(self.path))
            yield connection


def _in_thread(work: Callable[[], T]) -> Deferred[T]:
    """What ``work`` gives, in a thread that ends with it (the reactor's own never do)."""
    done: Deferred[T] = Deferred()

    def run_it() -> None:
        try:
            result: Any = work()
        except BaseException:
            result = Failure()
        reactor.callFromThread(done.callback, result)

    threading.Thread(target=run_it).start()
    return done


def received(connection: socket.socket) -> bytes:
    """All that comes until the end; it may be a reset, if not all was read of what we said."""
    pieces = []
    with suppress(ConnectionResetError):
        while octets := connection.recv(1 << 16):
            pieces.append(octets)
    return b"".join(pieces)


@contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder that every user may enter: pytest's own are closed."""
    folder = Path(tempfile.mkdtemp(prefix="control-"))
    os.chmod(folder, 0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def permitted(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine gives that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("it waits")
