"""gatewayd: start, stop, reload and check the gateway.

gatewayd [-c DIR] start | stop | reload | status | check | foreground
"""

from __future__ import annotations

import getopt
import os
import signal
import sys
import time
from typing import Any

from gatewayd.cli.place import default_folder
from gatewayd.config.load import Configuration, load
from gatewayd.control.client import ControlClient, ControlRefused, DaemonDown
from gatewayd.errors import ConfigError, GatewayError
from gatewayd.process.lock import running_pid

__all__ = ["main"]

_USAGE = "usage: gatewayd [-c DIR] start | stop | reload | status | check | foreground"
_STARTED = b"started\n"
_START_BOUND = 60.0
_EX_USAGE, _EX_UNAVAILABLE, _EX_CONFIG = 64, 69, 78


def main(argv: list[str] | None = None) -> int:
    """The command. Exit status: 0; 1 not running; 64 usage; 69 not possible; 78 configuration."""
    try:
        options, verbs = getopt.gnu_getopt(sys.argv[1:] if argv is None else argv, "c:", ["help"])
    except getopt.GetoptError as error:
        print(f"gatewayd: fatal: {error}\n{_USAGE}", file=sys.stderr)
        return _EX_USAGE
    if ("--help", "") in options:
        print(_USAGE)
        return 0
    if len(verbs) != 1 or verbs[0] not in _VERBS:
        print(_USAGE, file=sys.stderr)
        return _EX_USAGE
    folder = next((value for name, value in options if name == "-c"), default_folder())
    try:
        configuration = load(os.path.abspath(folder))
        return int(_VERBS[verbs[0]](configuration))
    except ConfigError as error:
        _complain("fatal", [str(problem) for problem in error.problems])
        return _EX_CONFIG
    except GatewayError as error:
        _complain("fatal", [str(error)])
        return _EX_UNAVAILABLE


def _complain(word: str, texts: list[str]) -> None:
    for text in texts:
        print(f"gatewayd: {word}: {text}", file=sys.stderr)


def _pid_path(configuration: Configuration) -> str:
    return configuration.settings.text("pid_file")


def _check(configuration: Configuration) -> int:
    """Everything that a start would refuse, without starting."""
    from gatewayd.service import check

    warnings = check(configuration)
    _complain("warning", [str(problem) for problem in warnings])
    return 0


def _foreground(configuration: Configuration) -> int:
    return _run(configuration, lambda: None)


def _run(configuration: Configuration, started: Any) -> int:
    """Run the gateway in this process until a signal ends it."""
    from gatewayd.reactor import install

    install()
    from twisted.internet import reactor

    from gatewayd.service import GatewayService

    any_reactor: Any = reactor
    service = GatewayService(configuration.directory, any_reactor, started=started)
    service.privilegedStartService()
    any_reactor.callWhenRunning(service.startService)
    any_reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    any_reactor.run()
    return service.exit_status


def _start(configuration: Configuration) -> int:
    """Become a daemon; this process stays until the daemon accepts mail or has failed."""
    pid = running_pid(_pid_path(configuration))
    if pid is not None:
        _complain("fatal", [f"already running (pid {pid})"])
        return _EX_UNAVAILABLE
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        _become_daemon(configuration, writing)
    os.close(writing)
    answer = b""
    # Not until the end of file: a log on standard error keeps the pipe open in the daemon.
    while not answer.endswith(_STARTED) and (octets := os.read(reading, 4096)):
        answer += octets
    os.close(reading)
    os.wait()
    if answer.endswith(_STARTED):
        return 0
    sys.stderr.write(answer.decode("utf-8", "replace"))
    return _EX_UNAVAILABLE


def _become_daemon(configuration: Configuration, answers: int) -> None:
    """In the child: detach (python-daemon), run, and tell the waiting parent how it went."""
    from daemon import DaemonContext

    status = _EX_UNAVAILABLE
    with DaemonContext(
        working_directory="/",
        umask=0o027,
        files_preserve=[answers],
        stdin=None,
        stdout=None,
        stderr=None,
        signal_map={},
    ):
        os.dup2(answers, 2)
        try:
            status = _run(configuration, lambda: _tell_started(answers))
        except (GatewayError, OSError) as error:
            os.write(2, f"gatewayd: fatal: {error}\n".encode())
        os._exit(status)


def _tell_started(answers: int) -> None:
    os.write(answers, _STARTED)
    os.close(answers)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)


def _stop(configuration: Configuration) -> int:
    """Ask for the orderly stop, and wait for its end."""
    path = _pid_path(configuration)
    pid = running_pid(path)
    if pid is None:
        _complain("fatal", ["not running"])
        return 1
    os.kill(pid, signal.SIGTERM)
    bound = configuration.settings.seconds("stop_time_limit") + 10
    end = time.monotonic() + bound
    while running_pid(path) == pid:
        if time.monotonic() > end:
            _complain("fatal", [f"pid {pid} has not stopped within {bound:.0f} s"])
            return _EX_UNAVAILABLE
        time.sleep(0.05)
    return 0


def _reload(configuration: Configuration) -> int:
    """All or nothing: on any error the running daemon keeps what it has."""
    client = ControlClient(configuration.settings.text("control_socket"))
    try:
        answer = client.post("reload")
    except DaemonDown:
        _complain("fatal", ["not running"])
        return 1
    except ControlRefused as refused:
        _complain("fatal", list(refused.problems))
        return _EX_CONFIG if refused.code == 409 else _EX_UNAVAILABLE
    _complain("warning", answer["warnings"])
    return 0


def _status(configuration: Configuration) -> int:
    pid = running_pid(_pid_path(configuration))
    if pid is None:
        print("gatewayd is not running")
        return 1
    print(f"gatewayd is running (pid {pid})")
    return 0


_VERBS = {
    "check": _check,
    "foreground": _foreground,
    "reload": _reload,
    "start": _start,
    "status": _status,
    "stop": _stop,
}

if __name__ == "__main__":
    sys.exit(main())
