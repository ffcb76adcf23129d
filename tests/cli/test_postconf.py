"""postconf, where it has its own ways: see test_postconf_parity for what it shares with Postfix."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatewayd.cli.postconf import main
from gatewayd.config.parameters import PARAMETERS

_MASTER = "smtp unix - - n - - smtp\nu unix - n n - - pipe\n  user=u # no comment\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "main.cf").write_text("relayhost = a\n")
    (tmp_path / "master.cf").write_text(_MASTER)
    return tmp_path


def _run(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> tuple[int, str, str]:
    status = main(["-c", str(folder), *arguments])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def test_shows_all_names_sorted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = _run(capsys, folder, "-H")
    names = out.split()
    assert (status, err) == (0, "")
    assert names == sorted(names)
    assert set(PARAMETERS) <= set(names)
    assert {"smtp_destination_rate_delay", "u_time_limit"} <= set(names)
    assert "smtp_time_limit" not in names


def test_defaults_need_no_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = _run(capsys, tmp_path / "none", "-d", "mail_owner", "relayhost")
    assert (status, out, err) == (0, "mail_owner = gatewayd\nrelayhost =\n", "")


def test_defaults_ignore_main_cf(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "main.cf").write_text("no configuration\n")
    assert _run(capsys, folder, "-d", "relayhost")[1] == "relayhost =\n"


def test_everything_can_be_expanded(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = _run(capsys, folder, "-x")
    assert status == 0
    assert len(out.split("\n")) > len(PARAMETERS)


def test_what_is_wrong_is_said_and_the_rest_shown(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "main.cf").write_text(
        "soft_bounce = x\nrelayhots = b\nrelayhost = a\nrelayhost = c\n"
    )
    status, out, err = _run(capsys, folder, "relayhost", "soft_bounce", "nosuch")
    assert (status, out) == (0, "relayhost = c\nsoft_bounce = x\n")
    path = folder / "main.cf"
    assert err.split("\n") == [
        f"postconf: warning: {path}:4: relayhost overrides the setting in line 3",
        f'postconf: warning: {path}:1: soft_bounce: "x": yes or no expected',
        f"postconf: warning: {path}:2: unknown parameter: relayhots (did you mean relayhost?)",
        "postconf: warning: nosuch: unknown parameter",
        "",
    ]


def test_all_that_is_fatal_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "main.cf").write_text("one\ntwo\n")
    (folder / "master.cf").write_text("three\n")
    status, out, err = _run(capsys, folder)
    assert (status, out) == (1, "")
    assert [line.split(":")[2:4] for line in err.split("\n")[:-1]] == [
        [f" {folder}/main.cf", "1"],
        [f" {folder}/main.cf", "2"],
        [f" {folder}/master.cf", "1"],
    ]


def test_the_folder_comes_from_the_environment(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL_CONFIG", str(folder))
    assert main(["relayhost"]) == 0
    assert capsys.readouterr().out == "relayhost = a\n"


def test_table_types(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-m"]) == 0
    assert {"hash", "lmdb", "cidr", "regexp", "proxy"} <= set(capsys.readouterr().out.split())


def test_a_broken_file_can_be_repaired(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "main.cf").write_text("relayhost = ${a\nsoft_bounce = x\n")
    assert _run(capsys, folder, "-e", "relayhost=[a]:25", "soft_bounce=no")[0] == 0
    assert (folder / "main.cf").read_text() == "relayhost = [a]:25\nsoft_bounce = no\n"


@pytest.mark.parametrize("word", ["a=b\nc=d", "a=b\rc", "#a=b", "#=b"])
def test_an_edit_that_would_be_more_than_a_line_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    status, _, err = _run(capsys, folder, "-e", word)
    assert status == 1
    assert err.startswith("postconf: fatal: ")
    assert (folder / "main.cf").read_text() == "relayhost = a\n"


def test_groups_survive_an_edit_of_the_command(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(capsys, folder, "-Fe", "u/unix/command=pipe user=u argv=x {a b}")[0] == 0
    assert _run(capsys, folder, "-Pe", "u/unix/a=b c")[0] == 0
    assert _run(capsys, folder, "-Fh", "u/unix/command")[1] == (
        "pipe -o {a=b c} user=u argv=x {a b}\n"
    )


def test_an_edit_of_a_service_that_is_none_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = _run(capsys, folder, "-Me", "x/unix=y unix - - n - - smtp")
    assert (status, err) == (1, 'postconf: fatal: "x/unix" is set to a line of y/unix\n')
    assert _run(capsys, folder, "-P#", "u/unix/a")[0] == 1
    assert _run(capsys, folder, "-FX", "u/unix/private")[0] == 1
    assert _run(capsys, folder, "-Pe", "u/unix=a")[0] == 1
    assert (folder / "master.cf").read_text() == _MASTER


def test_a_folder_that_cannot_be_edited(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = _run(capsys, tmp_path, "-e", "a=b")
    assert (status, err) == (1, f"postconf: fatal: {tmp_path}/main.cf: No such file or directory\n")
    assert _run(capsys, tmp_path / "none", "-e", "a=b")[0] == 1
