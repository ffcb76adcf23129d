"""Every command: its help, its exit status when it's used wrongly, and when nothing runs."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from gatewayd.cli import daemon, gatewayctl, postmap, sample
from gatewayd.cli.gatewayctl import CLASSIC
from gatewayd.config.load import load
from tests.peers import require_root

_OWN = ("check", "compat", "flush", "metrics", "reload", "status")
_ALL = (*CLASSIC, *_OWN)


def _main(*arguments: str) -> int:
    """gatewayctl's exit status, however it's given."""
    try:
        return gatewayctl.main(["gatewayctl", *arguments])
    except SystemExit as end:
        return int(end.code or 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration that nothing runs with."""
    root = tmp_path_factory.mktemp("commands")
    etc = root / "etc"
    etc.mkdir()
    owner = pwd.getpwuid(os.getuid()).pw_name
    (etc / "main.cf").write_text(
        f"queue_directory = {root}/queue\ndata_directory = {root}/data\nmail_owner = {owner}\n"
        "mydestination =\ninet_interfaces = 127.0.0.1\n"
    )
    services = "".join(f"{name} unix - - n - - {name}\n" for name in ("smtp", "error"))
    (etc / "master.cf").write_text(f"{services}relay unix - - n - - smtp\n")
    (root / "queue").mkdir()
    return etc


@pytest.mark.parametrize("name", _ALL)
def test_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It goes to standard output, names the command, and is no error."""
    assert _main(name, "--help") == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out.startswith("usage: ")


@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_help_of_all(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _main(word) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in _ALL)
    assert _main() == 0
    assert capsys.readouterr().out == shown


def test_unknown_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert _main("nosuch") == 64
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("gatewayctl: no such command: nosuch\nusage: ")
    assert daemon.main(["nosuch"]) == 64
    assert daemon.main([]) == 64
    assert daemon.main(["--help"]) == 0


@pytest.mark.parametrize(
    ("status", "arguments"),
    [
        *((64, ["postqueue"]), (64, ["postqueue", "-p", "-f"]), (64, ["postqueue", "-p", "x"])),
        *((64, ["postqueue", "-z"]), (64, ["postsuper", "-z"]), (64, ["postsuper", "nosuch"])),
        *((64, ["postcat"]), (64, ["postcat", "-z", "x"]), (64, ["status", "x"])),
        *((64, ["status", "-z"]), (64, ["metrics", "-z"]), (64, ["check", "-z"])),
        *((64, ["compat"]), (64, ["compat", "-z"]), (64, ["compat", "a", "b"])),
        *((64, ["sendmail", "-z"]), (64, ["sendmail", "-N", "x", "a"]), (64, ["sendmail", "-bx"])),
        *((1, ["postmap"]), (1, ["postmap", "-z", "x"]), (1, ["postconf", "-z"])),
        *((64, ["flush", "a", "b"]), (64, ["flush", "-i"])),
    ],
)
def test_wrong_use(status: int, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _main(*arguments) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err


@pytest.mark.parametrize(
    ("status", "arguments"),
    [
        *((69, ["postqueue", "-c", "NONE", "-p"]), (69, ["mailq", "-c", "NONE"])),
        *((69, ["postsuper", "-c", "NONE", "-d", "ALL"]), (69, ["postcat", "-c", "NONE", "ABCDE"])),
        *((69, ["status", "-c", "NONE"]), (69, ["metrics", "-c", "NONE"])),
        *((78, ["check", "-c", "NONE"]), (78, ["reload", "-c", "NONE"])),
        *((1, ["postconf", "-c", "NONE"]), (69, ["sendmail", "-C", "NONE/main.cf", "a"])),
    ],
)
def test_without_a_configuration(
    status: int,
    arguments: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The file is named; master.cf, too, where it is read."""
    monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: SIM115
    none = str(tmp_path / "none")
    assert _main(*(argument.replace("NONE", none) for argument in arguments)) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    read = ["main.cf", "master.cf"] if status == 78 else ["main.cf"]
    for name in read:
        assert f"{none}/{name}: No such file or directory" in shown.err


@pytest.mark.parametrize(
    ("status", "arguments", "text"),
    [
        (69, ["status"], "nobody listens on"),
        (69, ["metrics"], "nobody listens on"),
        (69, ["postqueue", "-f"], "mail system is down"),
        (69, ["postqueue", "-s", "example.com"], "mail system is down"),
        (69, ["postqueue", "-i", "ABCDE"], "mail system is down"),
        (69, ["postqueue", "-s", "a b"], "invalid destination"),
        (69, ["postqueue", "-i", "x/y"], "invalid name"),
        (1, ["reload"], "not running"),
    ],
)
def test_while_nothing_runs(
    folder: Path,
    status: int,
    arguments: list[str],
    text: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _main(arguments[0], "-c", str(folder), *arguments[1:]) == status
    assert text in capsys.readouterr().err


def test_the_daemons_verbs_while_nothing_runs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert daemon.main(["-c", str(folder), "check"]) == 0
    assert daemon.main(["-c", str(folder), "status"]) == 1
    assert "not running" in capsys.readouterr().out
    assert daemon.main(["-c", str(folder), "stop"]) == 1
    assert "not running" in capsys.readouterr().err


def _run(folder: Path, name: str, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """A command as its own process: those that open the queue run a reactor."""
    code = "import sys; from gatewayd.cli.gatewayctl import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "gatewayctl", name, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env={**os.environ, "MAIL_CONFIG": str(folder)},
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [
        ("postqueue", ["-p"], (0, "Mail queue is empty\n", "")),
        ("postsuper", ["-d", "ALL"], (0, "", "")),
        ("postsuper", ["-d", "x/y"], (64, "", "postsuper: fatal: invalid queue ID: x/y\n")),
        (
            "postcat",
            ["ABCDE12345"],
            (1, "", "postcat: fatal: open queue file ABCDE12345: No such file or directory\n"),
        ),
    ],
)
def test_the_queue_while_nothing_runs(
    folder: Path, name: str, arguments: list[str], result: tuple[int, str, str]
) -> None:
    status, out, err = _run(folder, name, *arguments)
    assert (status, out, err) == result


def test_a_queue_is_its_owners(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_root("another user")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert _main("postsuper", "-c", str(folder), "-d", "ALL") == 1


@pytest.mark.parametrize(
    ("header", "status", "text"),
    [
        ("To: " + "a:" * 5000 + "b@example.com\n", 65, "nested too deep"),
        ("Subject: nobody\n", 64, "Recipient addresses must be specified"),
    ],
)
def test_sendmail_refuses_a_header_without_recipients(
    folder: Path, header: str, status: int, text: str
) -> None:
    found, out, err = _run(folder, "sendmail", "-t", stdin=f"{header}\nbody\n")
    assert (found, out) == (status, "")
    assert text in err


def test_a_broken_configuration_is_told_by_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "main.cf").write_text("soft_bounce = perhaps\nno assignment\n")
    (tmp_path / "master.cf").write_text("smtp inet\n")
    assert daemon.main(["-c", str(tmp_path), "check"]) == 78
    lines = capsys.readouterr().err.splitlines()
    assert {line.split(": ")[2] for line in lines} == {
        *(f"{tmp_path}/main.cf:1", f"{tmp_path}/main.cf:2", f"{tmp_path}/master.cf:1"),
    }


def test_the_classic_names_are_links(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They're made where asked for, and again without harm; what isn't ours is left alone."""
    monkeypatch.setattr(sys, "argv", ["/opt/bin/gatewayctl"])
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "mailq").write_text("another's")
    assert _main("compat", str(tmp_path / "bin")) == 1
    assert "mailq is there already" in capsys.readouterr().err
    (tmp_path / "bin" / "mailq").unlink()
    assert _main("compat", str(tmp_path / "bin")) == 0
    assert _main("compat", str(tmp_path / "bin")) == 0
    assert {each.name for each in (tmp_path / "bin").iterdir()} == set(CLASSIC)
    assert os.readlink(tmp_path / "bin" / "mailq") == "/opt/bin/gatewayctl"
    (tmp_path / "file").write_text("")
    assert _main("compat", str(tmp_path / "file" / "bin")) == 73


def test_a_command_answers_to_its_own_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert gatewayctl.main(["/usr/sbin/postconf", "-m"]) == 0
    assert "texthash" in capsys.readouterr().out


def test_the_sample_can_be_tried(tmp_path: Path) -> None:
    source = Path(__file__).parents[2] / "etc"
    for _ in range(2):
        assert sample.main([str(source), str(tmp_path / "var" / "etc")]) == 0
    found = load(str(tmp_path / "var" / "etc"))
    assert found.warnings == ()
    assert found.settings.text("queue_directory") == f"{tmp_path}/var/queue"
    assert found.services[0].name == "127.0.0.1:2525"


def test_postmap_asks_and_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "table"
    table.write_text("a one\nb two\nb three\n")
    assert postmap.main([f"hash:{table}"]) == 0
    assert 'duplicate entry: "b"' in capsys.readouterr().err
    for key, status, value in (("A", 0, "one\n"), ("b", 0, "two\n"), ("c", 1, "")):
        assert postmap.main(["-q", key, f"hash:{table}"]) == status
        assert capsys.readouterr().out == value
    assert postmap.main(["-d", "a", f"hash:{table}"]) == 0
    assert postmap.main(["-d", "a", f"hash:{table}"]) == 1
    assert postmap.main(["-s", f"hash:{table}"]) == 0
    assert capsys.readouterr().out == "b\ttwo\n"
    for bad in ("nosuch:x", f"hash:{tmp_path}/none", f"texthash:{table}"):
        assert postmap.main([bad]) == 1
        assert capsys.readouterr().err.startswith("postmap: fatal: ")
