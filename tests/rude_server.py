"""TCP servers on loopback that behave as no mail server should.

    with rude_server(silent) as server:
        … server.port, server.connections …

A behaviour is called with each connection, in a thread of its own; when it returns, the
connection is closed.
"""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

__all__ = ["RudeServer", "endless_line", "endless_reply", "garbage", "rude_server", "silent"]

Behaviour = Callable[[socket.socket], None]


class RudeServer(socketserver.ThreadingTCPServer):
    """``connections`` counts who ever came."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 200

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.connections = 0
        super().__init__(("127.0.0.1", 0), _Connection)

    @property
    def port(self) -> int:
        port: int = self.server_address[1]
        return port


class _Connection(socketserver.BaseRequestHandler):
    server: RudeServer

    def handle(self) -> None:
        self.server.connections += 1
        with suppress(OSError):
            self.server.behaviour(self.request)


def _until_closed(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def silent(connection: socket.socket) -> None:
    """Takes all, says nothing."""
    _until_closed(connection)


def garbage(connection: socket.socket) -> None:
    """Speaks no SMTP."""
    connection.sendall(b"\x00\xff\xfe\x1b[2J what is this\r\n" * 5)
    _until_closed(connection)


def endless_line(connection: socket.socket) -> None:
    """A greeting without end."""
    connection.sendall(b"220 ")
    while True:
        connection.sendall(b"x" * 65536)


def endless_reply(connection: socket.socket) -> None:
    """A greeting of lines without number."""
    while True:
        connection.sendall(b"220-and so on\r\n" * 1000)


@contextmanager
def rude_server(behaviour: Behaviour) -> Iterator[RudeServer]:
    """A running one."""
    with RudeServer(behaviour) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)
