"""Commands run as other users, although the gateway itself has given up root.

Before the gateway drops its privileges it starts this module as a small process of its own, which
stays root, reads nothing from the network, and does one thing: run a command as one of the users
that master.cf's ``user=`` attributes named at the start. The two talk over a socket pair, one JSON
object a datagram:

    1. gateway → launcher   {"run": n, "argv": […], "uid": u, "gid": g, "cwd": …, "chroot": …,
                             "env": {…}}   with the command's stdin and output as descriptors
    2. launcher → gateway   {"run": n, "pid": p}  or  {"run": n, "error": text}
    3. gateway → launcher   {"kill": n}           its process group is killed
    4. launcher → gateway   {"run": n, "ended": wait status}

When the gateway is gone, the socket ends; the launcher kills what still runs, and ends too.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

__all__ = ["DATAGRAM_LIMIT", "start_launcher"]

DATAGRAM_LIMIT = 160 * 1024
"""Octets of one request: argument lists are bounded by the transport's recipient limit."""


def start_launcher(users: Iterable[tuple[int, int]]) -> socket.socket:
    """Start the process; gives our end. ``users`` are the (uid, gid) it may run commands as."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * DATAGRAM_LIMIT)
    allowed = ",".join(f"{uid}:{gid}" for uid, gid in users)
    with theirs:
        subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(theirs.fileno()), allowed],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            cwd="/",
            env={},
            start_new_session=True,
        )
    ours.setblocking(False)
    return ours


class _Launcher:
    """The loop of the privileged process."""

    def __init__(self, channel: socket.socket, allowed: frozenset[tuple[int, int]]) -> None:
        self._channel = channel
        self._allowed = allowed
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def serve(self, ended: int) -> None:
        """Until the gateway is gone. ``ended`` is readable when a child has ended."""
        while True:
            ready, _, _ = select.select([self._channel.fileno(), ended], [], [])
            if ended in ready:
                os.read(ended, 4096)
                self._reap()
            if self._channel.fileno() in ready and not self._receive():
                break
        for process in self._running.values():
            _kill(process)

    def _receive(self) -> bool:
        octets, descriptors, _, _ = socket.recv_fds(self._channel, DATAGRAM_LIMIT, 2)
        try:
            if not octets:
                return False
            request = json.loads(octets)
            if "kill" in request:
                if request["kill"] in self._running:
                    _kill(self._running[request["kill"]])
            else:
                self._run(request, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _run(self, request: dict[str, Any], descriptors: list[int]) -> None:
        number = request["run"]
        try:
            process = self._spawn(request, descriptors)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self._say({"run": number, "error": str(error)})
            return
        self._running[number] = process
        self._say({"run": number, "pid": process.pid})

    def _spawn(self, request: dict[str, Any], descriptors: list[int]) -> subprocess.Popen[bytes]:
        user = (int(request["uid"]), int(request["gid"]))
        if user not in self._allowed or 0 in user:
            raise ValueError(f"commands as user {user[0]} were not configured at the start")
        if len(descriptors) != 2:
            raise ValueError("a command needs its input and its output")
        root = request.get("chroot") or ""
        return subprocess.Popen(
            request["argv"],
            stdin=descriptors[0],
            stdout=descriptors[1],
            stderr=descriptors[1],
            cwd=None if root else request["cwd"],
            env=request["env"],
            start_new_session=True,
            restore_signals=True,
            preexec_fn=lambda: _become(*user, root, request["cwd"]),
        )

    def _reap(self) -> None:
        for number, process in list(self._running.items()):
            status = process.poll()
            if status is not None:
                del self._running[number]
                self._say({"run": number, "ended": status})

    def _say(self, words: dict[str, Any]) -> None:
        with suppress(OSError):
            self._channel.send(json.dumps(words).encode())


def _become(uid: int, gid: int, root: str, folder: str) -> None:
    if root:
        os.chroot(root)
        os.chdir(folder or "/")
    os.setgroups([gid])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)


def _main(arguments: list[str]) -> None:
    channel = socket.socket(fileno=int(arguments[0]))
    pairs = (pair.split(":") for pair in arguments[1].split(",") if pair)
    allowed = frozenset((int(uid), int(gid)) for uid, gid in pairs)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for ignored in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    _Launcher(channel, allowed).serve(reading)


if __name__ == "__main__":
    _main(sys.argv[1:])
