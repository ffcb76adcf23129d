"""Indexed files: replaced under a reader, shared, missing, damaged in every way."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest
from twisted.internet.task import Clock

from gatewayd.errors import TableError
from gatewayd.maillog import capture
from gatewayd.tables.build import Builder, BuildError
from gatewayd.tables.indexed import IndexedTable
from gatewayd.tables.source import Entry


def ask(table: IndexedTable, key: str) -> str | None:
    """What a look-up gives; it never waits."""
    with pytest.raises(StopIteration) as end:
        table.lookup(key).send(None)
    value: str | None = end.value.value
    return value


def build(source: Path, **pairs: str) -> None:
    source.touch()
    Builder(str(source)).build([Entry(key, value, 0) for key, value in pairs.items()])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "map"
    build(path, key="one", other="two")
    return path


@pytest.fixture
def table(source: Path) -> IndexedTable:
    return unremembering(f"hash:{source}", str(source))


def unremembering(name: str, source: str) -> IndexedTable:
    """A table whose answers are too old by the next look-up."""
    return IndexedTable(name, source, itertools.count().__next__)


def test_answers_are_remembered_for_a_moment(source: Path) -> None:
    """A burst of look-ups reads the file once; a replacement is seen a tenth of a second later."""
    clock = Clock()
    table = IndexedTable("", str(source), clock.seconds)
    assert [ask(table, key) for key in ("key", "none")] == ["one", None]
    build(source, key="new", none="now there")
    clock.advance(0.09)
    assert [ask(table, key) for key in ("key", "none")] == ["one", None]
    clock.advance(0.02)
    assert [ask(table, key) for key in ("key", "none")] == ["new", "now there"]
    clock.advance(-5)
    build(source, key="newer")
    assert ask(table, "key") == "newer"
    for number in range(2500):
        ask(table, str(number))
    assert len(table._answers) <= 1000


def test_keys_are_folded(table: IndexedTable) -> None:
    """ASCII letters in any case; an empty or endless key isn't there."""
    assert ask(table, "KEY") == "one"
    for absent in ("ke", "", "x" * 511, "x" * 5000, "\u212aey"):
        assert ask(table, absent) is None


def test_replaced(source: Path, table: IndexedTable) -> None:
    """A new file is seen by the next look-up, without reload."""
    assert ask(table, "key") == "one"
    build(source, key="new")
    assert ask(table, "key") == "new"
    assert ask(table, "other") is None


def test_shared(source: Path, table: IndexedTable) -> None:
    """Several users of one file, of its links too, and of its successor."""
    link = source.with_name("link")
    os.link(f"{source}.lmdb", f"{link}.lmdb")
    others = [unremembering("", str(source)), unremembering("", str(link))]
    assert [ask(each, "key") for each in (table, *others)] == ["one"] * 3
    table.close()
    assert ask(others[0], "key") == "one"
    build(source, key="new")
    assert [ask(each, "key") for each in (table, *others)] == ["new", "new", "one"]
    for each in (table, *others):
        each.close()
        assert ask(each, "other") in ("two", None)


def test_missing_and_back(source: Path, table: IndexedTable) -> None:
    """No file is no answer, and says what to do; once it's built, it answers."""
    os.unlink(f"{source}.lmdb")
    with pytest.raises(TableError, match=r"No such file.*postmap hash:"):
        ask(table, "key")
    build(source, key="back")
    assert ask(table, "key") == "back"
    os.unlink(f"{source}.lmdb")
    with pytest.raises(TableError):
        ask(table, "key")


def test_older_than_its_source(source: Path, table: IndexedTable) -> None:
    """A source that was changed and not built is worth a warning, once."""
    os.utime(source, (4e9, 4e9))
    with capture() as lines:
        ask(table, "key")
        ask(table, "key")
    assert str(lines).count("is older than source file") == 1


@pytest.mark.parametrize("size", [0, 1, 100, 4096, 8192, 12287, 12288])
def test_cut_short(source: Path, table: IndexedTable, size: int) -> None:
    """A file cut short, also while it's open, is an error and not the end of the process."""
    ask(table, "key")
    path = f"{source}.lmdb"
    assert os.stat(path).st_size > 12288
    os.truncate(path, size)
    if size == 12288:
        # All pages are there and only the seal is gone: as good as Postfix's own.
        assert ask(table, "key") == "one"
        return
    with pytest.raises(TableError):
        ask(table, "key")
    build(source, key="again")
    assert ask(table, "key") == "again"


def test_damaged(source: Path) -> None:
    """One octet changed anywhere is an error, and never the end of the process."""
    path = Path(f"{source}.lmdb")
    whole = path.read_bytes()
    chance = random.Random(1)
    for place in (0, 24, 4096, *(chance.randrange(len(whole) - 26) for _ in range(100))):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(TableError):
            ask(unremembering("", str(source)), "key")
    path.write_bytes(b"text\n" * 5000)
    with pytest.raises(TableError):
        ask(unremembering("", str(source)), "key")


def test_folder_and_forbidden(tmp_path: Path) -> None:
    """A folder in the file's place is an error."""
    (tmp_path / "map.lmdb").mkdir()
    with pytest.raises(TableError):
        ask(unremembering("", str(tmp_path / "map")), "key")


def test_postfix_file(tmp_path: Path) -> None:
    """A file as Postfix's lmdb makes it: keys and values end in a zero octet."""
    source = tmp_path / "map"
    environment = lmdb.open(f"{source}.lmdb", subdir=False, lock=False)
    with environment.begin(write=True) as transaction:
        transaction.put(b"key\0", b"value\0")
        transaction.put(b"bare", b"without")
    environment.close()
    table = unremembering("", str(source))
    assert (ask(table, "key"), ask(table, "bare")) == ("value", "without")
    table.close()
    assert dict(Builder(str(source)).entries()) == {"key": "value", "bare": "without"}


def test_growth(tmp_path: Path) -> None:
    """Many entries: the file is as large as it needs to be."""
    source = tmp_path / "map"
    build(source, **{f"user{n}@example.com": "x" * 50 for n in range(40000)})
    table = unremembering("", str(source))
    assert ask(table, "user39999@example.com") == "x" * 50


def test_owner_and_mode(source: Path) -> None:
    """The file is as readable as its source, and nothing is left beside it."""
    source.chmod(0o640)
    os.unlink(f"{source}.lmdb")
    build(source, key="x")
    assert os.stat(f"{source}.lmdb").st_mode & 0o777 == 0o640
    assert sorted(each.name for each in source.parent.iterdir()) == ["map", "map.lmdb"]


def test_failed_build_leaves_the_old(source: Path, table: IndexedTable) -> None:
    """A build that fails changes nothing."""
    with pytest.raises(BuildError, match="511"):
        Builder(str(source)).build([Entry("k" * 600, "x", 1)])
    assert ask(table, "key") == "one"


def test_killed_while_building(source: Path, table: IndexedTable) -> None:
    """However postmap ends, the table is the old one or the new one."""
    source.write_text("".join(f"k{n} v\n" for n in range(30000)) + "key new\n")
    command = [sys.executable, "-m", "gatewayd.cli.gatewayctl", "postmap", f"hash:{source}"]
    for seconds in (0.2, 0.3, 0.4, 0.5):
        with subprocess.Popen(command) as process:
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
        assert ask(table, "key") in ("one", "new")
    assert subprocess.run(command, check=False).returncode == 0
    assert ask(table, "key") == "new"
