"""The gateway's side of the launcher: commands as other users, awaited."""

from __future__ import annotations

import json
import pwd
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gatewayd.config.master_cf import Service
from gatewayd.errors import TransportBroken
from gatewayd.process.launcher import DATAGRAM_LIMIT, start_launcher

__all__ = ["Launched", "Launching", "users_of"]


def users_of(services: Iterable[Service]) -> set[tuple[int, int]]:
    """The (uid, gid) that ``user=`` attributes of transport services name, but for root."""
    import grp

    found: set[tuple[int, int]] = set()
    for service in services:
        for argument in service.arguments:
            name, equals, value = argument.partition("=")
            if service.type != "unix" or name != "user" or not equals:
                continue
            user, _, group = value.partition(":")
            try:
                entry = pwd.getpwnam(user)
                gid = grp.getgrnam(group).gr_gid if group else entry.pw_gid
            except KeyError:
                continue
            if entry.pw_uid and gid:
                found.add((entry.pw_uid, gid))
    return found


@dataclass(slots=True, eq=False)
class Launched:
    """A command under way. ``started`` fires with its process ID or fails; ``ended`` with the
    exit status (negative: the signal that ended it)."""

    number: int
    started: Deferred[int]
    ended: Deferred[int]


class _Channel(FileDescriptor):
    """The socket to the launcher, in the reactor."""

    def __init__(self, channel: socket.socket, heard: Any, reactor: Any) -> None:
        super().__init__(reactor)
        self.channel = channel
        self.connected = 1
        self._heard = heard

    def fileno(self) -> int:
        return self.channel.fileno()

    def doRead(self) -> Any:
        try:
            octets = self.channel.recv(DATAGRAM_LIMIT)
        except BlockingIOError:
            return None
        except OSError:
            octets = b""
        self._heard(octets)
        return None


class Launching:
    """Commands as other users, by the launcher process. ``start`` False: nobody may."""

    def __init__(self, users: Iterable[tuple[int, int]], reactor: Any, *, start: bool) -> None:
        self.users = frozenset(users) if start else frozenset()
        self._reactor = reactor
        self._channel: _Channel | None = None
        self._running: dict[int, Launched] = {}
        self._count = 0
        if self.users:
            channel = start_launcher(self.users)
            self._channel = _Channel(channel, self._heard, reactor)
            reactor.addReader(self._channel)

    def may_run_as(self, user: tuple[int, int]) -> bool:
        """Whether commands as this (uid, gid) are possible."""
        return self._channel is not None and user in self.users

    def run(
        self,
        argv: Sequence[str],
        user: tuple[int, int],
        *,
        folder: str,
        root: str,
        environment: Mapping[str, str],
        stdin: int,
        output: int,
    ) -> Launched:
        """Start a command; descriptors are the caller's to close. Raises TransportBroken."""
        if self._channel is None:
            raise TransportBroken("commands as other users need a start as root")
        self._count += 1
        launched = Launched(self._count, Deferred(), Deferred())
        request = {
            "run": launched.number,
            "argv": list(argv),
            "uid": user[0],
            "gid": user[1],
            "cwd": folder,
            "chroot": root,
            "env": dict(environment),
        }
        octets = json.dumps(request).encode()
        if len(octets) > DATAGRAM_LIMIT:
            raise TransportBroken("the command's arguments are too long")
        try:
            socket.send_fds(self._channel.channel, [octets], [stdin, output])
        except OSError as error:
            raise TransportBroken(f"the launcher takes no command: {error.strerror}") from None
        self._running[launched.number] = launched
        return launched

    def kill(self, launched: Launched) -> None:
        """End a command's process group at once."""
        if self._channel is not None and launched.number in self._running:
            self._channel.channel.send(json.dumps({"kill": launched.number}).encode())

    def close(self) -> None:
        """End the launcher, and with it what still runs."""
        if self._channel is not None:
            self._reactor.removeReader(self._channel)
            self._channel.channel.close()
            self._channel = None

    def _heard(self, octets: bytes) -> None:
        if not octets:
            self._lost()
            return
        words = json.loads(octets)
        launched = self._running.get(words["run"])
        if launched is None:
            return
        if "pid" in words:
            launched.started.callback(words["pid"])
        elif "error" in words:
            del self._running[launched.number]
            launched.started.errback(Failure(TransportBroken(words["error"])))
        elif "ended" in words:
            del self._running[launched.number]
            launched.ended.callback(words["ended"])

    def _lost(self) -> None:
        self.close()
        failure = Failure(TransportBroken("the launcher process has gone"))
        for launched in self._running.values():
            waiting = launched.ended if launched.started.called else launched.started
            waiting.errback(failure)
        self._running.clear()
