"""A private Postfix: its own folders and ports, nothing shared with an installed one.

Needs root, since Postfix's master must start as root. Every address is on loopback.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.peers import eventually, free_port, listens, require, require_root

_BASE = """\
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
maillog_file = {root}/log
maillog_file_prefixes = {root}
smtp_host_lookup = native
smtp_dns_support_level = disabled
alias_maps =
alias_database =
syslog_name = postfix
"""

_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass
class Postfix:
    """A running instance. ``port`` is its smtpd on 127.0.0.1."""

    root: Path
    port: int
    programs: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.root / "etc"

    def log(self) -> str:
        """The mail log so far."""
        path = self.root / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def run(
        self, program: str, *arguments: str, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """One of Postfix's commands, told to use this instance's configuration."""
        path = require(program, "postfix")
        return subprocess.run(
            [path, *self._where(program), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def _where(self, program: str) -> list[str]:
        return ["-C" if program == "sendmail" else "-c", str(self.config)]

    def wait_log(self, pattern: str, seconds: float = 30.0) -> re.Match[str]:
        """The first match of ``pattern`` in the log, once it is there."""
        found = eventually(lambda: re.search(pattern, self.log(), re.M), f"log: {pattern}", seconds)
        assert isinstance(found, re.Match)
        return found


def write_config(root: Path, port: int, settings: Mapping[str, str], services: str = "") -> None:
    """main.cf and master.cf of a private instance under ``root``/etc."""
    etc = root / "etc"
    etc.mkdir(parents=True, exist_ok=True)
    # Each name once: a name set twice makes every process warn, and the log may then block.
    base = (line.split(" =", 1) for line in _BASE.format(root=root).strip().split("\n"))
    merged = {**{name: value.strip() for name, value in base}, **settings}
    main = "".join(f"{name} = {value}\n" for name, value in merged.items())
    (etc / "main.cf").write_text(main)
    (etc / "master.cf").write_text(_MASTER.format(port=port) + services)
    for name in ("postfix-files", "dynamicmaps.cf"):
        source = Path("/etc/postfix") / name
        if source.exists():
            shutil.copy(source, etc / name)


@contextmanager
def running(
    root: Path, settings: Mapping[str, str] | None = None, services: str = ""
) -> Iterator[Postfix]:
    """A private Postfix under ``root``; stopped at the end."""
    require_root("Postfix's master starts as root")
    program = require("postfix", "postfix")
    root.chmod(0o755)
    for parent in root.parents:
        if parent.is_relative_to("/tmp") and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o011)
    port = free_port()
    write_config(root, port, settings or {}, services)
    (root / "queue").mkdir(exist_ok=True)
    (root / "data").mkdir(exist_ok=True)
    shutil.chown(root / "data", "postfix")
    instance = Postfix(root, port)
    _start(program, instance)
    try:
        eventually(lambda: listens(port), "Postfix's smtpd listening")
        yield instance
    finally:
        subprocess.run(
            [program, "-c", str(instance.config), "stop"], capture_output=True, check=False
        )


def _start(program: str, instance: Postfix) -> None:
    """On a busy machine "postfix start" gives up after some seconds, without a word: try again."""
    for _ in range(3):
        command = [program, "-c", str(instance.config)]
        started = subprocess.run([*command, "start"], capture_output=True, text=True, check=False)
        if started.returncode == 0:
            return
        subprocess.run([*command, "abort"], capture_output=True, check=False)
    pytest.fail(f"postfix start: {started.returncode} {started.stderr or instance.log()}")
