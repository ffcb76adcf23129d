"""Every fuzz target for a moment, always with the same inputs; and the fuzzer itself."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz import __main__ as command
from tests.fuzz.inputs import TAIL, pieces, split
from tests.fuzz.mutation import Mutator
from tests.fuzz.running import Broken, Report, Target, TooSlow, load, minimised, names, run

_RUNS = 1000


@pytest.mark.parametrize("name", names())
def test_target(name: str) -> None:
    """Nothing breaks a promise, and not everything is refused at the door."""
    target = load(name)
    try:
        report = run(target, runs=_RUNS)
    except Broken as broken:
        pytest.fail(f"{name}: {broken}, by {broken.data!r}")
    assert report.inputs == _RUNS
    assert report.taken >= 3


def _target(check: Callable[[bytes], object]) -> Target:
    return Target("made-up", check, (b"GOOD seed", b"other"), (b"word", b"bad"))


def test_what_breaks_a_promise_is_found_and_made_small() -> None:
    def check(data: bytes) -> bool:
        assert b"bad" not in split(data)[0]
        return True

    target = _target(check)
    with pytest.raises(Broken) as found:
        run(target, runs=1000)
    assert isinstance(found.value.error, AssertionError)
    assert minimised(target, found.value.data)[:-TAIL] == b"bad"


def test_what_never_ends_is_found() -> None:
    """Also if the parser's own ``except`` takes all exceptions."""

    def check(data: bytes) -> bool:
        while b"seed" in data:
            try:
                sum(range(1000))
            except Exception:
                continue
        return True

    with pytest.raises(Broken) as found:
        run(_target(check), runs=10)
    assert isinstance(found.value.error, TooSlow)


def test_found_inputs_come_first_and_seeds_next() -> None:
    seen: list[bytes] = []
    target = Target("made-up", seen.append, (b"seed",), (), (b"found" + b"\0" * TAIL,))
    report = run(target, runs=3)
    assert (report.inputs, report.taken) == (3, 0)
    assert seen[0] == b"found" + b"\0" * TAIL
    assert [data[:-TAIL] for data in seen[1:]] == [b"seed", b""]


def test_a_seed_gives_the_same_inputs_again() -> None:
    def inputs(seed: int) -> list[bytes]:
        seen: list[bytes] = []
        run(_target(seen.append), runs=50, seed=seed)
        return seen

    assert inputs(1) == inputs(1)
    assert inputs(1)[5:] != inputs(2)[5:]


def test_time_ends_a_run() -> None:
    report = run(_target(lambda data: True), seconds=0.05)
    assert report.inputs == report.taken > 3
    assert "inputs in 0 s" in str(Report(seconds=0.05))


def test_payloads_are_changed_put_together_and_long() -> None:
    mutator = Mutator((b"a seed of some length",), (b"word",), random.Random(1))
    made = [mutator.make() for _ in range(3000)]
    assert len(set(made)) > 2000
    assert any(b"seed" in each for each in made)
    assert any(b"wordword" in each for each in made)
    assert max(map(len, made)) > 30_000


def test_pieces_make_the_whole() -> None:
    for seed in range(50):
        octets = bytes(range(256)) * (seed % 5)
        assert b"".join(pieces(octets, random.Random(seed))) == octets


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["nexthop", "pipe_outcome", "--runs", "20"]) == 0
    shown = capsys.readouterr().out.split("\n")
    assert [line.split(":")[0] for line in shown] == ["nexthop", "pipe_outcome", ""]
    assert "20 inputs" in shown[0]
    with pytest.raises(SystemExit):
        command.main(["nosuch"])
    with pytest.raises(SystemExit):
        command.main(["--nosuch"])


def test_a_finding_is_kept_and_can_be_had_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(data: bytes) -> bool:
        assert b"bad" not in data
        return True

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "load", lambda name: _target(check))
    assert command.main(["nexthop", "--runs", "1000"]) == 1
    assert "BROKEN" in capsys.readouterr().out
    (path,) = (tmp_path / "var" / "fuzz").iterdir()
    with pytest.raises(AssertionError):
        command.main(["nexthop", "--input", str(path)])
    path.write_bytes(b"good")
    assert command.main(["nexthop", "--input", str(path)]) == 0
