"""Listening sockets of master.cf's inet services: bound early, as root, and served later.

A service's name is ``[host:]port``, host a name, an address or an address in brackets, port a
number or a name from services(5). Without a host it listens on inet_interfaces.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IListeningPort, IProtocolFactory

from gatewayd.config.master_cf import Service
from gatewayd.config.settings import Settings
from gatewayd.errors import ConfigError, ConfigProblem

__all__ = ["ListenAddress", "Listeners", "listen_addresses"]

_BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where a service listens: family (AF_INET, AF_INET6), numeric host, port."""

    family: socket.AddressFamily
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def listen_addresses(service: Service, settings: Settings) -> tuple[ListenAddress, ...]:
    """What a service's name means. Raises ConfigError naming the line."""
    host, colon, port_text = service.name.rpartition(":")
    hosts = [host.strip("[]")] if colon else _interfaces(settings)
    families = _families(settings)
    try:
        port = _port(port_text)
        found = [each for name in hosts for each in _addresses(name, port, families)]
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        problem = f"service {service.name}: {reason}"
        raise ConfigError([ConfigProblem(service.file, service.line, problem)]) from None
    return tuple(dict.fromkeys(found))


def _port(text: str) -> int:
    if text.isascii() and text.isdigit():
        port = int(text)
        if port > 65535:
            raise OSError(errno.EINVAL, f"no such port: {text}")
        return port
    return socket.getservbyname(text, "tcp")


def _interfaces(settings: Settings) -> list[str]:
    named = settings.words("inet_interfaces")
    if "all" in named:
        return ["0.0.0.0", "::"]
    if "loopback-only" in named:
        return ["127.0.0.1", "::1"]
    return [name.strip("[]") for name in named]


def _families(settings: Settings) -> frozenset[socket.AddressFamily]:
    protocols = set(settings.words("inet_protocols"))
    both = protocols & {"all", "ipv4, ipv6"} or {"ipv4", "ipv6"} <= protocols
    families = set()
    if both or "ipv4" in protocols:
        families.add(socket.AF_INET)
    if (both or "ipv6" in protocols) and _has_ipv6():
        families.add(socket.AF_INET6)
    return frozenset(families)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _addresses(
    host: str, port: int, families: frozenset[socket.AddressFamily]
) -> Iterable[ListenAddress]:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [ListenAddress(f, str(a[0]), port) for f, _, _, _, a in infos if f in families]
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return [ListenAddress(family, host, port)] if family in families else []


def _bound_socket(address: ListenAddress) -> socket.socket:
    """A listening, non-blocking socket. Raises ConfigError saying who can't have what."""
    listening = socket.socket(address.family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((address.host, address.port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        text = f"cannot listen on {address}: {error.strerror}"
        raise ConfigError([ConfigProblem("master.cf", 0, text)]) from None
    listening.setblocking(False)
    return listening


@dataclass(slots=True)
class Listeners:
    """The sockets bound, and the ports that serve them, by address."""

    _sockets: dict[ListenAddress, socket.socket] = field(default_factory=dict)
    _ports: dict[ListenAddress, IListeningPort] = field(default_factory=dict)

    def bind(self, addresses: Sequence[ListenAddress]) -> None:
        """Bind what isn't bound yet: all or nothing. Raises ConfigError."""
        fresh: dict[ListenAddress, socket.socket] = {}
        try:
            for address in addresses:
                if address not in self._sockets and address not in self._ports:
                    fresh[address] = _bound_socket(address)
        except ConfigError:
            for bound in fresh.values():
                bound.close()
            raise
        self._sockets.update(fresh)

    def serve(self, address: ListenAddress, factory: IProtocolFactory, reactor: Any) -> None:
        """Accept connections on a bound address for ``factory``."""
        if address in self._ports:
            return
        bound = self._sockets.pop(address)
        descriptor = bound.detach()
        try:
            self._ports[address] = reactor.adoptStreamPort(descriptor, address.family, factory)
        finally:
            os.close(descriptor)

    @property
    def serving(self) -> tuple[ListenAddress, ...]:
        """The addresses that accept connections."""
        return tuple(self._ports)

    def close(self, addresses: Iterable[ListenAddress] | None = None) -> Deferred[None]:
        """Stop listening there, or everywhere; open connections stay."""
        going = list(self._ports if addresses is None else addresses)
        for address in list(self._sockets) if addresses is None else []:
            self._sockets.pop(address).close()
        stopping = [self._ports.pop(each).stopListening() for each in going if each in self._ports]
        done = DeferredList([each for each in stopping if isinstance(each, Deferred)])
        return done.addCallback(lambda _: None)
