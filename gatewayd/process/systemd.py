"""What a Type=notify service tells systemd (sd_notify(3)): a datagram to $NOTIFY_SOCKET."""

from __future__ import annotations

import os
import socket
import time

__all__ = ["say_ready", "say_reloading", "say_stopping"]


def say_ready(status: str) -> None:
    """Up and accepting mail; also after a reload. ``status`` becomes one line."""
    _say(f"READY=1\nMAINPID={os.getpid()}\nSTATUS={' '.join(status.split())}")


def say_reloading() -> None:
    """A reload has begun; say_ready() ends it."""
    _say(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def say_stopping() -> None:
    """The orderly stop has begun."""
    _say("STOPPING=1")


def _say(text: str) -> None:
    """Send if somebody listens; systemd missing or deaf is not our trouble."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as datagrams:
        try:
            datagrams.sendto(text.encode(), address)
        except OSError:
            return
