"""The parts of a gateway that follow from its configuration, made anew at each reload.

Making them checks the configuration as a start would: what is wrong raises ConfigError, and
nothing has changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gatewayd.access.policy import Policy, flush_domains
from gatewayd.address import Address
from gatewayd.config.load import Configuration
from gatewayd.config.master_cf import Service
from gatewayd.config.settings import Settings
from gatewayd.control.peer import Permissions
from gatewayd.errors import ConfigError, ConfigProblem, TableError
from gatewayd.interfaces import ITransport
from gatewayd.listeners import ListenAddress, listen_addresses
from gatewayd.maillog import LogSettings
from gatewayd.message import Origin, Route
from gatewayd.notify.reports import Reports
from gatewayd.notify.settings import ReportSettings
from gatewayd.queue.dispatch_settings import DispatchSettings
from gatewayd.queue.schedule import TransportSettings
from gatewayd.receive.intake import IntakeSettings
from gatewayd.routing.dns import DnsSettings, Resolver
from gatewayd.routing.hosts import own_addresses
from gatewayd.routing.router import Router
from gatewayd.smtp.server import Exemptions, SmtpdSettings
from gatewayd.tables.match_list import MatchList, NetworkList
from gatewayd.transport import TransportContext
from gatewayd.transports.found import make_transports, transport_services

__all__ = ["Parts", "Smtpd", "make_parts"]

Flush = Callable[[str], Coroutine[Any, Any, bool]]


@dataclass(frozen=True, slots=True)
class Smtpd:
    """One smtpd service: where it listens, and what its sessions go by."""

    service: Service
    addresses: tuple[ListenAddress, ...]
    settings: SmtpdSettings
    intake: IntakeSettings
    policy: Policy
    exemptions: Exemptions
    lookup_names: bool
    is_local: Callable[[Origin], bool]


@dataclass(frozen=True, slots=True)
class Parts:
    """All that a configuration makes."""

    configuration: Configuration
    log: LogSettings
    router: Router
    resolver: Resolver
    intake: IntakeSettings
    reports: Reports
    dispatch: DispatchSettings
    transports: dict[str, ITransport]
    transport_settings: dict[str, TransportSettings]
    smtpds: tuple[Smtpd, ...]
    permissions: Permissions
    flush_domains: MatchList

    async def resolve(self, sender: Address, recipient: Address) -> Route:
        """Where mail to a recipient goes by this configuration. Raises TableError."""
        resolution = await self.router.resolve(recipient, sender)
        if resolution.error is not None:
            status, text = resolution.error
            return Route("error", f"{status} {text}")
        return resolution.route


def make_parts(
    configuration: Configuration, reactor: Any, flush: Flush, launcher: Any = None
) -> Parts:
    """Make and so check everything. Raises ConfigError with all that was found wrong."""
    settings = configuration.settings
    problems: list[ConfigProblem] = []
    resolver = Resolver(DnsSettings.from_settings(settings), reactor)
    own = own_addresses(settings.words("inet_interfaces"), settings.words("proxy_interfaces"))

    def context(service: Service) -> TransportContext:
        overridden = configuration.service_settings(service)
        return TransportContext(service, overridden, reactor, resolver, launcher)

    def attempt(make: Callable[[], Any]) -> Any:
        try:
            return make()
        except ConfigError as error:
            problems.extend(error.problems)
            return None

    services = transport_services(configuration.services)
    router = attempt(lambda: Router.from_settings(settings, own))
    transports = attempt(lambda: make_transports(configuration.services, context))
    limits = attempt(lambda: _transport_settings(configuration, services))
    dispatch = attempt(lambda: DispatchSettings.from_settings(settings))
    intake = attempt(lambda: IntakeSettings.from_settings(settings))
    reports = attempt(lambda: Reports(ReportSettings.from_settings(settings)))
    log = attempt(lambda: LogSettings.from_settings(settings))
    permissions = attempt(lambda: Permissions.from_settings(settings, os.geteuid()))
    sites = attempt(lambda: flush_domains(settings))
    smtpds = []
    if router is not None:
        for service in configuration.services:
            if service.type == "inet" and service.command == "smtpd":
                smtpds.append(attempt(partial(_smtpd, configuration, service, router, flush, own)))
            elif service.type == "inet":
                text = f'service {service.name}: inet services are "smtpd", not "{service.command}"'
                problems.append(ConfigProblem(service.file, service.line, text))
    if problems:
        raise ConfigError(problems)
    return Parts(
        configuration=configuration,
        log=log,
        router=router,
        resolver=resolver,
        intake=intake,
        reports=reports,
        dispatch=dispatch,
        transports=transports,
        transport_settings=limits,
        smtpds=tuple(smtpds),
        permissions=permissions,
        flush_domains=sites,
    )


def _transport_settings(
    configuration: Configuration, services: Sequence[Service]
) -> dict[str, TransportSettings]:
    return {
        service.name: TransportSettings.from_settings(configuration.settings, service)
        for service in services
    }


def _smtpd(
    configuration: Configuration,
    service: Service,
    router: Router,
    flush: Flush,
    own: frozenset[str],
) -> Smtpd:
    settings = configuration.service_settings(service)
    if service.overrides:
        router = Router.from_settings(settings, own)
    return Smtpd(
        service=service,
        addresses=listen_addresses(service, settings),
        settings=SmtpdSettings.from_settings(settings, process_limit=service.maxproc),
        intake=IntakeSettings.from_settings(settings),
        policy=Policy.from_settings(settings, router, flush, own),
        exemptions=_exemptions(settings),
        lookup_names=settings.flag("smtpd_peername_lookup"),
        is_local=_is_local(settings, own),
    )


def _exemptions(settings: Settings) -> Exemptions:
    def clients(name: str) -> Callable[[str], bool]:
        networks = NetworkList.open(settings.words(name), name)
        return lambda address: _at_once(networks, address)

    return Exemptions(
        limits=clients("smtpd_client_event_limit_exceptions"),
        bare_lf=clients("smtpd_forbid_bare_newline_exclusions"),
    )


def _at_once(networks: NetworkList, address: str) -> bool:
    """What a list says without waiting; one that would have to wait exempts nobody."""
    answer = networks.matches(address)
    try:
        answer.send(None)
    except StopIteration as done:
        return bool(done.value)
    except TableError:
        return False
    answer.close()
    return False


def _is_local(settings: Settings, own: frozenset[str]) -> Callable[[Origin], bool]:
    """Whose headers are completed (local_header_rewrite_clients)."""
    words = settings.words("local_header_rewrite_clients")
    networks = NetworkList.open(settings.words("mynetworks"), "mynetworks")
    ours = "permit_inet_interfaces" in words
    mine = "permit_mynetworks" in words

    def is_local(origin: Origin) -> bool:
        address = origin.client_address
        return (ours and address in own) or (mine and _at_once(networks, address))

    return is_local
