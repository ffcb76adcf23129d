"""A private gatewayd under load, with its stock settings but for the maps; as it is installed."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.row import BOUND
from benchmarks.systems import write_maps
from gatewayd.control.client import ControlClient, DaemonDown
from tests import peers

__all__ = ["GatewayFolder", "GatewaySystem", "installed", "running_gateway"]

_PYTHON_SWITCHES = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
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


@dataclass
class GatewaySystem:
    """A private gatewayd."""

    folder: GatewayFolder
    running: subprocess.Popen[bytes]
    name: str = "gatewayd"

    @property
    def port(self) -> int:
        return self.folder.port

    @property
    def process(self) -> int:
        return self.running.pid

    def is_ready(self) -> bool:
        """Whether mail is taken and the control socket answers."""
        try:
            return peers.listens(self.port) and self.queued() >= 0
        except DaemonDown:
            return False

    def queued(self) -> int:
        return sum(self._by_state().values())

    def deferred(self) -> int:
        return self._by_state()["deferred"]

    def _by_state(self) -> dict[str, int]:
        client = ControlClient(str(self.folder.root / "queue/control.sock"))
        metrics = b"".join(client.content("metrics")).decode()
        found = re.findall(r'gatewayd_queue_messages\{queue="(\w+)"\} (\d+)', metrics)
        return {state: int(count) for state, count in found}

    def flush(self) -> None:
        self.folder.run("postqueue", "-f")


class GatewayFolder:
    """A gatewayd's configuration, maps and queue under ``root``; its smtpd's port."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.etc = root / "etc"
        self.port = peers.free_port()
        shutil.rmtree(root, ignore_errors=True)
        self.etc.mkdir(parents=True)
        (root / "queue").mkdir()
        (root / "data").mkdir()

    def write(
        self, nexthop: str, settings: Mapping[str, str] | None = None, services: str = ""
    ) -> None:
        """Stock settings, but for the maps and ``settings``."""
        chosen = {**write_maps(self.etc, nexthop), **(settings or {})}
        owner = pwd.getpwuid(os.getuid()).pw_name
        main = _GATEWAY_MAIN.format(root=self.root, owner=owner)
        lines = "".join(f"{name} = {value}\n" for name, value in chosen.items())
        (self.etc / "main.cf").write_text(main + lines)
        (self.etc / "master.cf").write_text(_GATEWAY_MASTER.format(port=self.port) + services)
        for table in ("relay_recipients", "transport"):
            self.run("postmap", f"hash:{self.etc / table}")

    @property
    def environment(self) -> dict[str, str]:
        """For its commands: as installed, with compiled modules."""
        kept = {name: value for name, value in os.environ.items() if name not in _PYTHON_SWITCHES}
        return {**kept, "MAIL_CONFIG": str(self.etc)}

    def run(self, *arguments: str, text: bytes = b"") -> bytes:
        """A gatewayctl command's output."""
        done = subprocess.run(
            [installed("gatewayctl"), *arguments],
            input=text,
            stdout=subprocess.PIPE,
            check=True,
            timeout=BOUND,
            env=self.environment,
        )
        return done.stdout

    def start(self) -> GatewaySystem:
        """In the foreground, its errors in ``root``/stderr; not waited for."""
        with (self.root / "stderr").open("ab") as errors:
            running = subprocess.Popen(
                [installed("gatewayd"), "-c", str(self.etc), "foreground"],
                stdout=errors,
                stderr=errors,
                env=self.environment,
            )
        return GatewaySystem(self, running)

    @contextmanager
    def running(self) -> Iterator[GatewaySystem]:
        """Started, accepting; stopped at the end."""
        system = self.start()
        try:
            peers.eventually(system.is_ready, "gatewayd ready", step=0.01)
            yield system
        finally:
            system.running.send_signal(signal.SIGTERM)
            try:
                system.running.wait(60)
            finally:
                system.running.kill()


@contextmanager
def running_gateway(
    root: Path, nexthop: str, settings: Mapping[str, str] | None = None, services: str = ""
) -> Iterator[GatewaySystem]:
    """gatewayd with its stock settings, but for the maps."""
    folder = GatewayFolder(root)
    folder.write(nexthop, settings, services)
    with folder.running() as system:
        yield system


def installed(program: str) -> Path:
    """A console script of this environment."""
    return Path(sys.executable).parent / program
