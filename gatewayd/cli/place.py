"""Where a command finds the gateway: configuration folder, settings, control socket."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from gatewayd.config.main_settings import read_settings

if TYPE_CHECKING:
    from gatewayd.config.settings import Settings
    from gatewayd.control.client import ControlClient

__all__ = ["control_client", "default_folder", "fail", "settings_in"]


def default_folder() -> str:
    """$MAIL_CONFIG, else /etc/gatewayd."""
    return os.environ.get("MAIL_CONFIG") or "/etc/gatewayd"


def fail(program: str, text: str, status: int) -> int:
    """Print a fatal error as Postfix's commands do; gives the exit status for return."""
    for line in text.split("\n"):
        print(f"{program}: fatal: {line}", file=sys.stderr)
    return status


def settings_in(folder: str | None) -> Settings:
    """What main.cf in ``folder`` (or the default one) says, unchecked. Raises ConfigError."""
    return read_settings(folder or default_folder())


def control_client(settings: Settings) -> ControlClient:
    """A client of the daemon that runs with this configuration."""
    from gatewayd.control.client import ControlClient

    return ControlClient(settings.text("control_socket"))
