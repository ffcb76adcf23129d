"""postsuper -s: a damaged queue is made sound, with all that can be read of it."""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from gatewayd.errors import StoreError
from gatewayd.queue.records import Selection, State
from gatewayd.queue.salvage import Salvaged, salvage
from gatewayd.queue.sqlite_store import SqliteStore
from tests.fakes.mail import mail
from tests.gateway_process import GatewayProcess
from tests.mail_load import LARGE, arrive, send
from tests.mail_sink import mail_sink
from tests.peers import free_port
from tests.queue.stores import listed, using

_COUNT = 120


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A queue of many pages, with some contents in files of their own, and in a segment."""
    folder = tmp_path_factory.mktemp("whole")

    async def fill(store: SqliteStore) -> None:
        for number in range(_COUNT):
            message = mail(f"A{number:04}", f"u@{'site' * 30}.example", content=b"c" * 3000)
            if number % 10 == 0:
                incoming = store.incoming()
                incoming.write(b"x" * (40_000 if number % 20 else 20_000))
                message = replace(message, content=incoming.finish())
            await store.put(message, False)

    using(folder, fill, file_threshold=30_000)
    return folder


def _copy(whole: Path, folder: Path) -> Path:
    (folder / "content").mkdir(parents=True)
    for path in [whole / "queue.db", *(whole / "content").iterdir()]:
        (folder / path.relative_to(whole)).write_bytes(path.read_bytes())
    return folder / "queue.db"


def _damaged(whole: Path, folder: Path, chance: random.Random) -> None:
    """Octets overwritten, and sometimes a whole page, but for the first, which has the schema."""
    path = _copy(whole, folder)
    octets = bytearray(path.read_bytes())
    for _ in range(chance.randrange(1, 8)):
        at = chance.randrange(4096, len(octets))
        octets[at : at + 16] = chance.randbytes(16)
    if chance.random() < 0.5:
        page = chance.randrange(1, len(octets) // 4096) * 4096
        octets[page : page + 4096] = bytes(4096)
    path.write_bytes(octets)


def _states(folder: Path) -> dict[str, State]:
    """After everything has been leased once, so that what isn't whole is set aside."""

    async def look(store: SqliteStore) -> dict[str, State]:
        while messages := await store.lease_due(1.0, 50):
            for message in messages:
                await message.content.read(0, message.size)
        return {each.queue_id: each.state for each in await listed(store, Selection())}

    return using(folder, look)


@pytest.mark.parametrize("case", range(25))
def test_random_damage(whole: Path, tmp_path: Path, case: int) -> None:
    """Whatever was overwritten: afterwards the queue is sound, and most of it is there."""
    _damaged(whole, tmp_path, random.Random(case))
    done = salvage(str(tmp_path))
    with closing(sqlite3.connect(tmp_path / "queue.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    states = _states(tmp_path)
    if done is None:
        assert len(states) == _COUNT
        return
    assert done.saved == len(states)
    assert done.saved + done.lost <= _COUNT + 5
    assert done.saved > _COUNT // 2
    kept = Path(done.kept)
    assert (kept / "queue.db").exists()
    files = len(os.listdir(tmp_path / "content")) + len(os.listdir(kept))
    assert files >= _COUNT // 20


def test_a_sound_queue_is_left_alone(whole: Path, tmp_path: Path) -> None:
    path = _copy(whole, tmp_path)
    before = path.read_bytes()
    assert salvage(str(tmp_path)) is None
    assert path.read_bytes() == before


def test_what_cannot_be_read_at_all(whole: Path, tmp_path: Path) -> None:
    """It stays as it is: an empty queue in its place would help nobody."""
    path = _copy(whole, tmp_path)
    octets = path.read_bytes()
    for damaged in (b"\xff" * 10_000, octets[:100] + bytes(3996) + octets[4096:]):
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match=r"nothing of it can be read .* move it away"):
            salvage(str(tmp_path))
        assert path.read_bytes() == damaged


def test_queue_ids_go_on(whole: Path, tmp_path: Path) -> None:
    """Even if the numbers are gone, none is given twice."""
    path = _copy(whole, tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        (greatest,) = connection.execute("SELECT max(number) FROM message").fetchone()
        connection.execute("DELETE FROM meta")
        connection.commit()
    with pytest.raises(StoreError, match="postsuper -s"):
        using(tmp_path, lambda store: store.totals())
    assert salvage(str(tmp_path)) == Salvaged(_COUNT, 0, str(tmp_path / "damaged-1"))

    async def number(store: SqliteStore) -> int:
        return int(store.new_queue_id(0.0)[5:], 16)

    assert using(tmp_path, number) > greatest


def test_the_command(tmp_path: Path) -> None:
    """As the advice says: stop, postsuper -s, start; what could be read is delivered."""
    port = free_port()
    ours = GatewayProcess(tmp_path / "gateway", f"example.com smtp:[127.0.0.1]:{port}\n")
    ours.start()
    marks = {f"mark-{number}" for number in range(20)}
    for mark in marks:
        assert send(ours.port, mark, LARGE if mark == "mark-7" else 100) == 250
    ours.stop()
    path = tmp_path / "gateway" / "queue" / "queue.db"
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT rootpage FROM sqlite_schema WHERE name = 'message_by_lease'"
        (page,) = connection.execute(query).fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    down = ours.daemon("foreground")
    assert 'run "gatewayctl postsuper -s"' in down.stderr
    mended = ours.ctl("postsuper", "-s")
    assert (mended.returncode, "20 messages salvaged, 0 lost" in mended.stderr) == (0, True)
    assert "no damage found" in ours.ctl("postsuper", "-s").stderr
    ours.start()
    with mail_sink(port) as sink:
        ours.ctl("postqueue", "-f")
        arrive(sink, marks)
    ours.stop()
