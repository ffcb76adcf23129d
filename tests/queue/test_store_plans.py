"""Every question to the queue has its index: it costs the same of a short queue and of a long one.

What the store asks of SQLite is overheard. Each statement's plan may neither scan a table nor sort
more than a page; and each verb may take no more steps of SQLite's machine when ten times as much
of others' mail waits.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import gatherResults

from gatewayd.interfaces import IQueueStore
from gatewayd.message import Route
from gatewayd.queue import statements as sql
from gatewayd.queue.records import Deferral, Selection, Settlement, State
from tests.fakes.mail import mail, recipient
from tests.queue.stores import using

_FEW = 5
_STEP = 10
"""Instructions of SQLite's machine that are counted as one."""
_NOW = 1000.0
_connect = sqlite3.connect


class _Ear:
    """Hears every connection to SQLite that is made while it listens."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.steps = 0

    def connect(self, *arguments: Any, **more: Any) -> sqlite3.Connection:
        """In place of sqlite3.connect."""
        connection = _connect(*arguments, **more)
        connection.set_trace_callback(self.statements.append)
        connection.set_progress_handler(self._stepped, _STEP)
        return connection

    def _stepped(self) -> int:
        self.steps += 1
        return 0


async def _fill(store: IQueueStore, others: int) -> None:
    """Mail of others, and a few messages that can be told from it by any of their marks."""
    puts = []
    for number in range(others):
        name = f"O{number}"
        one = recipient(f"u{number}@other.example", "smtp:other.example")
        state = number % 4
        puts.append(store.put(mail(name, one, sender=f"s{number}@x.example", arrival=9e9), False))
        if state == 0 and number < 40:
            puts[-1].addCallback(lambda _, name=name: store.hold(Selection(queue_ids=(name,))))
    await gatherResults(puts)
    for number in range(_FEW):
        few = recipient("u@few.example", "slow:far.example")
        await store.put(mail(f"F{number}", few, sender="few@x.example", arrival=_NOW), False)


_FEW_IDS = Selection(queue_ids=("F0", "F1"))
_FEW_SITE = Selection(site="few.example")
_BY_MARK = {
    "ids": _FEW_IDS,
    "site": _FEW_SITE,
    "transport": Selection(transport="slow"),
    "nexthop": Selection(nexthop="far.example"),
    "sender": Selection(sender="few@x.example"),
    "site and nexthop": Selection(site="few.example", transport="slow", nexthop="far.example"),
    "sender and site": Selection(sender="few@x.example", site="few.example"),
}
_BY_STATE = {
    each.value: Selection(states=(each,)) for each in (State.ACTIVE, State.HOLD, State.CORRUPT)
}

Verb = Callable[[IQueueStore], Awaitable[Any]]


async def _settle(store: IQueueStore) -> None:
    [message] = await store.lease_due(_NOW, 1)
    number = message.recipients[0].number
    report = mail("REPORT", "s@x.example", sender="", arrival=9e9)
    why = Deferral(number, "4.2.0", "later")
    await store.settle(Settlement(message.queue_id, _NOW, (), (why,), _NOW + 1, notices=(report,)))


async def _release(store: IQueueStore) -> None:
    await store.release([each.queue_id for each in await store.lease_due(_NOW, 9)])


async def _operate(store: IQueueStore, selection: Selection) -> None:
    for verb in ("hold", "unhold", "expire", "requeue", "delete"):
        await getattr(store, verb)(selection)


def _verbs() -> dict[str, Verb]:
    verbs: dict[str, Verb] = {
        "put": lambda store: store.put(mail("NEW", "u@new.example", arrival=9e9), False),
        "lease_due": lambda store: store.lease_due(_NOW, 100),
        "next_due": lambda store: store.next_due(),
        "settle": _settle,
        "release": _release,
        "message": lambda store: store.message("F1"),
        "reroute": lambda store: store.reroute({"F1": {0: Route("smtp", "hub")}}),
        "totals": lambda store: store.totals(),
        "history": lambda store: store.history("F1"),  # type: ignore[attr-defined]
        "flush all, a page": lambda store: store.lease_selected(Selection(), 0, 10),
        "list all, a page": lambda store: store.listing(Selection(), 100, 10),
        "list a big site, a page": lambda store: store.listing(
            Selection(site="other.example"), 100, 10
        ),
        "flush a big transport, a page": lambda store: store.lease_selected(
            Selection(transport="smtp"), 100, 10
        ),
        "operate by state": lambda store: _operate(store, Selection(states=(State.HOLD,))),
    }
    for name, selection in _BY_MARK.items():
        verbs[f"flush by {name}"] = lambda store, chosen=selection: store.lease_selected(
            chosen, 0, 100
        )
        verbs[f"operate by {name}"] = lambda store, chosen=selection: _operate(store, chosen)
    for name, selection in {**_BY_MARK, **_BY_STATE}.items():
        verbs[f"list by {name}"] = lambda store, chosen=selection: store.listing(chosen, 0, 100)
    return verbs


_SHORT, _LONG = 150, 1500


@pytest.fixture(scope="module")
def queues(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """A queue with some mail of others, and one with ten times as much."""
    folders = {others: tmp_path_factory.mktemp("queue") for others in (_SHORT, _LONG)}
    for others, folder in folders.items():
        using(folder, lambda store, others=others: _fill(store, others))  # type: ignore[misc]
    return folders


def _overheard(queue: Path, folder: Path, verb: Verb) -> tuple[list[str], int]:
    """The statements of one verb on a copy of a queue, and what they cost."""

    async def measure(store: IQueueStore) -> tuple[list[str], int]:
        count, before = len(ear.statements), ear.steps
        await verb(store)
        return ear.statements[count:], ear.steps - before

    shutil.copytree(queue, folder)
    ear = _Ear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", ear.connect)
        return using(folder, measure)


def _parts(statements: list[str]) -> Iterator[str]:
    """The statements, with those that bulk.py makes one of."""
    for statement in statements:
        if statement.startswith("INSERT INTO bulk"):
            parts = (sql.INSERT_MESSAGES, sql.INSERT_RECIPIENTS, sql.INSERT_CONTENTS, *sql.REMOVE)
            yield from (re.sub(r"\?[0-9]?", "'[]'", part) for part in parts)
        else:
            yield statement


def _plans(folder: Path, statements: list[str]) -> Iterator[tuple[str, str]]:
    """(statement, line of its plan), but for those that only begin, end, or are a trigger's."""
    with closing(sqlite3.connect(folder / "queue.db")) as connection:
        for statement in _parts(statements):
            if re.match(r"SELECT|INSERT|UPDATE|DELETE", statement.lstrip()):
                for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}"):
                    yield statement, row[3]


_TABLES = r"(message|recipient|content|attempt|site|one)"
# What is sorted is a group's, a message's, or what is active.
_FEW_ROWS = re.compile(r"json_each|queue_id (IN|=)|\+number")


@pytest.mark.parametrize("name", _verbs())
def test_each_verb_has_its_index(tmp_path: Path, queues: dict[int, Path], name: str) -> None:
    verb = _verbs()[name]
    statements, short = _overheard(queues[_SHORT], tmp_path / "short", verb)
    _, long = _overheard(queues[_LONG], tmp_path / "long", verb)
    assert long <= 1.2 * short + 20, f"{short * _STEP} steps become {long * _STEP}"
    plans = list(_plans(tmp_path / "short", statements))
    assert plans, statements
    for statement, line in plans:
        # A partial index that holds only what is meant (active, held, due) may be walked.
        scans = re.search(rf"SCAN {_TABLES}\b", line) and "USING" not in line
        sorts = "TEMP B-TREE" in line and not _FEW_ROWS.search(statement)
        assert not scans, f"{line}\n{statement}"
        assert not sorts, f"{line}\n{statement}"
