"""postmap and the tables answer as Postfix's own postmap does, asked in the same test run."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import pytest

from gatewayd.cli.postmap import main
from tests.peers import require

_SOURCE = """\
# a comment
example.com   relay:[mail.example.com]
  :25
User@Example.COM  Keeps Case
"quoted user"@example.com  value
only-a-key
example.com  second
\tfolded continuation
[192.0.2.1]  literal
ümlaut@example.com x
"""
_KEYS = [
    *("example.com", "EXAMPLE.COM", "user@example.com", '"quoted user"@example.com', "none"),
    *("only-a-key", "[192.0.2.1]", "ümlaut@example.com", "", " example.com"),
]
_REGEXP = r"""
/^(.*)@(.+)\.example\.com$/   relay:[${2}.inside]:$1
if /@list\./
/^owner-/   owner
!/^x/       not-x
endif
/[[:digit:]]{3}$/i  digits
/^UPPER$/i   upper-exactly
/a\<b/  never
/dollar/  cost $$5
"""
_REGEXP_KEYS = [
    *("joe@mail.example.com", "owner-x@list.org", "xy@list.org", "ab@list.org", "tel123"),
    *("UPPER", "upper", "dollar", "JOE@MAIL.EXAMPLE.COM", "nothing"),
]
_CIDR = """
192.0.2.0/24  net
192.0.2.7     never, the net was first
!198.51.100.0/24  outside
198.51.100.9 one
2001:db8::/32 six
"""
_CIDR_KEYS = ["192.0.2.7", "198.51.100.9", "10.0.0.1", "2001:db8::1", "not-an-address"]


def _ours(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Our postmap, within this process: starting a Python for each would take most of the time."""
    output, errors = io.StringIO(), io.StringIO()
    given = io.TextIOWrapper(io.BytesIO(stdin.encode()))
    with (
        redirect_stdout(output),
        redirect_stderr(errors),
        patch.object(sys, "stdin", given),
        patch.dict(os.environ, MAIL_CONFIG="/nonexistent"),
    ):
        status = main(list(arguments))
    return subprocess.CompletedProcess(arguments, status, output.getvalue(), errors.getvalue())


def _theirs(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    program = require("postmap", "postfix")
    return subprocess.run(
        [program, *arguments], input=stdin, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("tables") / "source"
    source.write_text(_SOURCE)
    assert _theirs(f"hash:{source}").returncode == 0
    assert _ours(f"hash:{source}").returncode == 0
    return source


@pytest.mark.parametrize("key", _KEYS)
@pytest.mark.parametrize("kind", ["hash", "texthash"])
def test_query(built: Path, kind: str, key: str) -> None:
    ours, theirs = (run("-q", key, f"{kind}:{built}") for run in (_ours, _theirs))
    assert (ours.stdout, ours.returncode) == (theirs.stdout, theirs.returncode)


def test_dump_holds_the_same(built: Path) -> None:
    ours, theirs = (run("-s", f"hash:{built}") for run in (_ours, _theirs))
    assert sorted(ours.stdout.split("\n")) == sorted(theirs.stdout.split("\n"))


def test_query_from_standard_input(built: Path) -> None:
    keys = "\n".join(key for key in _KEYS if key) + "\n"
    ours, theirs = (run("-q", "-", f"hash:{built}", stdin=keys) for run in (_ours, _theirs))
    assert ours.stdout == theirs.stdout
    assert ours.returncode == theirs.returncode == 0


@pytest.mark.parametrize(
    ("kind", "rules", "keys"),
    [("regexp", _REGEXP, _REGEXP_KEYS), ("cidr", _CIDR, _CIDR_KEYS)],
)
def test_patterns(tmp_path: Path, kind: str, rules: str, keys: list[str]) -> None:
    path = tmp_path / kind
    path.write_text(rules)
    for key in keys:
        ours, theirs = (run("-q", key, f"{kind}:{path}") for run in (_ours, _theirs))
        assert (ours.stdout, ours.returncode) == (theirs.stdout, theirs.returncode), key


def test_add_delete_and_duplicates(tmp_path: Path) -> None:
    for run in (_ours, _theirs):
        source = tmp_path / run.__name__
        source.write_text("a 1\nb 2\n")
        table = f"hash:{source}"
        run(table)
        assert "duplicate entry" in run("-i", table, stdin="a 9\nc 3\n").stderr
        assert run("-q", "a", table).stdout == "1\n"
        assert run("-q", "c", table).stdout == "3\n"
        run("-i", "-r", table, stdin="a 9\n")
        assert run("-q", "a", table).stdout == "9\n"
        assert run("-d", "a", table).returncode == 0
        assert run("-d", "a", table).returncode == 1
        assert run("-q", "a", table).returncode == 1


_AWKWARD = b"""\
k v
K2  v2
k dup
"q r"@x  z
  cont
#c
noval
alias: x
\\ esc y
"unbal x
x"y z"w q
k3   \tv3  \t\r
a\0b c
\xff\xfe x
"""


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (["hash:t"], ""),
        (["t"], ""),
        (["-w", "hash:t"], ""),
        (["-r", "hash:t"], ""),
        (["-f", "hash:t"], ""),
        (["-q", "k", "texthash:none", "hash:t"], ""),
        (["-q", "x", "static:{a b}", "texthash:t"], ""),
        (["-q", "k", "inline:{{K = x  y}, j=z}"], ""),
        (["-q", "root", "unix:passwd.byname"], ""),
        (["-q", "k", "fail:x"], ""),
        (["-q", "k", "nosuch:x"], ""),
        (["-q", "-", "hash:t"], ""),
        (["-s", "texthash:t"], ""),
        (["-s", "texthash:none"], ""),
        (["-s", "regexp:r"], ""),
        (["-s", "inline:{a=b, {c = d}}"], ""),
        (["-d", "k", "texthash:t"], ""),
        (["-d", "-", "hash:t"], "k\nnope\n"),
        (["nofile"], ""),
        (["hash:nofile"], ""),
        (["texthash:t"], ""),
        (["regexp:r"], ""),
        (["-i", "hash:new"], "a 1\nb 2\nq"),
        (["-q"], ""),
        ([], ""),
        (["-Z"], ""),
    ],
)
def test_output_and_status(tmp_path: Path, arguments: list[str], stdin: str) -> None:
    """The same files and arguments: the same lines on standard output, the same exit status,
    and then the same table."""
    results = []
    for run in (_ours, _theirs):
        folder = tmp_path / run.__name__
        folder.mkdir()
        (folder / "t").write_bytes(_AWKWARD)
        (folder / "r").write_text("/a/ b\n")
        before = os.getcwd()
        os.chdir(folder)
        try:
            run("hash:t")
            done = run(*arguments, stdin=stdin)
            table = "hash:new" if "hash:new" in arguments else "hash:t"
            after = run("-s", table)
        finally:
            os.chdir(before)
        results.append(
            (sorted(done.stdout.split("\n")), done.returncode, sorted(after.stdout.split("\n")))
        )
    assert results[0] == results[1]
