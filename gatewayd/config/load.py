"""Loading: both files read, checked as a whole, every error named."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from gatewayd.config import main_cf, master_cf
from gatewayd.config.check import Check
from gatewayd.config.main_cf import Assignment, MainCf
from gatewayd.config.main_settings import make_settings, read_text
from gatewayd.config.master_cf import MasterCf, Service
from gatewayd.config.settings import Settings
from gatewayd.errors import ConfigError, ConfigProblem

__all__ = [
    "Configuration",
    "Files",
    "load",
    "make_settings",
    "read_files",
    "read_services",
    "services_of",
]


@dataclass(frozen=True, slots=True)
class Configuration:
    """A checked configuration. ``warnings`` don't keep it from being used."""

    directory: str
    settings: Settings
    services: tuple[Service, ...]
    warnings: tuple[ConfigProblem, ...] = ()

    def service_settings(self, service: Service) -> Settings:
        """Settings as one service sees them."""
        return self.settings.for_service(service)


@dataclass(frozen=True, slots=True)
class Files:
    """Both files as read, not looked at for sense yet."""

    main: MainCf
    master: MasterCf
    settings: Settings


def load(
    directory: str, *, overrides: Mapping[str, str] | None = None, hostname: str | None = None
) -> Configuration:
    """Read main.cf and master.cf of a folder.

    ``overrides`` win over main.cf; ``hostname`` stands in for the machine's. Raises ConfigError
    with every error of both files.
    """
    files = read_files(directory, overrides=overrides, hostname=hostname)
    check = Check(files.settings, files.master.services)
    errors = (*files.main.errors, *files.master.errors, *check.errors)
    if errors:
        raise ConfigError(errors)
    warnings = (*files.main.warnings, *files.master.warnings, *check.warnings)
    return Configuration(directory, files.settings, files.master.services, warnings)


def read_files(
    directory: str, *, overrides: Mapping[str, str] | None = None, hostname: str | None = None
) -> Files:
    """Both files parsed only. Raises ConfigError if one cannot be read; names both if it's both."""
    texts: list[str] = []
    unreadable: list[ConfigProblem] = []
    paths = [os.path.join(directory, name) for name in ("main.cf", "master.cf")]
    for path in paths:
        try:
            texts.append(read_text(path))
        except ConfigError as error:
            unreadable += error.problems
    if unreadable:
        raise ConfigError(unreadable)
    main = main_cf.parse(texts[0], paths[0])
    assignments = dict(main.assignments)
    for name, value in (overrides or {}).items():
        assignments[name] = Assignment(name, value, "command line", 0)
    settings = make_settings(directory, assignments, hostname)
    master = master_cf.parse(texts[1], paths[1], _process_limit(settings))
    settings.transports = frozenset(each.name for each in master.services if each.is_transport)
    return Files(main, master, settings)


def read_services(directory: str) -> tuple[Service, ...]:
    """The services of master.cf alone. Raises ConfigError."""
    path = os.path.join(directory, "master.cf")
    return services_of(read_text(path), path)


def services_of(text: str, path: str) -> tuple[Service, ...]:
    """The services of a master.cf's text. Raises ConfigError."""
    master = master_cf.parse(text, path)
    if master.errors:
        raise ConfigError(master.errors)
    return master.services


def _process_limit(settings: Settings) -> int:
    try:
        return settings.number("default_process_limit")
    except ConfigError:
        return 100  # the check will name it
