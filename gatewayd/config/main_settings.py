"""The settings of main.cf alone, over the defaults, some of which come from this machine.

Commands run for each mail, on small machines, and also while something in the configuration is
wrong that doesn't concern them: this reads no master.cf, checks nothing, and imports little.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from gatewayd.config import main_cf
from gatewayd.config.main_cf import Assignment
from gatewayd.config.settings import Settings
from gatewayd.errors import ConfigError, ConfigProblem

__all__ = ["make_settings", "read_settings", "read_text"]

_SIZE_LIMIT = 8 << 20


def read_settings(directory: str) -> Settings:
    """What main.cf of a folder says; a value is looked at only when it's asked for.

    Raises ConfigError if the file can't be read, or has lines that can't.
    """
    path = os.path.join(directory, "main.cf")
    main = main_cf.parse(read_text(path), path)
    if main.errors:
        raise ConfigError(main.errors)
    return make_settings(directory, main.assignments)


def make_settings(
    directory: str, assignments: Mapping[str, Assignment], hostname: str | None = None
) -> Settings:
    """Settings whose computed defaults come from this machine."""
    computed: dict[str, Callable[[Settings], str]] = {
        "config_directory": lambda _: directory,
        "myhostname": lambda settings: _hostname(settings, hostname),
        "mydomain": lambda settings: _domain(settings.text("myhostname")),
        "mynetworks": _default_networks,
        "process_id": lambda _: str(os.getpid()),
    }
    return Settings(assignments, computed)


def _hostname(settings: Settings, given: str | None) -> str:
    from gatewayd.config.machine import host_name

    name = given or host_name()
    if "." in name:
        return name
    domain = settings.text("mydomain") if settings.is_set("mydomain") else "localdomain"
    return f"{name}.{domain}"


def _domain(name: str) -> str:
    return name.partition(".")[2] or "localdomain"


def _default_networks(settings: Settings) -> str:
    from gatewayd.config.machine import interface_networks
    from gatewayd.config.networks import listening, networks_by_style

    chosen = listening(
        interface_networks(), settings.words("inet_interfaces"), settings.words("inet_protocols")
    )
    return networks_by_style(settings.text("mynetworks_style"), chosen)


def read_text(path: str) -> str:
    """A file's text; what is no UTF-8 becomes surrogate escapes. Raises ConfigError."""
    try:
        with open(path, "rb") as file:
            octets = file.read(_SIZE_LIMIT + 1)
    except OSError as error:
        raise ConfigError([ConfigProblem(path, 0, error.strerror or str(error))]) from None
    if len(octets) > _SIZE_LIMIT:
        raise ConfigError([ConfigProblem(path, 0, f"larger than {_SIZE_LIMIT} octets")])
    return octets.decode("utf-8", "surrogateescape")
