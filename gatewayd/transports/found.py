"""Finding transports: core ones and plugins, by the name that master.cf's command column gives."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from twisted.plugin import getPlugins

from gatewayd.config.master_cf import Service
from gatewayd.errors import ConfigError, ConfigProblem
from gatewayd.interfaces import ITransport, ITransportMaker
from gatewayd.transport import TransportContext

__all__ = ["BUILT_IN", "Found", "find_transports", "make_transports", "transport_services"]

BUILT_IN = frozenset(
    (
        *("anvil", "bounce", "cleanup", "dnsblog", "flush", "oqmgr", "pickup", "postlogd"),
        *("proxymap", "qmgr", "qmqpd", "scache", "showq", "tlsmgr", "tlsproxy"),
        *("trivial-rewrite", "verify", "nqmgr", "postscreen", "spawn"),
    )
)
"""Commands of a stock Postfix master.cf that are part of gatewayd itself, or not needed."""

NOT_YET = frozenset(("local", "virtual"))
"""Transports that come later: mail for them waits."""


@dataclass(slots=True)
class Found:
    """The transports there are by name, and the plugins that could not be imported, with why."""

    makers: dict[str, ITransportMaker] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)


def find_transports() -> Found:
    """Import the declarations (not the implementations) of all transports."""
    import gatewayd.plugins
    from gatewayd.smtp import transports as smtp_transports
    from gatewayd.transports import core

    found = Found()
    for module in (smtp_transports, core):
        for each in vars(module).values():
            if ITransportMaker.providedBy(each):
                found.makers[each.name] = each
    for maker in getPlugins(ITransportMaker, gatewayd.plugins):
        found.makers.setdefault(maker.name, maker)
    # twisted.plugin passes over what cannot be imported; an administrator wants to know.
    for _, name, _ in pkgutil.iter_modules(gatewayd.plugins.__path__):
        try:
            importlib.import_module(f"gatewayd.plugins.{name}")
        except Exception as error:
            found.broken[name] = f"{type(error).__name__}: {error}"
    return found


def transport_services(services: Iterable[Service]) -> list[Service]:
    """The services that are transports: type unix, and no built-in command."""
    return [
        service
        for service in services
        if service.type == "unix" and service.command not in BUILT_IN | NOT_YET
    ]


def make_transports(
    services: Iterable[Service], context_for: Callable[[Service], TransportContext]
) -> dict[str, ITransport]:
    """A transport for each transport service, by the service's name.

    Raises ConfigError naming every service whose command nobody provides, and every bad argument.
    """
    found = find_transports()
    made: dict[str, ITransport] = {}
    problems: list[ConfigProblem] = []
    for service in transport_services(services):
        maker = found.makers.get(service.command)
        if maker is None:
            problems.append(_missing(service, found))
            continue
        try:
            made[service.name] = maker.make(context_for(service))
        except ConfigError as error:
            problems.extend(error.problems)
        except ImportError as error:
            text = f"transport {service.command} cannot be used: {error}"
            problems.append(ConfigProblem(service.file, service.line, text))
    if problems:
        raise ConfigError(problems)
    return made


def _missing(service: Service, found: Found) -> ConfigProblem:
    text = (
        f'service {service.name}: no transport named "{service.command}"; '
        f"found: {', '.join(sorted(found.makers))}"
    )
    if service.command in found.broken:
        text += f" (plugin {service.command} is broken: {found.broken[service.command]})"
    return ConfigProblem(service.file, service.line, text)
