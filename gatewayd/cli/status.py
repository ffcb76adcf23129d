"""gatewayctl status and gatewayctl metrics: what the daemon says of itself."""

from __future__ import annotations

import getopt
import json
import sys
from typing import Any

from gatewayd.cli.place import control_client, fail, settings_in
from gatewayd.control.client import ControlRefused, DaemonDown

__all__ = ["main"]

_USAGE = "usage: gatewayctl status [-c DIR] [--json] | gatewayctl metrics [-c DIR]"


def main(arguments: list[str]) -> int:
    """The commands; exit status 0, 64 (usage) or 69 (daemon down)."""
    metrics = arguments[:1] == ["metrics"]
    try:
        options, rest = getopt.gnu_getopt(arguments[metrics:], "c:", ["json", "help"])
    except getopt.GetoptError as error:
        print(f"gatewayctl: fatal: {error}\n{_USAGE}", file=sys.stderr)
        return 64
    if ("--help", "") in options or rest:
        print(_USAGE, file=sys.stderr if rest else sys.stdout)
        return 64 if rest else 0
    client = control_client(settings_in(next((v for n, v in options if n == "-c"), None)))
    try:
        if metrics:
            for octets in client.content("metrics"):
                sys.stdout.buffer.write(octets)
        else:
            _print(client.get("status"), as_json=("--json", "") in options)
    except (DaemonDown, ControlRefused) as error:
        return fail("gatewayctl", str(error), 69)
    return 0


def _print(status: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(status, indent=2))
        return
    for name, value in status.items():
        if isinstance(value, list | dict):
            print(f"{name}:")
            for line in _lines(value):
                print(f"  {line}")
        else:
            print(f"{name}: {value}")


def _lines(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{name}: {each}" for name, each in value.items()]
    return [_line(each) for each in value]


def _line(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return str(value)
