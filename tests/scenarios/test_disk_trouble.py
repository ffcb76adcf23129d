"""A disk that is full, without inodes, or read-only (G6): 4xx, no loss, all well afterwards."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.gateway_process import GatewayProcess
from tests.mail_load import LARGE, Load, arrive, marks, send
from tests.mail_sink import mail_sink
from tests.peers import eventually, free_port, require
from tests.tiny_disk import TinyDisk, tiny_disk

_FAST_RETRY = {"minimal_backoff_time": "1s", "maximal_backoff_time": "1s", "queue_run_delay": "1s"}


@contextmanager
def _gateway(
    tmp_path: Path, disk: TinyDisk, port: int, **settings: str
) -> Iterator[GatewayProcess]:
    """A gateway whose queue is on that disk, and whose next hop is (or will be) on that port."""
    transport = f"example.com smtp:[127.0.0.1]:{port}\n"
    own = {"queue_directory": str(disk.path), **_FAST_RETRY, **settings}
    ours = GatewayProcess(tmp_path / "gateway", transport, own)
    ours.start()
    try:
        yield ours
    finally:
        ours.stop()


def test_below_the_reserve_deliveries_go_on(tmp_path: Path) -> None:
    """452 for everybody, at DATA; what waits gets out; with room again mail is taken again."""
    port = free_port()
    settings = {"queue_reserve": str(4 << 20)}
    with (
        tiny_disk(tmp_path / "disk", "size=16m") as disk,
        _gateway(tmp_path, disk, port, **settings) as ours,
    ):
        waiting = {f"before-{number}" for number in range(10)}
        for number, mark in enumerate(sorted(waiting)):
            assert send(ours.port, mark, LARGE if number % 3 == 0 else 100) == 250
        disk.fill(leave=3 << 20)
        eventually(lambda: send(ours.port, "before-9") == 452, "no room noticed")
        assert send(ours.port, "refused") == 452
        assert send(ours.port, "refused", LARGE) == 452
        with mail_sink(port) as sink:
            arrive(sink, waiting)
            eventually(ours.is_empty, "recorded, too")
            disk.free()
            eventually(lambda: send(ours.port, "after") == 250, "room noticed")
            arrive(sink, {"after"})
        assert set(marks(sink)) == waiting | {"after"}


def test_filled_to_the_last_octet(tmp_path: Path) -> None:
    """Without any reserve, under load: 452, also for contents in files; nothing taken is lost."""
    port = free_port()
    with (
        tiny_disk(tmp_path / "disk", "size=24m") as disk,
        _gateway(tmp_path, disk, port, queue_reserve="0") as ours,
    ):
        disk.fill(leave=8 << 20)
        load = Load(ours.port)
        eventually(lambda: load.codes[452] > 100, "refusals")
        load.stop()
        assert set(load.codes) == {250, 452}
        assert len(load.acknowledged) > 10
        # What was refused has left nothing behind.
        files = len(list((disk.path / "content").iterdir()))
        assert files <= len(load.acknowledged)
        with mail_sink(port) as sink:
            disk.free()
            arrive(sink, load.acknowledged)
            assert send(ours.port, "after", LARGE) == 250
            arrive(sink, {"after"})
            eventually(ours.is_empty, "all recorded")
        assert set(marks(sink)) == load.acknowledged | {"after"}
        eventually(lambda: not list((disk.path / "content").iterdir()), "files gone")


def test_killed_while_full(tmp_path: Path) -> None:
    """A crash on a full disk: it starts when there is room, with all that was taken."""
    port = free_port()
    with (
        tiny_disk(tmp_path / "disk", "size=16m") as disk,
        _gateway(tmp_path, disk, port, queue_reserve="0") as ours,
    ):
        disk.fill(leave=4 << 20)
        load = Load(ours.port)
        eventually(lambda: load.codes[452] > 20, "refusals")
        ours.kill()
        load.stop()
        disk.free()
        ours.start()
        with mail_sink(port) as sink:
            arrive(sink, load.acknowledged)
            eventually(ours.is_empty, "all recorded")


def test_no_inodes(tmp_path: Path) -> None:
    with (
        mail_sink() as sink,
        tiny_disk(tmp_path / "disk", "size=64m,nr_inodes=100") as disk,
        _gateway(tmp_path, disk, sink.port) as ours,
    ):
        assert send(ours.port, "before", LARGE) == 250
        eventually(lambda: not list((disk.path / "content").iterdir()), "its file is gone")
        disk.use_up_inodes()
        eventually(lambda: send(ours.port, "before") == 452, "no inodes noticed")
        assert send(ours.port, "refused", LARGE) == 452
        disk.free()
        eventually(lambda: send(ours.port, "after", LARGE) == 250, "inodes noticed")
        arrive(sink, {"before", "after"})
        assert "refused" not in marks(sink)


@contextmanager
def _read_only(ours: GatewayProcess) -> Iterator[None]:
    """Every write to a file fails as on a file system that the kernel has made read-only.

    mount(8) can't do that to one with files open for writing; the kernel can.
    """
    strace = require("strace", "strace")
    assert ours.process is not None
    calls = "pwrite64,ftruncate,fsync,fdatasync"
    trace = subprocess.Popen(
        [
            *(strace, "-f", "-qq", "-p", str(ours.process.pid), "-o", "/dev/null"),
            *("-e", f"trace={calls}", "-e", f"inject={calls}:error=EROFS"),
        ],
        stderr=subprocess.PIPE,
    )
    try:
        yield
    finally:
        trace.terminate()
        trace.communicate(timeout=30)


def test_read_only(tmp_path: Path) -> None:
    """451 for everybody while it is; what waits gets out afterwards, without a restart."""
    port = free_port()
    with (
        tiny_disk(tmp_path / "disk", "size=64m") as disk,
        _gateway(tmp_path, disk, port) as ours,
    ):
        assert send(ours.port, "before") == 250
        ours.wait_log("status=deferred")
        with _read_only(ours):
            eventually(lambda: send(ours.port, "before") == 451, "read-only")
            assert send(ours.port, "refused", LARGE) == 451
            ours.wait_log("cannot read the queue: ")
            assert send(ours.port, "refused") == 451
        ours.wait_log("queue file write error")
        with mail_sink(port) as sink:
            eventually(lambda: send(ours.port, "after", LARGE) == 250, "writable")
            arrive(sink, {"before", "after"})
            eventually(ours.is_empty, "all recorded")
        assert "refused" not in marks(sink)


def test_start_on_a_read_only_disk(tmp_path: Path) -> None:
    """Refused with the reason; with nothing changed it starts once that is mended."""
    port = free_port()
    with (
        tiny_disk(tmp_path / "disk", "size=64m") as disk,
        _gateway(tmp_path, disk, port) as ours,
    ):
        assert send(ours.port, "before", LARGE) == 250
        ours.kill()
        disk.remount("ro")
        refused = ours.daemon("foreground")
        assert refused.returncode != 0
        assert re.search("read-only", refused.stderr, re.IGNORECASE), refused.stderr
        disk.remount("rw")
        ours.start()
        with mail_sink(port) as sink:
            arrive(sink, {"before"})
