"""The benchmarks' own arithmetic and page: what they tell must be what was measured."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import measured
from benchmarks.bench import Bench
from benchmarks.page import Done, page
from benchmarks.processes import cpu_seconds, family, memory, peak_memory
from benchmarks.row import Measured, Row, at_most, like_postfix, times
from benchmarks.works import Work

_BURN = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
_PARENT = f"""\
import subprocess, sys
subprocess.run([sys.executable, "-c", {_BURN!r}], check=True)
print("burnt", flush=True)
sys.stdin.read()
"""


def _row(ours: tuple[float, ...], theirs: tuple[float, ...], *, in_turn: bool = True) -> Row:
    return Row("w", "messages/s", Measured(ours), Measured(theirs), times(3), in_turn)


def test_rounds_in_turn_are_compared_with_each_other() -> None:
    """A machine that was slow in one round was slow for both."""
    assert _row((300.0, 30.0, 330.0), (100.0, 10.0, 100.0)).ratios == (3.0, 3.0, 3.3)
    assert not _row((300.0, 30.0, 330.0), (100.0, 10.0, 100.0)).is_missed
    assert _row((10.0,), (1.0, 2.0), in_turn=False).ratios == (5.0, 10.0)


@pytest.mark.parametrize(
    ("row", "is_missed"),
    [
        (_row((200.0, 400.0, 290.0), (100.0, 100.0, 100.0)), True),
        (Row("w", "s", Measured((0.3, 0.1, 0.1)), None, at_most(0.15, "s")), False),
        (Row("w", "s", Measured((0.2,)), Measured((0.1,)), like_postfix()), True),
        (Row("w", "s", Measured((9.0,)), Measured((0.1,))), False),
    ],
)
def test_goals(row: Row, is_missed: bool) -> None:
    assert row.is_missed is is_missed


def test_a_work_that_fails_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever ends it: an error, or a program that isn't there."""

    def broken(bench: Bench) -> list[Row]:
        pytest.skip("no smtp-sink here")

    def slow(bench: Bench) -> list[Row]:
        return [_row((1.0,), (1.0,))]

    bench = Bench(tmp_path)
    done = [
        measured(Work("broken", broken), bench),
        measured(Work("slow", slow, "Its own thoroughness."), bench),
    ]
    capsys.readouterr()
    text = page(done)
    assert "| w | `slow` | messages/s | 1 | 1 | 1.00 | – | ≥ 3 × Postfix | **no** |" in text
    assert "- `slow`: Its own thoroughness." in text
    assert "- `broken`: Skipped: no smtp-sink here" in text


def test_cpu_per_message_is_told_for_both() -> None:
    row = Row("w", "messages/s", Measured((9.0,), 0.0005), Measured((3.0,), 0.00125), times(3))
    assert "| 0.50 : 1.25 |" in page([Done(Work("w", lambda _: []), (row,))])


def test_the_cost_of_processes_counts_children() -> None:
    """Those that run, and those that have ended: Postfix's come and go."""
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "burnt\n"
        assert cpu_seconds(parent.pid) >= 0.25
        assert 1 < memory(parent.pid) <= peak_memory(parent.pid) < 1000
        assert parent.pid in family(os.getpid())
        parent.communicate("")
