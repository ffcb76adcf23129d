"""``python -m benchmarks [WORK…] [--folder DIR] [--write FILE]``: measure, and print the table.

A work that fails is reported, and the others go on; the exit status is 1 then.
"""

from __future__ import annotations

import argparse
import compileall
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import gatewayd
from benchmarks.bench import Bench
from benchmarks.page import Done, page, table
from benchmarks.works import WORKS, Work


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", nargs="*", choices=[*WORKS, []], help="which; all by default")
    parser.add_argument("--folder", type=Path, help="where queues lie (default: a new one)")
    parser.add_argument("--write", type=Path, help="write the page to this file")
    options = parser.parse_args()
    # As pip does: what is measured is an installation.
    compileall.compile_dir(Path(gatewayd.__file__).parent, quiet=2)
    done = []
    with _folder(options.folder) as folder:
        bench = Bench(folder)
        for name in options.work or WORKS:
            done.append(measured(WORKS[name], bench))
            print(table(done[-1:]), flush=True)
    if options.write:
        options.write.write_text(page(done))
    return 1 if any(each.trouble for each in done) else 0


@contextmanager
def _folder(chosen: Path | None) -> Iterator[Path]:
    """The chosen folder, or a new one, not in memory, which goes afterwards."""
    if chosen is None:
        made = Path(tempfile.mkdtemp(prefix="gatewayd-bench-", dir="/var/tmp"))
        made.chmod(0o755)
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)
    else:
        chosen.mkdir(parents=True, exist_ok=True)
        chosen.chmod(0o755)
        yield chosen


def measured(work: Work, bench: Bench) -> Done:
    """A work's rows, or what went wrong; pytest's outcomes come from the helpers of the tests."""
    try:
        return Done(work, tuple(work.measure(bench)))
    except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:
        traceback.print_exc()
        return Done(work, trouble=f"{type(error).__name__}: {error}".partition("\n")[0])


if __name__ == "__main__":
    sys.exit(main())
