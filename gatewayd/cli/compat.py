"""gatewayctl compat DIR: links with the classic names, where the administrator wants them.

Installing gatewayd never shadows a real mail system: the names exist only where they're asked for.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from gatewayd.cli.gatewayctl import CLASSIC

__all__ = ["main"]

_USAGE = "usage: gatewayctl compat DIR"


def main(arguments: list[str]) -> int:
    """Make the links; what is there already and isn't such a link is left alone, with exit 1."""
    if arguments == ["--help"]:
        print(_USAGE)
        return 0
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(_USAGE, file=sys.stderr)
        return 64
    program = Path(sys.argv[0])
    if program.name != "gatewayctl":
        program = Path(sys.executable).parent / "gatewayctl"
    program = Path(os.path.abspath(program))
    folder = Path(arguments[0])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return max([_link(folder / name, program) for name in CLASSIC])
    except OSError as error:
        print(f"gatewayctl: fatal: {folder}: {error.strerror}", file=sys.stderr)
        return 73


def _link(link: Path, program: Path) -> int:
    if link.is_symlink() and Path(os.readlink(link)) == program:
        return 0
    if link.is_symlink() or link.exists():
        print(f"gatewayctl: warning: {link} is there already: left alone", file=sys.stderr)
        return 1
    link.symlink_to(program)
    print(link)
    return 0
