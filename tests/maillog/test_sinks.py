"""Where lines end up: files that are rotated, full or gone, pipes, and the syslog daemon."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gatewayd.errors import ConfigError
from gatewayd.maillog import sinks
from gatewayd.maillog.sinks import DescriptorSink, FileSink, SyslogSink
from tests.peers import require_root


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_a_file_is_made_for_its_owner_only_and_added_to(path: Path) -> None:
    sink = FileSink(str(path))
    sink.write(["one", "two"])
    sink.close()
    assert path.stat().st_mode & 0o777 == 0o600
    again = FileSink(str(path))
    again.write(["three ü"])
    again.close()
    assert path.read_text() == "one\ntwo\nthree ü\n"


def test_a_new_file_is_given_to_the_user_we_become(path: Path) -> None:
    require_root("it gives a file away")
    FileSink(str(path), (12345, 54321)).close()
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)


def test_rotation_by_renaming(path: Path) -> None:
    """Lines go to the new file from the next write on, and no line is lost or split."""
    sink = FileSink(str(path))
    sink.write(["one"])
    path.rename(path.with_suffix(".1"))
    sink.write(["two"])
    path.unlink()
    sink.write(["three"])
    sink.close()
    assert path.with_suffix(".1").read_text() == "one\n"
    assert path.read_text() == "three\n"


def test_rotation_by_another_program_that_makes_the_file(path: Path) -> None:
    sink = FileSink(str(path))
    sink.write(["one"])
    path.rename(path.with_suffix(".1"))
    path.write_text("")
    sink.write(["two"])
    sink.close()
    assert path.read_text() == "two\n"


def test_rotation_by_copying(path: Path) -> None:
    sink = FileSink(str(path))
    sink.write(["one"])
    os.truncate(path, 0)
    sink.write(["two"])
    sink.close()
    assert path.read_text() == "two\n"


def test_a_file_that_cannot_be_opened_again_stays_in_use(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    sink = FileSink(str(folder / "log"))
    folder.rename(tmp_path / "moved")
    sink.write(["one"])
    sink.reopen()
    sink.write(["two"])
    assert (tmp_path / "moved" / "log").read_text() == "one\ntwo\n"
    folder.mkdir()
    sink.write(["three"])
    sink.close()
    assert (folder / "log").read_text() == "three\n"


def test_a_file_that_cannot_be_opened_at_the_start(tmp_path: Path) -> None:
    for bad in (tmp_path / "none" / "log", tmp_path):
        with pytest.raises(ConfigError, match=f"maillog_file: cannot open {bad}: "):
            FileSink(str(bad))


def test_a_pipe_that_nobody_reads_stops_no_start(tmp_path: Path) -> None:
    """It's an error at once, where opening it would otherwise wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="pipe"):
        FileSink(str(tmp_path / "pipe"))


def test_a_full_disk_loses_lines_and_says_so_afterwards(path: Path) -> None:
    path.symlink_to("/dev/full")
    sink = FileSink(str(path))
    sink.write(["one", "two"])
    sink.write(["three"])
    assert not sink.is_behind
    assert sink.take_losses() == "", "told while it would be lost, too"
    path.unlink()
    sink.write(["four"])
    assert sink.take_losses() == "3 log lines were lost: [Errno 28] No space left on device"
    assert sink.take_losses() == ""
    sink.close()
    assert path.read_text() == "four\n"


def test_a_slow_reader_gets_all_lines_in_order() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    sink = DescriptorSink(writing)
    lines = [f"{n} {'x' * 1000}" for n in range(200)]
    sink.write(lines)
    assert sink.is_behind
    read = b""
    while sink.is_behind:
        read += os.read(reading, 1 << 16)
        sink.write([])
    sink.close()
    while octets := os.read(reading, 1 << 16):
        read += octets
    os.close(reading)
    assert read.decode().splitlines() == lines


def test_what_a_slow_reader_leaves_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the bound lines are dropped, whole ones, and the loss can be told."""
    monkeypatch.setattr(sinks, "PENDING_LIMIT", 10_000)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    sink = DescriptorSink(writing)
    for n in range(100):
        sink.write([f"{n} {'x' * 1000}"])
    read = b""
    while sink.is_behind:
        read += os.read(reading, 1 << 16)
        sink.write([])
    sink.write(["last"])
    sink.close()
    while octets := os.read(reading, 1 << 16):
        read += octets
    os.close(reading)
    got = read.decode().splitlines()
    lost = int(sink.take_losses().split()[0])
    assert lost > 10
    assert len(got) + lost == 101
    assert got[-1] == "last"
    assert all(line == "last" or len(line.split(" ")[1]) == 1000 for line in got)


def test_a_reader_that_is_gone() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    sink = DescriptorSink(writing)
    sink.write(["one"])
    assert not sink.is_behind
    sink.reopen()
    sink.close()
    sink.close()


class _Syslogd:
    """The daemon's end of /dev/log."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self._path = path

    def heard(self) -> list[str]:
        heard = []
        while True:
            try:
                heard.append(self._socket.recv(65536).decode())
            except BlockingIOError:
                return heard

    def stop(self) -> None:
        self._socket.close()
        self._path.unlink()


def test_syslog_gets_a_datagram_a_line(path: Path) -> None:
    daemon = _Syslogd(path)
    sink = SyslogSink(str(path))
    sink.write(["<22>one", "<22>two ü"])
    assert daemon.heard() == ["<22>one", "<22>two ü"]
    assert not sink.is_behind
    assert sink.take_losses() == ""
    sink.close()
    daemon.stop()


def test_syslog_that_restarts_misses_nothing(path: Path) -> None:
    daemon = _Syslogd(path)
    sink = SyslogSink(str(path))
    sink.write(["one"])
    daemon.stop()
    sink.write(["two"])
    assert sink.is_behind
    sink.write(["three"])
    daemon = _Syslogd(path)
    sink.write([])
    assert daemon.heard() == ["two", "three"]
    assert not sink.is_behind
    sink.reopen()
    sink.write(["four"])
    assert daemon.heard() == ["four"]
    daemon.stop()


def test_syslog_that_is_never_there_holds_a_bounded_amount(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "PENDING_LIMIT", 1000)
    sink = SyslogSink(str(path))
    for _ in range(15):
        sink.write(["x" * 100])
    assert sink.take_losses() == f"11 log lines were lost: {path}: No such file or directory"
    assert sink.is_behind


def test_syslog_that_is_slow_gets_the_rest_later(path: Path) -> None:
    daemon = _Syslogd(path)
    sink = SyslogSink(str(path))
    lines = [f"{n} {'x' * 500}" for n in range(1000)]
    sink.write(lines)
    assert sink.is_behind
    heard = daemon.heard()
    while sink.is_behind:
        sink.write([])
        heard += daemon.heard()
    assert heard == lines
    daemon.stop()
