"""What users of the machine other than root and mail_owner can do, and what they can't."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.gateway_process import GatewayProcess
from tests.peers import eventually, require_root

_ROOT = Path(__file__).parents[2]
_OWNER, _USER, _OTHER = "mail", "nobody", "daemon"


def _python() -> str:
    """An interpreter that anybody may run; the tests' own may lie where only root gets.

    Of the same version: it uses the packages that were installed for the tests' own.
    """
    version = tuple(sys.version_info[:2])
    for program in (sys.executable, "/usr/bin/python3"):
        code = f"import sys; open({str(_ROOT / 'setup.cfg')!r}); "
        code += f"assert sys.version_info[:2] == {version}"
        try:
            subprocess.run([program, "-c", code], check=True, user=_USER, capture_output=True)
        except (OSError, subprocess.SubprocessError):
            continue
        return program
    pytest.skip("no Python of this version, or not this checkout, for other users than root")


def _run(
    ours: GatewayProcess, user: str, *arguments: str, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """A gatewayctl command as that user, with a umask that gives nobody anything."""
    paths = [str(_ROOT), sysconfig.get_path("purelib")]
    code = (
        f"import sys; sys.path[:0] = {paths!r}; "
        "from gatewayd.cli.gatewayctl import main; sys.exit(main(['gatewayctl', *sys.argv[1:]]))"
    )
    return subprocess.run(
        [_python(), "-c", code, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        user=user,
        group=pwd.getpwnam(user).pw_gid,
        extra_groups=[],
        umask=0o077,
        cwd="/",
        env={**os.environ, "MAIL_CONFIG": ours.etc},
    )


@contextmanager
def _daemon(tmp_path: Path, settings: dict[str, str | None]) -> Iterator[GatewayProcess]:
    """Started as an administrator does, with a umask as strict as any."""
    require_root("several users")
    table = "example.com retry:4.2.0 not today\n"
    ours = GatewayProcess(tmp_path / "gateway", table, settings, owner=_OWNER)
    before = os.umask(0o077)
    try:
        assert ours.daemon("start").returncode == 0
    finally:
        os.umask(before)
    try:
        yield ours
    finally:
        ours.daemon("stop")


def test_anybody_may_send_and_look_but_not_touch(open_path: Path) -> None:
    with _daemon(open_path, {}) as ours:
        sent = _run(ours, _USER, "sendmail", "-i", "a@example.com", stdin="Subject: mine\n\nx\n")
        assert sent.returncode == 0, sent.stderr
        entry = ours.wait_log(rf"(\w+): uid={pwd.getpwnam(_USER).pw_uid} from=<{_USER}>")
        ours.wait_log(f"{entry[1]}: to=<a@example.com>.*status=deferred")
        assert entry[1] in _run(ours, _OTHER, "mailq").stdout
        assert _run(ours, _USER, "postqueue", "-f").returncode == 0
        for refused in (
            _run(ours, _USER, "postsuper", "-d", entry[1]),
            _run(ours, _USER, "postcat", "-q", entry[1]),
            _run(ours, _USER, "reload"),
        ):
            assert refused.returncode != 0
            assert not refused.stdout
        assert entry[1] in ours.queue()


def test_mail_waits_for_the_daemon_and_nobody_else_can_read_it(open_path: Path) -> None:
    with _daemon(open_path, {}) as ours:
        ours.daemon("stop")
        sent = _run(ours, _USER, "sendmail", "-i", "a@example.com", stdin="Subject: down\n\nx\n")
        assert sent.returncode == 0, sent.stderr
        folder = ours.root / "queue" / "maildrop"
        [path] = folder.iterdir()
        for tried in (["/bin/cat", path], ["/bin/mv", path, f"{path}x"], ["/bin/rm", "-f", path]):
            done = subprocess.run(
                tried,
                user=_OTHER,
                group="daemon",
                extra_groups=[],
                capture_output=True,
                check=False,
            )
            assert done.returncode != 0, tried
        # What even we may not read is set aside, and holds nobody up.
        for number in range(20):
            hidden = folder / f"0{number}"
            hidden.write_text("secret")
            hidden.chmod(0)
        assert ours.daemon("start").returncode == 0
        ours.wait_log("to=<a@example.com>.*status=deferred")
        eventually(lambda: not list(folder.iterdir()), "an empty folder")
        assert len(list((ours.root / "queue" / "corrupt").iterdir())) == 20


def test_who_may_submit_can_be_restricted(open_path: Path) -> None:
    """Said by the command, and seen to by the daemon if somebody goes round the command."""
    with _daemon(open_path, {"authorized_submit_users": f"!{_USER}, static:anyone"}) as ours:
        refused = _run(ours, _USER, "sendmail", "a@example.com", stdin="x\n")
        assert refused.returncode == 77
        allowed = _run(ours, _OTHER, "sendmail", "b@example.com", stdin="x\n")
        assert allowed.returncode == 0, allowed.stderr
        ours.wait_log("to=<b@example.com>.*status=deferred")
        free = open_path / "free"
        free.mkdir()
        (free / "main.cf").write_text((ours.root / "etc" / "main.cf").read_text().replace("!", ""))
        (free / "master.cf").write_text((ours.root / "etc" / "master.cf").read_text())
        round_it = _run(ours, _USER, "sendmail", "-C", str(free), "c@example.com", stdin="x\n")
        assert round_it.returncode == 0
        ours.daemon("stop")
        ours.daemon("start")
        ours.wait_log(rf"user {pwd.getpwnam(_USER).pw_uid} may not submit mail: moved to corrupt/")
        assert "c@example.com" not in ours.queue()
