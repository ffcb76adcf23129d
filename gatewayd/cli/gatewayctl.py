"""gatewayctl: one command for all of them, which also answers to the classic names.

``gatewayctl postqueue -p`` and a link named ``postqueue`` to it are the same. Each command is a
module with ``main(arguments) -> exit status``, imported only when it's the one asked for.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from gatewayd.cli.place import fail
from gatewayd.errors import ConfigError

__all__ = ["CLASSIC", "main"]

CLASSIC = {
    "mailq": "gatewayd.cli.mailq",
    "postcat": "gatewayd.cli.postcat",
    "postconf": "gatewayd.cli.postconf",
    "postmap": "gatewayd.cli.postmap",
    "postqueue": "gatewayd.cli.postqueue",
    "postsuper": "gatewayd.cli.postsuper",
    "sendmail": "gatewayd.cli.sendmail",
}
_OWN = {
    "compat": "gatewayd.cli.compat",
    "flush": "gatewayd.cli.flush",
    "metrics": "gatewayd.cli.status",
    "reload": "gatewayd.cli.daemon",
    "status": "gatewayd.cli.status",
    "check": "gatewayd.cli.daemon",
}
_MEANINGS = {
    "mailq": "list the queue",
    "postcat": "show a queued message",
    "postconf": "show or change configuration parameters",
    "postmap": "build and query lookup tables",
    "postqueue": "list (-p, -j) or flush (-f, -s SITE, -i ID) the queue",
    "postsuper": "delete, hold, release, requeue or expire queued messages",
    "sendmail": "send a message from standard input",
    "check": "check the configuration",
    "compat": "make links with the classic names in a folder",
    "flush": "deliver waiting mail now: all, a site, a message",
    "metrics": "print Prometheus metrics",
    "reload": "take over a changed configuration",
    "status": "show listeners, destinations and totals",
}


def main(argv: list[str] | None = None) -> int:
    """Run the command named by argv[0], or else by the first argument."""
    arguments = list(sys.argv if argv is None else argv)
    name = os.path.basename(arguments[0])
    if name not in CLASSIC:
        arguments = arguments[1:]
        name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help", "help"):
        print(_usage())
        return 0
    module = CLASSIC.get(name) or _OWN.get(name)
    if module is None:
        print(f"gatewayctl: no such command: {name}\n{_usage()}", file=sys.stderr)
        return 64
    try:
        return _run(module, name, arguments[1:])
    except ConfigError as error:
        return fail(name if name in CLASSIC else "gatewayctl", str(error), 69)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _run(module: str, name: str, arguments: list[str]) -> int:
    command = import_module(module)
    if name in ("check", "metrics", "reload"):
        return int(command.main([name, *arguments]))
    return int(command.main(arguments))


def _usage() -> str:
    names = sorted({**CLASSIC, **_OWN})
    width = max(map(len, names))
    lines = [f"  {name:<{width}}  {_MEANINGS[name]}" for name in names]
    return "usage: gatewayctl COMMAND [ARGUMENT …]\n\n" + "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
