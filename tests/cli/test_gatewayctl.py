"""gatewayctl: one program for all commands, also under the classic names; and quick to start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gatewayd.cli.gatewayctl import CLASSIC, main

_HEAVY = {"twisted", "zope", "asyncio", "ssl", "email", "lmdb", "sqlite3", "importlib.metadata"}
_LATER = {"ipaddress", "urllib", "gatewayd.config.load", "gatewayd.config.machine"}
_TRACED = """\
import sys
from gatewayd.cli.gatewayctl import main
status = main(sys.argv[1:])
print(status, *sorted(sys.modules))
"""


def _configured(root: Path, settings: str = "") -> str:
    """A configuration folder for a queue whose daemon doesn't run."""
    (root / "queue" / "maildrop").mkdir(parents=True)
    (root / "main.cf").write_text(f"queue_directory = {root}/queue\n{settings}")
    return str(root)


def _traced(folder: str, *command: str) -> tuple[int, set[str]]:
    """A command's exit status, and all that it imported, also by the first part of its name."""
    done = subprocess.run(
        [sys.executable, "-c", _TRACED, *command],
        input="Subject: x\n\nHello\n",
        env={**os.environ, "MAIL_CONFIG": folder},
        capture_output=True,
        text=True,
        check=True,
    )
    status, *modules = done.stdout.split()
    return int(status), {*modules, *(module.split(".")[0] for module in modules)}


def test_sendmail_imports_little(tmp_path: Path) -> None:
    """It runs for every mail that a program sends."""
    status, imported = _traced(_configured(tmp_path), "sendmail", "a@example.com")
    assert status == 0
    assert not (_HEAVY | _LATER) & imported
    assert len(os.listdir(tmp_path / "queue" / "maildrop")) == 1


def test_postqueue_imports_little(tmp_path: Path) -> None:
    status, imported = _traced(_configured(tmp_path), "postqueue", "-f")
    assert status == 69
    assert not _HEAVY & imported


def _installed_gatewayctl() -> Path:
    return Path(sys.executable).parent / "gatewayctl"


def _run(program: Path, *arguments: str, folder: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments],
        env={**os.environ, "MAIL_CONFIG": folder},
        capture_output=True,
        text=True,
        check=False,
    )


def test_links_with_classic_names(tmp_path: Path) -> None:
    """``compat DIR`` makes links; called by such a name, the program is that command."""
    links = tmp_path / "links"
    folder = _configured(tmp_path)
    assert _run(_installed_gatewayctl(), "compat", str(links), folder=folder).returncode == 0
    assert set(os.listdir(links)) == set(CLASSIC)
    assert {os.readlink(link) for link in links.iterdir()} == {str(_installed_gatewayctl())}
    assert _run(links / "mailq", folder=folder).stdout == "Mail queue is empty\n"
    assert "usage: postqueue" in _run(links / "postqueue", "--help", folder=folder).stdout


def test_compat_leaves_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real mail system's program is never replaced; links of our own may be there already."""
    monkeypatch.setattr(sys, "argv", ["/opt/gatewayd/bin/gatewayctl"])
    (tmp_path / "sendmail").write_text("somebody else's")
    assert main(["gatewayctl", "compat", str(tmp_path)]) == 1
    assert "sendmail is there already: left alone" in capsys.readouterr().err
    assert (tmp_path / "sendmail").read_text() == "somebody else's"
    (tmp_path / "sendmail").unlink()
    assert main(["gatewayctl", "compat", str(tmp_path)]) == 0
    assert main(["gatewayctl", "compat", str(tmp_path)]) == 0


def test_what_is_wrong_elsewhere_keeps_no_command(tmp_path: Path) -> None:
    """Mail is taken, and the queue can be looked at, while a setting of the daemon is wrong."""
    folder = _configured(tmp_path, "smtpd_timeout = soon\n")
    done = _run(_installed_gatewayctl(), "mailq", folder=folder)
    assert (done.returncode, done.stdout) == (0, "Mail queue is empty\n")


@pytest.mark.parametrize(
    ("main_cf", "reason"),
    [
        ("queue_directory\n", 'main.cf:1: not "name = value": "queue_directory"'),
        ("control_socket = $a\na = $a\n", "main.cf:1: control_socket: references go in a circle"),
    ],
)
def test_a_setting_that_cannot_be_used(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    main_cf: str,
    reason: str,
) -> None:
    """What the command needs and can't read is named with its place."""
    (tmp_path / "main.cf").write_text(main_cf)
    monkeypatch.setenv("MAIL_CONFIG", str(tmp_path))
    assert main(["gatewayctl", "postqueue", "-f"]) == 69
    assert capsys.readouterr().err.startswith(f"postqueue: fatal: {tmp_path}/{reason}")


def test_no_such_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gatewayctl", "frobnicate"]) == 64
    assert "no such command: frobnicate" in capsys.readouterr().err
    assert main(["gatewayctl"]) == 0
    assert "mailq" in capsys.readouterr().out
