"""A private gatewayd as a process: its own folders and ports, started, killed, asked."""

from __future__ import annotations

import os
import pwd
import re
import signal
import smtplib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.peers import eventually, free_port, listens, require

_MAIN = """\
queue_directory = {root}/queue
data_directory = {root}/data
myhostname = gateway.test
mydestination =
inet_interfaces = 127.0.0.1
mynetworks = 127.0.0.0/8
maillog_file = {root}/log
mail_owner = {owner}
relay_domains = example.com
transport_maps = texthash:{root}/etc/transport
"""
_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
smtp unix - - n - - smtp
relay unix - - n - - smtp
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
"""


Settings = Mapping[str, str | None]


class GatewayProcess:
    """One instance under ``root``; ``settings`` and ``services`` are added to the files.

    A setting that is None isn't set at all.

    ``owner`` is its mail_owner: by default who runs the tests, though that be root. Another one
    needs a ``root`` that it can reach (the fixture open_path).
    ``environment`` is added to that of the tests; ``wrapper`` is a command to start it under.
    """

    def __init__(
        self,
        root: Path,
        transport: str,
        settings: Settings | None = None,
        services: str = "",
        owner: str = "",
    ) -> None:
        self.root = root
        self.port = free_port()
        self.owner = owner or pwd.getpwuid(os.getuid()).pw_name
        self.environment: dict[str, str] = {}
        self.wrapper: tuple[str, ...] = ()
        self.process: subprocess.Popen[bytes] | None = None
        (root / "etc").mkdir(parents=True)
        self.write("transport", transport)
        self.configure(settings or {})
        self.write("master.cf", _MASTER.format(port=self.port) + services)

    def write(self, name: str, text: str) -> None:
        """A file of the configuration."""
        (self.root / "etc" / name).write_text(text)

    def configure(self, settings: Settings) -> None:
        """main.cf anew."""
        base = _MAIN.format(root=self.root, owner=self.owner).splitlines()
        merged = {**dict(line.split(" =", 1) for line in base), **settings}
        lines = [
            f"{name} = {value.strip()}\n" for name, value in merged.items() if value is not None
        ]
        self.write("main.cf", "".join(lines))

    def start(self) -> None:
        """Start it, and wait until it accepts mail."""
        command = (sys.executable, "-m", "gatewayd.cli.daemon", "-c", self.etc, "foreground")
        with (self.root / "stderr").open("ab") as errors:
            self.process = subprocess.Popen(
                [*self.wrapper, *command],
                stdout=errors,
                stderr=errors,
                env={**os.environ, **self.environment},
            )
        eventually(lambda: self._greets(), f"gatewayd accepting; {self.errors()}")

    @property
    def etc(self) -> str:
        return str(self.root / "etc")

    def errors(self) -> str:
        """What it said on standard error."""
        return (self.root / "stderr").read_text()

    def _greets(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.errors()
        if not listens(self.port):
            return False
        try:
            with smtplib.SMTP("127.0.0.1", self.port, timeout=5) as client:
                return client.noop()[0] == 250
        except (OSError, smtplib.SMTPException):
            return False

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def ctl(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """A gatewayctl command."""
        return self._run("gatewayd.cli.gatewayctl", *arguments, stdin=stdin)

    def daemon(self, verb: str) -> subprocess.CompletedProcess[str]:
        """A gatewayd command: reload, check, status, …"""
        return self._run("gatewayd.cli.daemon", "-c", self.etc, verb)

    def _run(
        self, module: str, *arguments: str, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, "MAIL_CONFIG": self.etc},
        )

    def log(self) -> str:
        """The log so far."""
        path = self.root / "log"
        return path.read_text() if path.exists() else ""

    def wait_log(self, pattern: str, seconds: float = 30.0) -> re.Match[str]:
        """The first match in the log, once it's there."""
        found = eventually(lambda: re.search(pattern, self.log()), f"log: {pattern}", seconds)
        assert isinstance(found, re.Match)
        return found

    def send(self, recipient: str, text: str, sender: str = "sender@example.org") -> str:
        """A message by SMTP; gives its queue ID."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=30) as client:
            client.ehlo()
            assert client.mail(sender)[0] == 250
            code, answer = client.rcpt(recipient)
            assert code == 250, answer
            code, answer = client.data(text)
            assert code == 250, answer
            return answer.decode().rpartition(" ")[2]

    def fill(self, recipient: str, count: int) -> None:
        """So many small messages to one recipient, in a moment."""
        source = require("smtp-source", "postfix")
        fixed = ["-s", "5", "-f", "sender@example.org", "-t", recipient, "-m", str(count)]
        arguments = [source, *fixed, f"127.0.0.1:{self.port}"]
        subprocess.run(arguments, check=True, capture_output=True, timeout=60)

    def queue(self) -> str:
        """postqueue -p."""
        return self.ctl("postqueue", "-p").stdout

    def is_empty(self) -> bool:
        return self.queue() == "Mail queue is empty\n"


@contextmanager
def gateway(
    root: Path,
    transport: str,
    settings: Settings | None = None,
    services: str = "",
    owner: str = "",
) -> Iterator[GatewayProcess]:
    """A running instance; stopped at the end."""
    running = GatewayProcess(root / "gateway", transport, settings, services, owner)
    running.start()
    try:
        yield running
    finally:
        if running.process is not None and running.process.poll() is None:
            running.stop()
