"""A bound on what look-ups in expressions may cost."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

import pytest

from gatewayd.errors import TableError
from gatewayd.maillog import capture
from gatewayd.tables import rules
from gatewayd.tables.open import open_table
from gatewayd.tables.time_limit import OutOfTime, ProcessorTimeLimit

_ENDLESS = re.compile("^(a+)+$")
_SUBJECT = "a" * 60 + "!"


def test_an_expression_that_would_take_for_ever_is_ended() -> None:
    start = time.process_time()
    with pytest.raises(OutOfTime), ProcessorTimeLimit(0.05):
        _ENDLESS.search(_SUBJECT)
    assert time.process_time() - start < 2


def test_nothing_happens_in_time_or_afterwards() -> None:
    limit = ProcessorTimeLimit(0.05)
    with limit:
        assert re.search("b", "abc")
    with pytest.raises(ValueError, match="own"), limit:
        raise ValueError("own")
    end = time.process_time() + 0.15
    while time.process_time() < end:
        pass
    with limit:
        assert re.search("b", "abc")


def test_other_threads_are_left_alone() -> None:
    """They get no signals: there nothing is bounded, and the main thread isn't disturbed."""
    seen: list[object] = []

    def search() -> None:
        with ProcessorTimeLimit(0.01):
            seen.append(re.search("b", "ab" * 100_000))

    thread = threading.Thread(target=search)
    thread.start()
    thread.join()
    assert seen[0]


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [("regexp", "/^(a+)+$/"), ("regexp", "/^(a|aa)+$/"), ("pcre", r"/^(\w+\s?)*$/")],
)
def test_a_look_up_that_takes_too_long_answers_try_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, pattern: str
) -> None:
    """Never "not found"; the log names the table and the line, for somebody to mend it."""
    monkeypatch.setattr(rules, "_TIME_LIMIT", ProcessorTimeLimit(0.05))
    path = tmp_path / "rules"
    path.write_text(f"/^b/ fine\n# comment\n{pattern} slow\n/./ last\n")
    table = open_table(f"{kind}:{path}")
    with capture() as log, pytest.raises(TableError, match=r"rules, line 3: .* too long"):
        table.lookup(_SUBJECT).send(None)
    assert len(log) == 1
    assert "line 3" in log[0]
    for key, value in (("bcd", "fine"), ("!?", "last")):
        with pytest.raises(StopIteration) as end:
            table.lookup(key).send(None)
        assert end.value.value == value


def test_a_table_without_rules_finds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "rules"
    path.write_text("# none\n")
    with pytest.raises(StopIteration) as end:
        open_table(f"regexp:{path}").lookup("a").send(None)
    assert end.value.value is None
