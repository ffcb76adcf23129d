"""A private Postfix under load, with Debian's stock settings but for the maps."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.systems import write_maps
from tests import peers, postfix

__all__ = ["PostfixSystem", "running_postfix"]


@dataclass
class PostfixSystem:
    """A private Postfix."""

    instance: postfix.Postfix
    name: str = "Postfix"

    @property
    def port(self) -> int:
        return self.instance.port

    @property
    def process(self) -> int:
        return int((self.instance.root / "queue/pid/master.pid").read_text())

    def queued(self) -> int:
        return self._files("incoming", "active", "deferred")

    def deferred(self) -> int:
        return self._files("deferred")

    def _files(self, *folders: str) -> int:
        queue = self.instance.root / "queue"
        return sum(len(files) for folder in folders for _, _, files in os.walk(queue / folder))

    def flush(self) -> None:
        self.run("postqueue", "-f")

    def run(self, command: str, *arguments: str, text: bytes = b"") -> bytes:
        """A command's output."""
        done = self.instance.run(command, *arguments, stdin=text.decode())
        assert done.returncode == 0, done.stderr
        return done.stdout.encode()


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
