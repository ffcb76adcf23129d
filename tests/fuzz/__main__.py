"""The command line of fuzzing: ``tests.fuzz`` says what it does."""

from __future__ import annotations

import argparse
import sys
import traceback
import zlib
from pathlib import Path

from tests.fuzz.inputs import TAIL
from tests.fuzz.running import Broken, Target, load, minimised, names, run


def main(arguments: list[str]) -> int:
    """Exit status 0, or 1 if a promise was broken."""
    given, rest = _parser().parse_known_args(arguments)
    if given.atheris:
        return _guided(given.targets, rest)
    if rest:
        _parser().error(f"unknown arguments: {' '.join(rest)}")
    chosen = [load(name) for name in given.targets or names()]
    if given.input:
        for target in chosen:
            print(f"{target.name}: {target.run(given.input.read_bytes())!r}")
        return 0
    return max(_run(target, given) for target in chosen)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the parsers.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", choices=[[], *names()])
    parser.add_argument("--runs", type=int, help="how many inputs for each target")
    parser.add_argument("--seconds", type=float, help="how long for each target (10)")
    parser.add_argument("--seed", type=int, default=0, help="other inputs than usual")
    parser.add_argument("--input", type=Path, help="run this input only")
    parser.add_argument("--atheris", action="store_true", help="by atheris; libFuzzer's options")
    return parser


def _run(target: Target, given: argparse.Namespace) -> int:
    seconds = given.seconds if given.seconds or given.runs else 10.0
    try:
        report = run(target, seed=given.seed, runs=given.runs, seconds=seconds)
    except Broken as broken:
        traceback.print_exception(broken.error)
        data = minimised(target, broken.data)
        path = _kept(target, data)
        print(f"{target.name}: BROKEN by {path}, {_shown(data)}", flush=True)
        return 1
    print(f"{target.name}: {report}", flush=True)
    return 0


def _kept(target: Target, data: bytes) -> Path:
    """The finding as a file; git doesn't see it."""
    path = Path("var", "fuzz", f"{target.name}-{zlib.crc32(data):08x}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _shown(data: bytes) -> str:
    return repr(data) if len(data) < 300 else f"{data[:100]!r} … {data[-100:]!r}"


def _guided(chosen: list[str], options: list[str]) -> int:
    """Coverage decides which inputs are worth more changes. Never returns if all goes well."""
    import atheris

    if len(chosen) != 1:
        _parser().error("--atheris takes one target")
    with atheris.instrument_imports(include=["gatewayd"]):
        target = load(chosen[0])
    corpus = str(_corpus(target))
    atheris.Setup([sys.argv[0], corpus, *options], lambda data: target.run(data) and None)
    atheris.Fuzz()
    return 0


def _corpus(target: Target) -> Path:
    """A folder with the target's seeds, to which libFuzzer adds what reaches new code."""
    folder = Path("var", "fuzz", "corpus", target.name)
    folder.mkdir(parents=True, exist_ok=True)
    for data in (*target.found, *(seed + bytes(TAIL) for seed in target.seeds)):
        (folder / f"{zlib.crc32(data):08x}").write_bytes(data)
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
