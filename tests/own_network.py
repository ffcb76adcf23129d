"""A network of one's own: real port 25, any address, and nobody else's traffic.

    with own_network("192.0.2.1"):
        …   # sockets made here, and programs and threads started here, live in that network

It has a loopback interface with 127.0.0.1 and the addresses given (``192.0.2.1/24`` with all of
its network, which then is this machine, too), and no way out. Linux gives
each thread its network namespace, and what a thread starts inherits it; the thread comes back to
its old one at the end. Needs root.
"""

from __future__ import annotations

import ctypes
import fcntl
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.peers import require_root

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x8914, 0x8916, 0x891C
_UP_LOOPBACK_RUNNING = 0x1 | 0x8 | 0x40

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def own_network(*addresses: str) -> Iterator[None]:
    """See above. Skips visibly where it isn't allowed, as in containers without CAP_SYS_ADMIN."""
    require_root("a network namespace")
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter()
        try:
            _bring_up(addresses)
            yield
        finally:
            _check(_libc.setns(before, _CLONE_NEWNET))
    finally:
        os.close(before)


def _enter() -> None:
    if _libc.unshare(_CLONE_NEWNET) != 0:
        pytest.skip(f"no network namespace: {os.strerror(ctypes.get_errno())}")


def _bring_up(addresses: tuple[str, ...]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _UP_LOOPBACK_RUNNING))
        for number, address in enumerate(addresses):
            name = f"lo:{number}".encode()
            interface = ipaddress.IPv4Interface(address)
            fcntl.ioctl(control, _SIOCSIFADDR, _request(name, interface.ip))
            fcntl.ioctl(control, _SIOCSIFNETMASK, _request(name, interface.netmask))


def _request(name: bytes, address: ipaddress.IPv4Address) -> bytes:
    return struct.pack("16sHxx4s8x", name, socket.AF_INET, address.packed)


def _check(result: int) -> None:
    if result:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
