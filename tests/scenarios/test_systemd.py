"""The unit, as systemd reads it, and what a running gateway tells systemd."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.gateway_process import GatewayProcess
from tests.peers import require

_UNIT = Path(__file__).parents[2] / "etc/systemd/gatewayd.service"


def test_systemd_finds_the_unit_right_and_well_protected(tmp_path: Path) -> None:
    """With this test's gatewayd in the place where README installs it."""
    analyze = require("systemd-analyze", "systemd")
    program = Path(sys.executable).with_name("gatewayd")
    text = _UNIT.read_text().replace("/opt/gatewayd/bin/gatewayd", str(program))
    assert str(program) in text
    unit = tmp_path / _UNIT.name
    unit.write_text(text)

    def analyzed(*arguments: str) -> tuple[int, str]:
        command = [analyze, *arguments, str(unit)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    assert analyzed("verify") == (0, "")
    # Of 100 at the most, where 100 is a service without any protection.
    assert analyzed("security", "--offline=true", "--threshold=25") == (0, "")


def test_it_tells_systemd_what_it_does(tmp_path: Path) -> None:
    """Ready once mail is accepted, reloading and ready again, also if refused, stopping."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.settimeout(20)

        def heard() -> str:
            return systemd.recv(4096).decode()

        ours = GatewayProcess(tmp_path / "gateway", "* discard:\n")
        ours.environment["NOTIFY_SOCKET"] = str(path)
        ours.start()
        assert ours.process is not None
        ready = f"READY=1\nMAINPID={ours.process.pid}\nSTATUS="
        assert heard() == f"{ready}listening on 127.0.0.1:{ours.port}"
        assert ours.daemon("reload").returncode == 0
        assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", heard())
        assert heard().startswith(ready)
        ours.configure({"smtpd_timeout": "soon"})
        ours.process.send_signal(signal.SIGHUP)
        assert heard().startswith("RELOADING=1\n")
        refused = heard()
        assert refused.startswith(ready)
        assert "refused" in refused
        ours.configure({})
        assert ours.stop() == 0
        assert heard() == "STOPPING=1"
