"""Every queue that a version of gatewayd has left is read in full by this one (G25)."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gatewayd.errors import StoreError
from gatewayd.queue.schema import VERSION
from tests.queue.queue_samples import OLD_QUEUES, load, read_all
from tests.queue.stores import using

_SAMPLES = sorted(path.name for path in OLD_QUEUES.iterdir())


def _schema(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"
        return [row[0] for row in connection.execute(query)]


def _lacks(expected: Any, found: Any, where: str) -> list[str]:
    """Where ``found`` hasn't what is expected; it may have more."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return [
            each
            for key, value in expected.items()
            for each in _lacks(value, found.get(key), f"{where}.{key}")
        ]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = zip(expected, found, strict=True)
        return [
            each
            for place, (one, other) in enumerate(pairs)
            for each in _lacks(one, other, f"{where}[{place}]")
        ]
    return [] if expected == found else [f"{where}: {found!r} instead of {expected!r}"]


@pytest.mark.parametrize("version", _SAMPLES)
def test_all_of_it_is_read(tmp_path: Path, version: str) -> None:
    load(OLD_QUEUES / version, tmp_path)
    expected = json.loads((OLD_QUEUES / version / "expected.json").read_text())
    found = read_all(tmp_path)
    assert set(found) == set(expected)
    assert _lacks(expected, found, "queue") == []


def test_this_version_has_its_sample() -> None:
    assert str(VERSION) in _SAMPLES


def test_the_schema_is_that_of_its_version(tmp_path: Path) -> None:
    """Who changes the tables must change the version, and say how older queues become new."""
    (tmp_path / "new").mkdir()
    using(tmp_path / "new", lambda store: store.totals())
    (tmp_path / "old").mkdir()
    load(OLD_QUEUES / str(VERSION), tmp_path / "old")
    assert _schema(tmp_path / "new" / "queue.db") == _schema(tmp_path / "old" / "queue.db")


def test_a_newer_queue_is_refused(tmp_path: Path) -> None:
    """And left as it is."""
    load(OLD_QUEUES / str(VERSION), tmp_path)
    with closing(sqlite3.connect(tmp_path / "queue.db")) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(StoreError, match="written by a newer one"):
        using(tmp_path, lambda store: store.totals())
    with closing(sqlite3.connect(tmp_path / "queue.db")) as connection:
        assert connection.execute("SELECT count(*) FROM message WHERE lease <> 0").fetchone()[0]
