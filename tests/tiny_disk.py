"""A file system of its own, small enough to be filled: a tmpfs. Needs root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.peers import require, require_root

_PIECE = 4096


class TinyDisk:
    """Mounted at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self, leave: int = 0) -> None:
        """Fill it up, but for so many octets."""
        self.free()
        with self._filler.open("wb", buffering=0) as filler:
            free = os.statvfs(self.path).f_bavail * os.statvfs(self.path).f_frsize
            os.posix_fallocate(filler.fileno(), 0, max(_PIECE, free - leave))

    def use_up_inodes(self) -> None:
        """Leave no room for another file."""
        with suppress(OSError):
            for number in range(1_000_000):
                (self.path / f"inode-{number}").touch()

    def free(self) -> None:
        """Take back what fill() and use_up_inodes() did."""
        self._filler.unlink(missing_ok=True)
        for path in self.path.glob("inode-*"):
            path.unlink()

    def remount(self, options: str) -> None:
        """With other options; fails while files are open for writing, if it's to be ``ro``."""
        subprocess.run(["mount", "-o", f"remount,{options}", self.path], check=True)


@contextmanager
def tiny_disk(path: Path, options: str) -> Iterator[TinyDisk]:
    """Mounted with these options (``size=8m``) at a new folder; gone at the end."""
    require_root("mounts a file system")
    mount = require("mount", "mount")
    path.mkdir(parents=True)
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", options, "tmpfs", path], capture_output=True, text=True
    )
    if done.returncode:
        reason = f"cannot mount a tmpfs: {done.stderr.strip()}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    try:
        yield TinyDisk(path)
    finally:
        subprocess.run(["umount", path], check=True)
