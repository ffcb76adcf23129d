"""The systems compared: a private Postfix and a private gatewayd, configured alike.

Each listens on 127.0.0.1, relays ``example.com`` to a next hop given by a transport map, checks
recipients against relay_recipient_maps, and logs to a file. Both queues lie in the same folder.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests import peers, postfix

_RECIPIENTS = "".join(
    f"{user}@example.com x\n" for user in ["user", *(f"{n}user" for n in range(1, 1001))]
)


class System(Protocol):
    """A mail system under load."""

    name: str

    @property
    def port(self) -> int:
        """Where its smtpd listens."""

    def queued(self) -> int:
        """Messages in the queue."""

    def pids(self) -> list[int]:
        """Its processes."""


def write_maps(folder: Path, nexthop: str) -> dict[str, str]:
    """The tables' sources, and the settings that name them."""
    (folder / "relay_recipients").write_text(_RECIPIENTS)
    (folder / "transport").write_text(f"example.com {nexthop}\n")
    return {
        "relay_domains": "example.com",
        "relay_recipient_maps": f"hash:{folder}/relay_recipients",
        "transport_maps": f"hash:{folder}/transport",
    }


@dataclass
class PostfixSystem:
    instance: postfix.Postfix
    name: str = "Postfix"

    @property
    def port(self) -> int:
        return self.instance.port

    def queued(self) -> int:
        queue = self.instance.root / "queue"
        return sum(
            len(files)
            for folder in ("incoming", "active", "deferred")
            for _, _, files in os.walk(queue / folder)
        )

    def pids(self) -> list[int]:
        master = int((self.instance.root / "queue/pid/master.pid").read_text())
        children = subprocess.run(
            ["pgrep", "-P", str(master)], capture_output=True, text=True, check=False
        )
        return [master, *map(int, children.stdout.split())]


@contextmanager
def running_postfix(
    root: Path, nexthop: str, settings: Mapping[str, str] | None = None, services: str = ""
) -> Iterator[PostfixSystem]:
    """Postfix with its stock settings, but for the maps."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    chosen = {**write_maps(root, nexthop), **(settings or {})}
    for table in ("relay_recipients", "transport"):
        subprocess.run([peers.require("postmap", "postfix"), root / table], check=True)
    with postfix.running(root, chosen, services) as instance:
        yield PostfixSystem(instance)


@dataclass
class GatewaySystem:
    root: Path
    listening: int
    process: subprocess.Popen[bytes]
    name: str = "gatewayd"

    @property
    def port(self) -> int:
        return self.listening

    def ctl(self, *arguments: str) -> str:
        """A gatewayctl command's output."""
        command = [sys.executable, "-m", "gatewayd.cli.gatewayctl", *arguments]
        environment = {**os.environ, "MAIL_CONFIG": str(self.root / "etc")}
        return subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment
        ).stdout

    def queued(self) -> int:
        last = self.ctl("postqueue", "-p").strip().rpartition("\n")[2]
        found = re.search(r"in (\d+) Request", last)
        return int(found[1]) if found else 0

    def pids(self) -> list[int]:
        return [self.process.pid]


_GATEWAY_MAIN = """\
queue_directory = {root}/queue
data_directory = {root}/data
myhostname = gateway.test
mydestination =
inet_interfaces = 127.0.0.1
mynetworks = 127.0.0.0/8
maillog_file = {root}/log
mail_owner = {owner}
"""
_GATEWAY_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
"""


def write_gateway(
    root: Path,
    port: int,
    nexthop: str,
    settings: Mapping[str, str] | None = None,
    services: str = "",
) -> None:
    """A folder with configuration and maps for gatewayd."""
    import pwd

    etc = root / "etc"
    etc.mkdir(parents=True, exist_ok=True)
    chosen = {**write_maps(etc, nexthop), **(settings or {})}
    owner = pwd.getpwuid(os.getuid()).pw_name
    main = _GATEWAY_MAIN.format(root=root, owner=owner)
    (etc / "main.cf").write_text(main + "".join(f"{k} = {v}\n" for k, v in chosen.items()))
    (etc / "master.cf").write_text(_GATEWAY_MASTER.format(port=port) + services)
    for table in ("relay_recipients", "transport"):
        subprocess.run(
            [sys.executable, "-m", "gatewayd.cli.gatewayctl", "postmap", f"hash:{etc / table}"],
            check=True,
            env={**os.environ, "MAIL_CONFIG": str(etc)},
        )


@contextmanager
def running_gateway(
    root: Path,
    nexthop: str,
    settings: Mapping[str, str] | None = None,
    services: str = "",
    *,
    keep: bool = False,
) -> Iterator[GatewaySystem]:
    """gatewayd with its default settings, but for the maps."""
    port = peers.free_port()
    if not keep:
        shutil.rmtree(root, ignore_errors=True)
    write_gateway(root, port, nexthop, settings, services)
    process = start_gateway(root)
    try:
        peers.eventually(lambda: peers.listens(port), "gatewayd listening", step=0.005)
        yield GatewaySystem(root, port, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def start_gateway(root: Path) -> subprocess.Popen[bytes]:
    """The gateway's process, in the foreground, its errors in ``root``/stderr."""
    with (root / "stderr").open("ab") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "gatewayd.cli.daemon", "-c", str(root / "etc"), "foreground"],
            stdout=errors,
            stderr=errors,
        )
