"""The daemon as an administrator runs it: start, stop, status, check, twistd, listeners."""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import smtplib
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.gateway_process import GatewayProcess, gateway
from tests.own_network import own_network
from tests.peers import eventually, free_port, listens, require_root

_OWNER, _OTHER = "mail", "nobody"
_PIPE = f"command unix - n n - - pipe user={_OTHER} argv=/bin/true\n"


@contextmanager
def _daemon(tmp_path: Path, services: str) -> Iterator[GatewayProcess]:
    """Started by root with ``gatewayd start``; what a failed test leaves running is stopped."""
    ours = GatewayProcess(tmp_path / "gateway", "* discard:\n", {}, services, _OWNER)
    started = ours.daemon("start")
    assert started.returncode == 0, started.stderr
    try:
        yield ours
    finally:
        ours.daemon("stop")


def _processes(first: int) -> list[int]:
    """A process and all that it started, and those started."""
    found = [first]
    for pid in found:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def _status(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


def _has_internet_sockets(pid: int) -> bool:
    inodes = set()
    for name in ("tcp", "tcp6", "udp", "udp6"):
        rows = Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
        inodes |= {row.split()[9] for row in rows}
    links = [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()]
    return any(match[1] in inodes for each in links if (match := re.match(r"socket:\[(\d+)", each)))


def test_started_by_root_it_keeps_the_port_and_nothing_else(open_path: Path) -> None:
    """G22: whoever reads the network is mail_owner, without capabilities; root's helper reads
    nothing of it."""
    services = "127.0.0.1:25 inet n - n - - smtpd\n" + _PIPE
    with own_network(), _daemon(open_path, services) as ours:
        with smtplib.SMTP("127.0.0.1", 25, timeout=10) as client:
            assert client.noop()[0] == 250
        pid = int((ours.root / "queue" / "gatewayd.pid").read_text())
        assert ours.daemon("status").stdout == f"gatewayd is running (pid {pid})\n"
        owner = pwd.getpwnam(_OWNER)
        by_root = []
        for each in _processes(pid):
            status = _status(each)
            if status["Uid"] == [str(owner.pw_uid)] * 4:
                assert status["Gid"] == [str(owner.pw_gid)] * 4
                assert {*status["CapEff"], *status["CapPrm"], *status["CapAmb"]} == {"0" * 16}
                assert "0" not in status["Groups"]
            else:
                by_root.append(each)
        assert pid not in by_root
        assert len(by_root) == 1
        assert not _has_internet_sockets(by_root[0])
        assert _has_internet_sockets(pid)
        assert (ours.root / "etc" / "main.cf").stat().st_uid != owner.pw_uid

        again = ours.daemon("start")
        assert again.returncode == 69
        assert f"already running (pid {pid})" in again.stderr
        assert ours.daemon("stop").returncode == 0
        assert not listens(25)
        assert ours.daemon("status").returncode == 1
        stopped = ours.daemon("stop")
        assert (stopped.returncode, stopped.stderr) == (1, "gatewayd: fatal: not running\n")


def test_a_command_of_a_user_unknown_at_the_start_needs_a_restart(open_path: Path) -> None:
    """Root is gone by then: a reload that would need it is refused, with its line."""
    require_root("commands as other users")
    with _daemon(open_path, _PIPE) as ours:
        path = ours.root / "etc" / "master.cf"
        path.write_text(path.read_text() + "late unix - n n - - pipe user=daemon argv=/bin/true\n")
        line = path.read_text().count("\n")
        refused = ours.daemon("reload")
        assert refused.returncode == 78
        assert f"master.cf:{line}: service late: user=daemon" in refused.stderr
        assert "start" in refused.stderr
        assert ours.daemon("stop").returncode == 0
        assert ours.daemon("start").returncode == 0


def test_a_start_that_cannot_be_says_why(tmp_path: Path) -> None:
    ours = GatewayProcess(tmp_path / "gateway", "* discard:\n")
    with socket.create_server(("127.0.0.1", ours.port)):
        refused = ours.daemon("start")
        assert refused.returncode == 69
        assert f"cannot listen on 127.0.0.1:{ours.port}: Address already in use" in refused.stderr
    ours.configure({"smtpd_timeout": "soon", "message_size_limit": "many"})
    for verb in ("check", "start"):
        refused = ours.daemon(verb)
        assert refused.returncode == 78
        assert re.search(
            r"main\.cf:\d+: smtpd_timeout: .*\n.*main\.cf:\d+: message_size", refused.stderr
        )
    ours.configure({})
    assert ours.daemon("check").returncode == 0
    assert ours.daemon("status").returncode == 1


def test_twistd_runs_the_same_service(tmp_path: Path) -> None:
    ours = GatewayProcess(tmp_path / "gateway", "* discard:\n")
    twistd = [str(Path(sys.executable).with_name("twistd"))]
    command = [*twistd, "-n", "--pidfile=", "gatewayd", "-c", ours.etc]
    with (tmp_path / "output").open("w+") as output:
        running = subprocess.Popen(command, stdout=output, stderr=output, cwd=tmp_path)
        try:
            eventually(lambda: listens(ours.port), "twistd's gateway listening")
            queue_id = ours.send("a@example.com", "Subject: x\n\nx")
            ours.wait_log(f"{queue_id}: removed")
            assert f"pid {running.pid}" in ours.daemon("status").stdout
            assert ours.daemon("reload").returncode == 0
            running.send_signal(signal.SIGTERM)
            # twistd's own way: once all is done it ends by the signal that it got.
            assert running.wait(30) in (0, -signal.SIGTERM)
            ours.wait_log("terminating")
            ours.configure({"smtpd_timeout": "soon"})
            refused = subprocess.run(
                command, capture_output=True, text=True, cwd=tmp_path, check=False
            )
            assert refused.returncode != 0
            assert re.search(r"main\.cf:\d+: smtpd_timeout", refused.stdout + refused.stderr)
        finally:
            running.kill()
            running.wait()


def test_each_listener_has_its_overrides_and_a_reload_its_listeners(tmp_path: Path) -> None:
    small, later = free_port(), free_port()
    services = (
        f"127.0.0.1:{small} inet n - n - - smtpd -o message_size_limit=1000\n"
        "  -o { smtpd_banner = small.test ready } -o smtpd_recipient_limit=2\n"
    )
    with gateway(tmp_path, "* discard:\n", {}, services) as ours:
        with smtplib.SMTP(timeout=10) as client:
            assert client.connect("127.0.0.1", small) == (220, b"small.test ready")
            client.ehlo()
            assert client.esmtp_features["size"] == "1000"
            client.mail("a@example.org")
            codes = [client.rcpt(f"r{number}@example.com")[0] for number in range(3)]
            assert codes == [250, 250, 452]
            old = (ours.root / "etc" / "master.cf").read_text()
            ours.write("master.cf", old.replace(str(small), str(later)).replace("=1000", "=2000"))
            assert ours.daemon("reload").returncode == 0
            assert not listens(small)
            assert client.noop()[0] == 250  # what is open stays open
        for port, size in ((ours.port, "10240000"), (later, "2000")):
            with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
                client.ehlo()
                assert client.esmtp_features["size"] == size
        status = json.loads(ours.ctl("status", "--json").stdout)
        assert sorted(status["listening"]) == sorted(f"127.0.0.1:{p}" for p in (ours.port, later))


def test_classic_names_are_links_where_they_are_asked_for(tmp_path: Path) -> None:
    with gateway(tmp_path, "example.com retry:4.2.0 not today\n") as ours:
        names = tmp_path / "bin"
        assert ours.ctl("compat", str(names)).returncode == 0
        environment = {**os.environ, "MAIL_CONFIG": ours.etc}

        def run(name: str, *arguments: str, stdin: str = "") -> str:
            command = [str(names / name), *arguments]
            return subprocess.run(
                command, input=stdin, capture_output=True, text=True, check=True, env=environment
            ).stdout

        run("sendmail", "-t", stdin="To: a@example.com\nSubject: x\n\nx\n")
        ours.wait_log("to=<a@example.com>.*status=deferred")
        assert "a@example.com" in run("mailq")
        assert run("mailq") == run("postqueue", "-p")
        assert run("postconf", "-h", "relay_domains") == "example.com\n"
        assert "Subject: x" in run("postcat", "-q", json.loads(run("postqueue", "-j"))["queue_id"])
        run("postsuper", "-d", "ALL")
        assert run("mailq") == "Mail queue is empty\n"
        (names / "postmap").unlink()
        (names / "postmap").write_text("somebody else's")
        again = ours.ctl("compat", str(names))
        assert (again.returncode, "left alone" in again.stderr) == (1, True)
        assert (names / "postmap").read_text() == "somebody else's"
