"""How transports are declared and made: the delivery seam's other half.

A plugin package declares itself with one TransportMaker, whose implementation is imported only
when a master.cf service names it:

    uucp = TransportMaker("uucp", "gatewayd.plugins.uucp.transport", "UUCP, natively")

The implementation module has ``def make(context: TransportContext) -> ITransport``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from twisted.plugin import IPlugin
from zope.interface import implementer

from gatewayd.interfaces import ITransport, ITransportMaker

if TYPE_CHECKING:
    from gatewayd.config.master_cf import Service
    from gatewayd.config.settings import Settings

__all__ = ["TransportContext", "TransportMaker"]


@dataclass(frozen=True, slots=True)
class TransportContext:
    """All that a transport is given when it's made.

    ``service`` is its line in master.cf (name, arguments, line number for errors);
    ``settings`` main.cf with that line's -o overrides; ``reactor`` time and I/O;
    ``resolver`` host look-ups (gatewayd.routing.dns.Resolver); ``launcher`` runs commands as other
    users once root is given up (gatewayd.process.launching.Launching), None if nobody may.
    ``now``: POSIX time; the reactor's seconds() only measure waits.
    """

    service: Service
    settings: Settings
    reactor: Any
    resolver: Any
    launcher: Any = None
    now: Callable[[], float] = time.time


@implementer(IPlugin, ITransportMaker)
class TransportMaker:
    """A transport plugin's declaration: name, module of the implementation, one line of text."""

    def __init__(self, name: str, module: str, description: str) -> None:
        self.name = name
        self.module = module
        self.description = description

    def make(self, context: TransportContext) -> ITransport:
        return cast(ITransport, import_module(self.module).make(context))
