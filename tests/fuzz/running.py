"""Running a target: inputs in time, what they came to, and the smallest one that fails."""

from __future__ import annotations

import importlib
import pkgutil
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from tests.fuzz import targets
from tests.fuzz.inputs import TAIL
from tests.fuzz.mutation import Mutator

__all__ = ["LIMIT", "Broken", "Report", "Target", "TooSlow", "load", "minimised", "names", "run"]

LIMIT = 1.0
"""Processor seconds that one input may take: a thousand times what most take."""


class TooSlow(BaseException):
    """An input took longer than the limit. No parser's own ``except`` may swallow it."""


class Broken(Exception):
    """A promise broken, by ``data``."""

    def __init__(self, data: bytes, error: BaseException) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.data = data
        self.error = error


@dataclass(frozen=True, slots=True)
class Target:
    """A target module, read."""

    name: str
    run: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()
    found: tuple[bytes, ...] = ()

    @classmethod
    def from_module(cls, module: ModuleType) -> Target:
        return cls(
            module.__name__.rpartition(".")[2],
            module.target,
            tuple(module.SEEDS),
            tuple(getattr(module, "WORDS", ())),
            tuple(getattr(module, "FOUND", ())),
        )


@dataclass(slots=True)
class Report:
    """``taken`` of the ``inputs`` were something to the parser. ``slowest``: (seconds, size)."""

    inputs: int = 0
    taken: int = 0
    seconds: float = 0.0
    slowest: tuple[float, int] = field(default=(0.0, 0))

    def __str__(self) -> str:
        return (
            f"{self.inputs} inputs in {self.seconds:.0f} s, {self.taken} taken, "
            f"the slowest {self.slowest[0] * 1000:.0f} ms ({self.slowest[1]} octets)"
        )


def names() -> list[str]:
    """All targets."""
    return sorted(each.name for each in pkgutil.iter_modules(targets.__path__))


def load(name: str) -> Target:
    """The target of that name."""
    return Target.from_module(importlib.import_module(f"{targets.__name__}.{name}"))


def run(
    target: Target, *, seed: int = 0, runs: int | None = None, seconds: float | None = None
) -> Report:
    """Inputs until there were so many, or for so long. Raises Broken at the first that fails."""
    report = Report()
    start = time.monotonic()
    for data in _inputs(target, seed):
        began = time.process_time()
        try:
            with _time_limit():
                report.taken += bool(target.run(data))
        except (Exception, TooSlow) as error:
            raise Broken(data, error) from error
        took = time.process_time() - began
        report.inputs += 1
        report.slowest = max(report.slowest, (took, len(data)))
        report.seconds = time.monotonic() - start
        if runs is not None and report.inputs >= runs:
            break
        if seconds is not None and report.seconds >= seconds:
            break
    return report


def _inputs(target: Target, seed: int) -> Iterator[bytes]:
    yield from target.found
    source = random.Random(seed)
    for payload in (*target.seeds, b""):
        yield payload + source.randbytes(TAIL)
    mutator = Mutator(target.seeds, target.words, source)
    while True:
        yield mutator.make() + source.randbytes(TAIL)


@contextmanager
def _time_limit() -> Iterator[None]:
    """Raises TooSlow inside after LIMIT seconds of processor time; expressions notice it, too."""
    signal.signal(signal.SIGPROF, _out_of_time)
    signal.setitimer(signal.ITIMER_PROF, LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _out_of_time(signum: int, frame: Any) -> None:
    raise TooSlow(f"more than {LIMIT} s")


def minimised(target: Target, data: bytes, seconds: float = 10.0) -> bytes:
    """A shorter input that fails in the same way, found by leaving parts out for a while."""
    kind = _failure(target, data)
    end = time.monotonic() + seconds
    size = max(1, (len(data) - TAIL) // 2)
    while size and time.monotonic() < end:
        at = 0
        while at < len(data) - TAIL and time.monotonic() < end:
            shorter = data[:at] + data[min(at + size, len(data) - TAIL) :]
            if _failure(target, shorter) is kind:
                data = shorter
            else:
                at += size
        size //= 2
    return data


def _failure(target: Target, data: bytes) -> type[BaseException] | None:
    try:
        with _time_limit():
            target.run(data)
    except (Exception, TooSlow) as error:
        return type(error)
    return None
