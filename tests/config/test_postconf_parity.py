"""Our postconf beside Postfix's, on the same folder: what is shown, and what a file becomes."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from gatewayd.cli.postconf import main
from tests.peers import require

_MAIN = """\
# comment
compatibility_level = 3.6
myhostname = a.example.org
foo = bar
   # inner
   baz   qux
used = x
relayhost = [$used]:25
\t, more     stuff
smtpd_timeout = ${stress?{10}:{300}}s
unknown_thing = 1
mydomain=${{$foo} == {bar}?{a}:{b}}
foo = two
empty =
# The transport below is not in master.cf, nor is this one's:
nope_destination_rate_delay = 5
od_destination_rate_delay = 5
mynetworks = 127.0.0.0/8, 10.0.0.0/8, 192.168.0.0/16, 172.16.0.0/12, 198.51.100.0/24, 203.0.113.0/24
transport_maps = aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bb cc
relay_domains = inline:{{a b}=c, d = e} {x , y}
virtual_alias_maps =
default_rbl_reply = $rbl_code listed${rbl_reason?; $rbl_reason}

# end
"""

_MASTER = """\
smtp      inet  n       -       y       -       -       smtpd
   -o smtpd_timeout=20
   -o { smtpd_banner = hello   world  }
   -o my_x=$used
   -o smtpd_client_restrictions=$my_y
od        unix  -       -       n       -       -       smtp
pickup    unix  n       -       y       60      1       pickup
# Postfix puts a comment behind a service before it when it changes the service; we leave it.
uucp      unix  -       n       n       -       -       pipe
  flags=Fqhu user=uucp argv=uux -r -n -z -a$sender - $nexthop!rmail ($recipient)
relay  unix - - y - - smtp -o syslog_name=postfix/$service_name
ab6      unix  n       -       y       -       -       pipe aaaa bbbbbbbb cc dddd -o x={a b} {  a  }
lo\tunix\t-\tn\tn\t-\t1\tlocal -v -o a=b
  flags=x user=y
a_very_long_service_name_here      inet  n       -       y       -       -       smtpd
"""


_OUR_SUFFIX = "_destination_slow_line_concurrency_limit"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    _write(tmp_path, _MAIN)
    dynamic = Path("/etc/postfix/dynamicmaps.cf")
    if dynamic.exists():
        shutil.copy(dynamic, tmp_path)
    return tmp_path


def _write(folder: Path, main_cf: str) -> None:
    """Both files, old enough that Postfix doesn't wait for their writer to get ready."""
    folder.mkdir(exist_ok=True)
    for name, text in (("main.cf", main_cf), ("master.cf", _MASTER)):
        (folder / name).write_text(text)
        os.utime(folder / name, (1, 1))


def _theirs(folder: Path, *arguments: str) -> tuple[int, str]:
    program = require("postconf", "postfix")
    done = subprocess.run(
        [program, "-c", str(folder), *arguments], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout


def _ours(folder: Path, *arguments: str) -> tuple[int, str]:
    """Without the only suffix of transports that Postfix doesn't have."""
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(io.StringIO()):
        status = main(["-c", str(folder), *arguments])
    lines = out.getvalue().splitlines(keepends=True)
    return status, "".join(each for each in lines if _OUR_SUFFIX not in each)


@pytest.mark.parametrize(
    "arguments",
    [
        *("-n", "-nx", "-nf", "-nxf", "-nh", "-nH", "-pn", "-n relayhost default_privs"),
        *("-h myhostname foo nosuch", "-x smtpd_timeout relayhost", "-xh relayhost", "myorigin"),
        *("-o relayhost=z relayhost", "-x -o used=9 relayhost", "-C user", "-C service -n"),
        *(
            "-C service",
            "-C builtin -n",
            "-d relayhost od_recipient_limit",
            "-d -x od_recipient_limit",
        ),
        "od_destination_rate_delay od_recipient_limit uucp_time_limit od_time_limit",
        *("-M", "-Mf", "-Mx", "-Mxf", "-M smtp", "-M smtp/inet", "-M */unix", "-M nosuch/unix"),
        *("-F", "-Fx", "-Ff", "-FH", "-F smtp/inet", "-F smtp/inet/chroot", "-F */*/command"),
        *("-Fh smtp/inet/command", "-F nosuch"),
        *("-P", "-Px", "-Ph", "-PH", "-P smtp/inet/smtpd_timeout", "-P */*/smtpd_banner"),
        *("-P smtp/inet/nosuch", "-Pf"),
    ],
)
def test_shows_what_postfix_shows(folder: Path, arguments: str) -> None:
    words = arguments.split()
    assert _ours(folder, *words) == _theirs(folder, *words)


_FORMS = """\
${t?yes:no} ${t?{yes}:{no}} ${e?{yes}:{no}} ${t:no} ${e:no} ${t?lead}x ${t?{b}}x
${{$n}=={5}?{eq}:{ne}} ${{$n}<{$m}?{lt}:{ge}} ${{a$n}<{a$m}?{lt}:{ge}} ${{$n}>={$m}}x
${{$n}!={$m}}x $(t)$(e)$(n) $t.example a$$b$${t} ${nope}x ${{3.10}>level{3.9}?{new}:{old}}
${{3.10}>{3.9}?{new}:{old}} ${t?{${e?{1}:{${n?{deep}}}}}:{x}} ${e?{a}}x ${t:{a}}x
${{}=={}?{both}:{not}} ${{$t}=={text}?{same}} ${t?}x ${e:}x ${t?{a{b}c}:{d}}
${{05}=={5}?{num}:{str}} ${{-5}<{3}?{num}:{str}} $(t?{yes}:{no}) $(t?yes) ${t?a$(n)b}
${t?(}x a${t}b${t}c$t-d ${{1}==level{1.0}?{same}:{diff}} ${{3.6.1}<=level{3.6}?{le}:{gt}}
${{$n}<={5}:{gt}}x ${chain}${chain?{$chain}}
"""


def test_expands_as_postfix_does(folder: Path) -> None:
    values = "t = text\ne =\nn = 5\nm = 10\nchain = $t-$n\n"
    forms = _FORMS.split()
    named = "".join(f"p{at:02} = {form}\n" for at, form in enumerate(forms))
    used = " ".join(f"$p{at:02}" for at in range(len(forms)))
    spaced = "q1 = ${t? lead trail }x\nq2 = ${ t ? { a } : { b } }x\nq3 = ${t ?{yes} :{no}}\n"
    text = f"{values}{named}{spaced}relayhost = {used} $q1 $q2 $q3 $e $n $m\n"
    _write(folder, text)
    theirs = _theirs(folder, "-nx")
    assert theirs[1].count("\n") > len(forms)
    assert _ours(folder, "-nx") == theirs


_EDITS = [
    *(["-e", "foo=new  value", "bar = x"], ["-e", "foo="], ["relayhost=a b"], ["-e", "x=a=b"]),
    *(["-#", "foo"], ["-X", "foo"], ["-X", "nosuch"], ["-X", "relayhost"]),
    ["-#", "relayhost", "transport_maps"],
    *(["-Fe", "smtp/inet/chroot=n"], ["-F", "od/unix/chroot=n"], ["-Fe", "relay/unix/wakeup=5?"]),
    *(["-Pe", "smtp/inet/smtpd_timeout=30"], ["-Pe", "od/unix/a=b"], ["-PX", "smtp/inet/my_x"]),
    *(
        ["-PX", "smtp/inet/nosuch"],
        ["-MX", "uucp/unix"],
        ["-M#", "uucp/unix"],
        ["-MX", "smtp/inet"],
    ),
    [
        "-Me",
        "od/unix = od  unix n - - - 3 pipe flags=a argv=/bin/x {a b}",
        "new/unix=new unix - - n - - discard",
    ],
    *(["-Fe", "nosuch/inet/private=n"], ["-MX", "nosuch/unix"]),
]


@pytest.mark.parametrize("arguments", _EDITS, ids=" ".join)
def test_makes_of_the_files_what_postfix_makes(folder: Path, arguments: list[str]) -> None:
    other = folder / "other"
    _write(other, _MAIN)
    theirs = _theirs(folder, *arguments)
    assert _ours(other, *arguments) == theirs
    for name in ("main.cf", "master.cf"):
        assert (other / name).read_text() == (folder / name).read_text(), name


_REFUSED = [
    *("-C foo", "-dn", "-hH", "-M a/b/c", "-F smtp/inet/nofield", "-nM", "-z", "-MF", "-pM", "-hM"),
    *("-e", "-ef foo=bar", "-en foo=bar", "-d foo=bar", "-X relayhost=1", "-o a", "-e noequals"),
    *("-# foo=1", "-e =x", "-Fe smtp/inet/private=q", "-Fe smtp/inet/foo=q", "-MX", "-M# od"),
    *("-Me x/unix=x", "-Pe smtp/inet", "-Me x"),
]
_REFUSED_FILES = [
    *("noequals", "= 1", "a b = 1", "relayhost = $", "relayhost = $-", "relayhost = ${a-b}"),
    *("relayhost = ${a", "relayhost = $(a", "relayhost = ${}", "relayhost = ${used?{a} b}"),
    *("relayhost = ${{a}=b}", "relayhost = $circle\ncircle = $relayhost"),
]


def test_refuses_what_postfix_refuses(folder: Path) -> None:
    """All at once, since Postfix's sleeps for some seconds when it refuses."""
    cases = [(_MAIN, arguments.split()) for arguments in _REFUSED]
    cases += [(f"used = x\n{line}\n", ["-x", "relayhost"]) for line in _REFUSED_FILES]
    folders = []
    for at, (main_cf, _) in enumerate(cases):
        folders.append(folder / str(at))
        _write(folders[-1], main_cf)
    with ThreadPoolExecutor(len(cases)) as pool:
        theirs = list(pool.map(lambda at: _theirs(folders[at], *cases[at][1]), range(len(cases))))
    for at, (main_cf, arguments) in enumerate(cases):
        assert theirs[at] == (1, ""), (main_cf, arguments)
        assert _ours(folders[at], *arguments) == (1, ""), (main_cf, arguments)
        assert (folders[at] / "main.cf").read_text() == main_cf
        assert (folders[at] / "master.cf").read_text() == _MASTER
