"""From events to a sink: early lines, batches, reloads, failures, threads, Twisted's own events."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import Logger, globalLogPublisher

from gatewayd import maillog
from gatewayd.config.load import make_settings
from gatewayd.config.main_cf import Assignment
from gatewayd.errors import ConfigError
from gatewayd.maillog import LogSettings, MailLog


class _Reactor(Clock):
    """A clock that also keeps what threads hand over."""

    def __init__(self) -> None:
        super().__init__()
        self.handed: list[Callable[[], None]] = []

    def callFromThread(self, call: Callable[[], None]) -> None:
        self.handed.append(call)


@pytest.fixture
def reactor() -> Iterator[_Reactor]:
    maillog.unconfigure()
    yield _Reactor()
    maillog.unconfigure()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


def _texts(path: Path) -> list[str]:
    """Lines without stamp, host and process ID."""
    return [line.split(" ", 4)[4].partition("/")[2] for line in path.read_text().splitlines()]


def _settings(path: Path, **more: Any) -> LogSettings:
    return LogSettings(str(path), name="gw", host="h", **more)


log = MailLog("smtpd")


def test_lines_from_before_the_configuration_are_kept(reactor: _Reactor, path: Path) -> None:
    log.info("early")
    maillog.configure(_settings(path), reactor)
    log.info("later")
    maillog.flush()
    assert _texts(path)[-2:] == [f"smtpd[{os.getpid()}]: early", f"smtpd[{os.getpid()}]: later"]


def test_lines_are_written_together_soon(reactor: _Reactor, path: Path) -> None:
    maillog.configure(_settings(path), reactor)
    maillog.flush()
    before = len(_texts(path))
    log.info("one")
    log.warning("two")
    assert len(_texts(path)) == before
    reactor.advance(0.1)
    assert len(_texts(path)) == before + 2
    assert not reactor.getDelayedCalls()


def test_many_lines_and_errors_are_written_at_once(reactor: _Reactor, path: Path) -> None:
    maillog.configure(_settings(path), reactor)
    log.info("one")
    log.error("bad")
    assert [text.partition(": ")[2] for text in _texts(path)][-2:] == ["one", "error: bad"]
    for n in range(400):
        log.info(f"line {n}")
    assert _texts(path)[-1].endswith("line 399")


def test_a_failure_says_where(reactor: _Reactor, path: Path) -> None:
    maillog.configure(_settings(path), reactor)
    try:
        raise KeyError("the key")
    except KeyError:
        log.failure("it went wrong")
    lines = path.read_text().splitlines()
    start = next(n for n, line in enumerate(lines) if line.endswith("error: it went wrong"))
    assert lines[start + 1].endswith("error: Traceback: <class 'KeyError'>: 'the key'")
    assert lines[-1].endswith("test_a_failure_says_where")
    assert all(" h gw/smtpd[" in line for line in lines[start:])


def test_rotation_on_request(reactor: _Reactor, path: Path) -> None:
    """What was gathered before goes to the new file, as nothing could have written it before."""
    maillog.configure(_settings(path), reactor)
    maillog.flush()
    log.info("gathered")
    path.rename(path.with_suffix(".1"))
    maillog.flush(reopen=True)
    log.info("new")
    maillog.flush()
    assert [text.partition(": ")[2] for text in _texts(path)] == ["gathered", "new"]


def test_json_lines(reactor: _Reactor, path: Path) -> None:
    maillog.configure(_settings(path, format="json"), reactor)
    log.info("text\nmore", queue_id="ABC", size=5)
    maillog.flush()
    words = json.loads(path.read_text().splitlines()[-1])
    assert (words["text"], words["queue_id"], words["size"]) == ("text?more", "ABC", 5)


def test_another_configuration_takes_over(reactor: _Reactor, path: Path, tmp_path: Path) -> None:
    maillog.configure(_settings(path), reactor)
    log.info("one")
    maillog.configure(_settings(tmp_path / "other"), reactor)
    assert _texts(path)[-1].endswith("one")
    log.info("two")
    maillog.flush()
    assert [text.partition(": ")[2] for text in _texts(tmp_path / "other")] == ["two"]
    assert not _texts(path)[-1].endswith("two")


def test_a_configuration_that_cannot_be_changes_nothing(
    reactor: _Reactor, path: Path, tmp_path: Path
) -> None:
    maillog.configure(_settings(path), reactor)
    with pytest.raises(ConfigError, match="maillog_file: cannot open"):
        maillog.configure(_settings(tmp_path / "none" / "log"), reactor)
    log.info("still here")
    maillog.flush()
    assert _texts(path)[-1].endswith("still here")


def test_debugging_is_asked_for(reactor: _Reactor, path: Path) -> None:
    maillog.configure(_settings(path), reactor)
    log.debug("silent")
    maillog.configure(_settings(path, debug=True), reactor)
    log.debug("said")
    maillog.flush()
    text = path.read_text()
    assert "silent" not in text
    assert "said" in text
    maillog.unconfigure()
    assert not MailLog.is_debugging


def test_threads_hand_their_lines_over(reactor: _Reactor, path: Path) -> None:
    maillog.configure(_settings(path), reactor)
    thread = threading.Thread(target=log.error, args=("from a thread",))
    thread.start()
    thread.join()
    assert "from a thread" not in path.read_text()
    for call in reactor.handed:
        call()
    assert "error: from a thread" in path.read_text()


def test_twisteds_warnings_and_errors_are_lines_too(reactor: _Reactor, path: Path) -> None:
    maillog.configure(_settings(path), reactor)
    twisteds = Logger(namespace="x", observer=globalLogPublisher)
    twisteds.info("not this")
    twisteds.warn("two\nlines {n}", n=1)
    twisteds.error("bad")
    try:
        raise ValueError("wrong")
    except ValueError:
        twisteds.failure("unhandled")
    texts = [text.partition(": ")[2] for text in _texts(path)]
    assert "warning: two lines 1" in texts
    assert "error: bad" in texts
    assert "error: unhandled" in texts
    assert "error: Traceback: <class 'ValueError'>: wrong" in texts
    assert not any("not this" in text for text in texts)


def test_losses_are_told_once_it_can_be(reactor: _Reactor, path: Path) -> None:
    """While the disk is full nothing turns in a circle; then the whole loss is one line."""
    path.symlink_to("/dev/full")
    maillog.configure(_settings(path), reactor)
    maillog.flush()
    for _ in range(3):
        log.info("lost")
    reactor.pump([0.1] * 5)
    assert not reactor.getDelayedCalls()
    path.unlink()
    log.info("kept")
    reactor.pump([0.1] * 5)
    texts = [text.partition(": ")[2] for text in _texts(path)]
    assert texts[0] == "kept"
    assert texts[1].startswith("warning: ")
    assert texts[1].endswith("log lines were lost: [Errno 28] No space left on device")
    assert len(texts) == 2


def _log_settings(**values: str) -> LogSettings:
    assignments = {name: Assignment(name, value, "main.cf", 1) for name, value in values.items()}
    return LogSettings.from_settings(make_settings("/nowhere", assignments, "gw.example.com"))


def test_settings() -> None:
    found = _log_settings(
        maillog_file="/var/log/x",
        maillog_format="json",
        syslog_facility="local3",
        syslog_name="postfix",
        maillog_debug="yes",
    )
    assert (found.file, found.format, found.facility) == ("/var/log/x", "json", 19)
    assert (found.name, found.debug) == ("postfix", True)
    assert "." not in found.host
    assert _log_settings() == LogSettings(host=found.host)


def test_every_bad_setting_is_named() -> None:
    with pytest.raises(ConfigError) as error:
        _log_settings(maillog_file="log", maillog_format="xml", syslog_facility="post")
    assert [problem.text.split(":")[0] for problem in error.value.problems] == [
        *("maillog_format", "syslog_facility", "maillog_file"),
    ]


@pytest.mark.parametrize(("name", "number"), [("/dev/stderr", 2), ("/dev/stdout", 1)])
def test_standard_streams(reactor: _Reactor, capfd: Any, name: str, number: int) -> None:
    maillog.configure(LogSettings(name), reactor)
    log.info("said aloud")
    maillog.flush()
    maillog.unconfigure()
    assert "said aloud" in capfd.readouterr()[number - 1]
    os.fstat(number)
