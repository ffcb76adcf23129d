"""Where a command finds the gateway: configuration folder, settings, control socket."""

from __future__ import annotations

import os
import sys

from gatewayd.config.load import Configuration, load
from gatewayd.control.client import ControlClient
from gatewayd.errors import ConfigError

__all__ = ["configuration", "control_client", "default_folder", "fail"]


def default_folder() -> str:
    """$MAIL_CONFIG, else /etc/gatewayd."""
    return os.environ.get("MAIL_CONFIG") or "/etc/gatewayd"


def fail(program: str, text: str, status: int) -> int:
    """Print a fatal error as Postfix's commands do; gives the exit status for return."""
    for line in text.split("\n"):
        print(f"{program}: fatal: {line}", file=sys.stderr)
    return status


def configuration(program: str, folder: str | None) -> Configuration:
    """The configuration in ``folder`` (or the default one); exits 69 if it cannot be used."""
    try:
        return load(folder or default_folder())
    except ConfigError as error:
        sys.exit(fail(program, str(error), 69))


def control_client(found: Configuration) -> ControlClient:
    """A client of the daemon that runs with this configuration."""
    return ControlClient(found.settings.text("control_socket"))
