"""The maildrop file form: what goes in comes out, and nothing hostile comes out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.receive.maildrop import (
    MaildropError,
    MaildropRefused,
    Submission,
    decode_head,
    drop,
    encode_head,
    wire_form,
)
from gatewayd.receive.maildrop_folder import MaildropFolder

_TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)
_SUBMISSIONS = st.builds(
    Submission,
    sender=_TEXT,
    recipients=st.lists(_TEXT, min_size=1, max_size=4).map(tuple),
    user_id=st.integers(-1, 1 << 32),
    full_name=_TEXT,
    notify=st.sampled_from(["", "NEVER", "FAILURE", "DELAY,SUCCESS"]),
    envid=_TEXT,
    ret=st.sampled_from(["", "FULL", "HDRS"]),
    body=st.sampled_from(["", "7BIT", "8BITMIME"]),
    smtputf8=st.booleans(),
    arrival=st.floats(0, 1e12),
    size=st.integers(0, 1 << 40),
)


@given(_SUBMISSIONS)
def test_a_submission_survives_its_file(submission: Submission) -> None:
    """One line, and the same again; its length doesn't depend on the size."""
    line = encode_head(submission)
    assert line.index(b"\n") == len(line) - 1
    assert decode_head(line) == submission
    empty = Submission("", ("a",))
    assert len(encode_head(empty)) == len(encode_head(Submission("", ("a",), size=1 << 40)))


@given(st.binary() | st.text().map(str.encode))
def test_any_line_is_a_submission_or_an_error(line: bytes) -> None:
    """Never another exception."""
    try:
        decode_head(line)
    except MaildropError:
        return


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
_FIELDS = list(Submission.__slots__)


@given(st.dictionaries(st.sampled_from(_FIELDS), _JSON))
def test_any_values_are_a_submission_or_an_error(fields: dict[str, object]) -> None:
    """What is accepted has the right types and no control characters."""
    record = {"version": 1, "recipients": ["a"], **fields}
    try:
        submission = decode_head(json.dumps(record).encode())
    except MaildropError:
        return
    assert all(isinstance(each, str) and each.isprintable() for each in submission.recipients)
    assert isinstance(submission.size, int)
    assert submission.size >= 0


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"recipients": []},
        {"recipients": "a@b"},
        {"recipients": ["a\r\nRCPT TO:<b>"]},
        {"recipients": [1]},
        {"sender": "a\0b"},
        {"sender": None},
        {"full_name": "a\nBcc: b"},
        {"notify": "NEVER,DELAY"},
        {"notify": "SOMETIMES"},
        {"ret": "full"},
        {"body": "BINARYMIME"},
        {"size": -1},
        {"size": True},
        {"size": 1e300},
        {"size": float("nan")},
        {"arrival": "now"},
    ],
)
def test_wrong_values_are_refused(change: dict[str, object]) -> None:
    """Each of them alone."""
    record = json.loads(encode_head(Submission("a@b", ("c@d",))))
    decode_head(json.dumps(record).encode())
    with pytest.raises(MaildropError):
        decode_head(json.dumps(record | change).encode())


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (b"", b""),
        (b"a\nb\n", b"a\r\nb\r\n"),
        (b"a\r\nb\r\n", b"a\r\nb\r\n"),
        (b"a\nb", b"a\r\nb\r\n"),
        (b"a\rb\r\r\n", b"a b \r\n"),
        (b"a\r", b"a\r\n"),
        (b"\n.\n", b"\r\n.\r\n"),
        (b"\r", b"\r\n"),
    ],
)
def test_wire_form_at_every_split(given_: bytes, expected: bytes) -> None:
    """CRLF everywhere and no CR or LF alone."""
    for a in range(len(given_) + 1):
        for b in range(a, len(given_) + 1):
            assert b"".join(wire_form([given_[:a], given_[a:b], given_[b:]])) == expected


def test_a_dropped_file_is_read_as_it_was(tmp_path: Path) -> None:
    """Content in pieces, owner and time of the file; nothing else is left in the folder."""
    pieces = [b"Subject: x\r\n", b"\r\n", b"z" * 200_000 + b"\r\n"]
    name = drop(str(tmp_path), Submission("ann@b", ("joe@c",), user_id=99), iter(pieces))
    assert os.listdir(tmp_path) == [name]
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o640
    folder = MaildropFolder(str(tmp_path), str(tmp_path / "corrupt"))
    assert folder.names((), 9) == [name]
    assert folder.names({name}, 9) == []
    dropped = folder.open(name)
    assert dropped is not None
    with dropped.file:
        assert b"".join(dropped.pieces) == b"".join(pieces)
    assert dropped.submission.sender == "ann@b"
    assert dropped.user_id == os.geteuid()
    folder.remove(name)
    assert folder.open(name) is None


def test_a_drop_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Too big, an error in the source, no folder: an exit status, and no file."""
    with pytest.raises(MaildropRefused, match="too big") as refused:
        drop(str(tmp_path), Submission("a", ("b",)), [b"123", b"456"], 5)
    assert refused.value.exit_status == 69
    drop(str(tmp_path), Submission("a", ("b",)), [b"12345"], 5)

    def broken() -> Iterator[bytes]:
        yield b"1"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drop(str(tmp_path), Submission("a", ("b",)), broken())
    assert len(os.listdir(tmp_path)) == 1
    with pytest.raises(MaildropRefused) as refused:
        drop(str(tmp_path / "missing"), Submission("a", ("b",)), [])
    assert refused.value.exit_status == 75
    with pytest.raises(MaildropRefused) as refused:
        drop(str(tmp_path), Submission("a", ("b" * 100,) * 20_000), [])
    assert refused.value.exit_status == 65


def _folder(tmp_path: Path) -> MaildropFolder:
    (tmp_path / "maildrop").mkdir()
    return MaildropFolder(str(tmp_path / "maildrop"), str(tmp_path / "corrupt"))


def test_hostile_files_are_no_submissions(tmp_path: Path) -> None:
    """Links, pipes, folders, cut and grown files: an error, and no wait."""
    folder = _folder(tmp_path)
    drops = tmp_path / "maildrop"
    good = drop(str(drops), Submission("a", ("b",)), [b"x\r\n"])
    octets = (drops / good).read_bytes()
    (tmp_path / "secret").write_bytes(octets)
    (drops / "symlink").symlink_to(tmp_path / "secret")
    (drops / "dangling").symlink_to(tmp_path / "nothing")
    os.link(tmp_path / "secret", drops / "hardlink")
    os.mkfifo(drops / "pipe")
    (drops / "folder").mkdir()
    (drops / "empty").write_bytes(b"")
    (drops / "short").write_bytes(octets[:-1])
    (drops / "long").write_bytes(octets + b"more")
    (drops / "headless").write_bytes(octets.rstrip(b"\r\nx"))
    (drops / "endless").write_bytes(b"[" * (1 << 21))
    names = set(folder.names((), 99)) - {good}
    assert len(names) == 10
    for name in names:
        with pytest.raises(MaildropError):
            folder.open(name)
        folder.set_aside(name)
    assert folder.names((), 99) == [good]
    assert set(os.listdir(tmp_path / "corrupt")) == names
    (drops / "empty").write_bytes(b"")
    folder.set_aside("empty")
    assert len(os.listdir(tmp_path / "corrupt")) == len(names) + 1


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    """Is an error, not a shorter message."""
    folder = _folder(tmp_path)
    drops = tmp_path / "maildrop"
    name = drop(str(drops), Submission("a", ("b",)), [b"x" * 300_000])
    dropped = folder.open(name)
    assert dropped is not None
    with dropped.file:
        next(dropped.pieces)
        os.truncate(drops / name, 70_000)
        with pytest.raises(MaildropError, match="shorter"):
            list(dropped.pieces)


def test_abandoned_files_are_swept(tmp_path: Path) -> None:
    """What a killed command left goes after a day; what is being written stays."""
    folder = _folder(tmp_path)
    drops = tmp_path / "maildrop"
    (drops / ".old").touch()
    os.utime(drops / ".old", (0, 0))
    (drops / ".new").touch()
    assert folder.names((), 9) == []
    assert os.listdir(drops) == [".new"]


def test_the_command_side_imports_little() -> None:
    """The sendmail command must not pay for Twisted."""
    code = "import sys, gatewayd.receive.maildrop; print(*sorted(sys.modules))"
    run = [sys.executable, "-c", code]
    modules = subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()
    assert not {"twisted", "zope", "asyncio", "email", "lmdb"} & {m.split(".")[0] for m in modules}
