"""What was acknowledged survives a kill, and a power cut that throws unsynced writes away."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor

from gatewayd.queue.records import Selection
from gatewayd.queue.sqlite_store import SqliteStore, StoreSettings
from tests.peers import require
from tests.queue.store_child import content_of
from tests.reactor_run import run

reactor: Any = _reactor
_CHILD = Path(__file__).with_name("store_child.py")


def _present(folder: Path) -> dict[str, bytes]:
    """The messages in a store, with their contents; the store opens, so it is sound."""

    async def look() -> dict[str, bytes]:
        store = SqliteStore(StoreSettings(str(folder), reserve=0), reactor)
        await store.open()
        found: dict[str, bytes] = {}
        after = 0
        while True:
            listed, after = await store.listing(Selection(), after, 100)
            for entry in listed:
                message = await store.message(entry.queue_id)
                assert message is not None
                found[entry.queue_id] = await message.content.read(0, message.size)
            if not after:
                break
        await store.close()
        return found

    return run(look)


def _check(folder: Path, words: list[str]) -> set[str]:
    """The acknowledged messages that are missing; what is there must be whole."""
    settled = {word[1:] for word in words if word.startswith("-")}
    acknowledged = {word for word in words if not word.startswith("-")}
    present = _present(folder)
    for queue_id, octets in present.items():
        assert octets == content_of(queue_id), queue_id
    return acknowledged - settled - set(present)


def test_kill_at_any_moment(tmp_path: Path) -> None:
    """20 kills, each followed by a look into what is left."""
    chance = random.Random(11)
    total = 0
    for cycle in range(20):
        folder = tmp_path / str(cycle)
        folder.mkdir()
        child = subprocess.Popen(
            [sys.executable, str(_CHILD), str(folder), "100000", "FULL"], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        words = [child.stdout.readline() for _ in range(chance.randrange(1, 120))]
        child.kill()
        rest = child.stdout.read()
        child.wait()
        # A line cut short by the kill was not said.
        said = (b"".join(words) + rest).decode().rpartition("\n")[0].split("\n")
        total += len(said)
        assert not _check(folder, said)
    assert total > 200


_CALL = re.compile(r"(?:\[pid +)?(\d+)?\]? ?(\w+)\((\d+)<([^>]*)>(.*)")
_RESUMED = re.compile(r"(?:\[pid +)?(\d+)?\]? ?<\.\.\. (\w+) resumed>.*= (-?\d+)")
_UNLINK = re.compile(r'unlink\("((?:\\x[0-9a-f]{2})+)"\)')
_DATA = re.compile(r', "((?:\\x[0-9a-f]{2})*)", \d+(?:, (\d+))?')


class _Disk:
    """Files as the kernel has them, and as the disk has them: only what was synced."""

    def __init__(self) -> None:
        self.kernel: dict[str, bytearray] = {}
        self.disk: dict[str, bytes] = {}
        self.said: list[str] = []
        self._syncing: dict[str, str] = {}

    def apply(self, line: str) -> None:
        """One line of the trace."""
        if (resumed := _RESUMED.match(line)) is not None:
            path = self._syncing.pop(resumed[1] or "", None)
            if path and resumed[3] == "0":
                self._sync(path)
            return
        match = _CALL.match(line)
        if match is None:
            if (gone := _UNLINK.search(line)) is not None:
                path = _octets(gone[1]).decode()
                self.kernel.pop(path, None)
                self.disk.pop(path, None)
            return
        pid, call, _, path, rest = match.groups()
        path = _octets(path).decode()
        if call == "write" and match[3] == "1":
            data = _DATA.match(rest)
            self.said += _octets(data[1]).decode().split() if data else []
        elif call == "write" and "/content/" in path:
            self._append(path, rest)
        elif call == "pwrite64":
            self._write(path, rest)
        elif call == "ftruncate":
            size = int(rest.lstrip(", ").split(")")[0].split()[0])
            image = self.kernel.setdefault(path, bytearray())
            del image[size:]
            image.extend(bytes(size - len(image)))
        elif call in ("fsync", "fdatasync"):
            if "unfinished" in rest:
                self._syncing[pid or ""] = path
            else:
                self._sync(path)

    def _write(self, path: str, rest: str) -> None:
        data = _DATA.match(rest)
        if data is None:
            return
        octets, offset = _octets(data[1]), int(data[2])
        image = self.kernel.setdefault(path, bytearray())
        image.extend(bytes(max(0, offset - len(image))))
        image[offset : offset + len(octets)] = octets

    def _append(self, path: str, rest: str) -> None:
        """Content files are only ever written at their end."""
        data = _DATA.match(rest)
        if data is not None:
            self.kernel.setdefault(path, bytearray()).extend(_octets(data[1]))

    def _sync(self, path: str) -> None:
        if path in self.kernel:  # not a folder
            self.disk[path] = bytes(self.kernel[path])

    def restore(self, source: Path, target: Path) -> None:
        """Write what the disk has into another folder."""
        target.mkdir()
        (target / "content").mkdir()
        for path, octets in self.disk.items():
            if Path(path).is_relative_to(source):
                (target / Path(path).relative_to(source)).write_bytes(octets)


def _octets(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _lost_by_power_cuts(tmp_path: Path, synchronous: str) -> int:
    """Messages acknowledged, and missing after power cuts at several moments of one run."""
    strace = require("strace", "strace")
    folder = tmp_path / "queue"
    folder.mkdir()
    trace = tmp_path / "trace"
    subprocess.run(
        [
            *(strace, "-f", "-y", "-xx", "-s", "1000000", "-o", str(trace)),
            *("-e", "trace=pwrite64,write,ftruncate,fsync,fdatasync,unlink"),
            *(sys.executable, str(_CHILD), str(folder), "60", synchronous),
        ],
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    disk = _Disk()
    lost = cuts = 0
    for line in trace.read_text().split("\n"):
        before = len(disk.said)
        disk.apply(re.sub(r"^(\d+) +", r"[pid \1] ", line))
        if len(disk.said) > before and before % 7 == 0:
            cuts += 1
            target = tmp_path / f"cut-{cuts}"
            disk.restore(folder, target)
            lost += len(_check(target, disk.said))
    assert cuts >= 5, f"the trace shows {len(disk.said)} acknowledgements"
    return lost


def test_power_cut_loses_nothing(tmp_path: Path) -> None:
    assert _lost_by_power_cuts(tmp_path, "FULL") == 0


def test_the_power_cut_test_notices_a_missing_sync(tmp_path: Path) -> None:
    """Without syncs the same test must find losses, or it would prove nothing."""
    assert _lost_by_power_cuts(tmp_path, "OFF") > 0
