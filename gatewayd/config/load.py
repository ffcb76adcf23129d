"""Loading: both files read, checked as a whole, every error named."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from gatewayd.config import main_cf, master_cf
from gatewayd.config.expand import ExpandError, references
from gatewayd.config.machine import host_name, interface_networks
from gatewayd.config.main_cf import Assignment
from gatewayd.config.master_cf import Service
from gatewayd.config.networks import networks_by_style
from gatewayd.config.parameters import PARAMETERS, TRANSPORT_SUFFIXES
from gatewayd.config.settings import Settings, check_value
from gatewayd.config.values import ValueProblem, parse_number, parse_seconds
from gatewayd.errors import ConfigError, ConfigProblem

__all__ = ["Configuration", "load", "make_settings"]

_SIZE_LIMIT = 8 << 20


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


def load(
    directory: str, *, overrides: Mapping[str, str] | None = None, hostname: str | None = None
) -> Configuration:
    """Read main.cf and master.cf of a folder.

    ``overrides`` win over main.cf; ``hostname`` stands in for the machine's. Raises ConfigError
    with every error of both files.
    """
    main_path = os.path.join(directory, "main.cf")
    main = main_cf.parse(_read(main_path), main_path)
    assignments = dict(main.assignments)
    for name, value in (overrides or {}).items():
        assignments[name] = Assignment(name, value, "command line", 0)
    settings = make_settings(directory, assignments, hostname)
    errors = list(main.errors)
    warnings = list(main.warnings)
    master_path = os.path.join(directory, "master.cf")
    try:
        limit = settings.number("default_process_limit")
        master = master_cf.parse(_read(master_path), master_path, limit)
    except ConfigError as error:
        raise ConfigError([*errors, *error.problems]) from None
    errors += master.errors
    warnings += master.warnings
    transports = {service.name for service in master.services if service.type == "unix"}
    _check(settings, assignments, transports, errors, warnings)
    for service in master.services:
        own = settings.for_service(service)
        names = {name: own.assigned[name] for name, _, _ in service.overrides}
        _check(own, names, transports, errors, warnings)
    if errors:
        raise ConfigError(errors)
    return Configuration(directory, settings, master.services, tuple(warnings))


def make_settings(
    directory: str, assignments: Mapping[str, Assignment], hostname: str | None = None
) -> Settings:
    """Settings whose computed defaults come from this machine."""
    computed: dict[str, Callable[[Settings], str]] = {
        "config_directory": lambda _: directory,
        "myhostname": lambda _: hostname or host_name(),
        "mydomain": lambda settings: _domain(settings.text("myhostname")),
        "mynetworks": _default_networks,
    }
    return Settings(assignments, computed)


def _domain(name: str) -> str:
    _, dot, rest = name.partition(".")
    return rest if dot and "." in rest else (rest or "localdomain") if dot else name


def _default_networks(settings: Settings) -> str:
    return networks_by_style(settings.text("mynetworks_style"), interface_networks())


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            octets = file.read(_SIZE_LIMIT + 1)
    except OSError as error:
        raise ConfigError([ConfigProblem(path, 0, error.strerror or str(error))]) from None
    if len(octets) > _SIZE_LIMIT:
        raise ConfigError([ConfigProblem(path, 0, f"larger than {_SIZE_LIMIT} octets")])
    if b"\0" in octets:
        line = octets[: octets.index(b"\0")].count(b"\n") + 1
        raise ConfigError([ConfigProblem(path, line, "a NUL octet: this is no text file")])
    return octets.decode("utf-8", "replace")


def _check(
    settings: Settings,
    names: Mapping[str, Assignment],
    transports: Iterable[str],
    errors: list[ConfigProblem],
    warnings: list[ConfigProblem],
) -> None:
    """Look at the assignments in ``names``."""
    referred = _referred(settings.assigned.values())
    for name, place in names.items():
        row = PARAMETERS.get(name)
        try:
            if row is not None:
                settings.text(name)
                check_value(settings, row, name)
                if not row.supported:
                    text = f"{name} is not supported yet: ignored"
                    warnings.append(ConfigProblem(place.file, place.line, text))
            elif (suffix := _transport_suffix(name, transports)) is not None:
                _check_transport_value(settings, name, suffix)
            elif name not in referred:
                text = f"unknown parameter: {name}{_nearest(name)}"
                warnings.append(ConfigProblem(place.file, place.line, text))
        except ConfigError as error:
            errors.extend(error.problems)


def _referred(assignments: Iterable[Assignment]) -> set[str]:
    names: set[str] = set()
    for assignment in assignments:
        try:
            names |= references(assignment.value)
        except ExpandError:
            continue
    return names


def _transport_suffix(name: str, transports: Iterable[str]) -> str | None:
    for transport in transports:
        if name.startswith(f"{transport}_"):
            suffix = name[len(transport) + 1 :]
            if suffix in TRANSPORT_SUFFIXES:
                return suffix
    return None


def _check_transport_value(settings: Settings, name: str, suffix: str) -> None:
    try:
        if suffix.endswith(("_delay", "time_limit")):
            parse_seconds(settings.text(name))
        elif not suffix.endswith("_feedback"):
            parse_number(settings.text(name), 0)
    except ValueProblem as problem:
        raise settings.error(name, str(problem)) from None


def _nearest(name: str) -> str:
    known = [row.name for row in PARAMETERS.values()]
    near = difflib.get_close_matches(name, known, 1, 0.75)
    return f" (did you mean {near[0]}?)" if near else ""
