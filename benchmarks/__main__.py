"""``python -m benchmarks [WORK…] [--folder DIR] [--write FILE]``: measure, and print the table."""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from pathlib import Path

from benchmarks.row import Row
from benchmarks.works import WORKS


def _table(rows: list[Row]) -> str:
    lines = [
        "| work | unit | gatewayd | Postfix | ratio | goal | reached |",
        "|---|---|---:|---:|---:|---|---|",
    ]
    for row in rows:
        theirs = f"{row.theirs:.4g}" if row.theirs is not None else "-"
        reached = "yes" if row.reached else "**no**"
        lines.append(
            f"| {row.work} | {row.unit} | {row.ours:.4g} | {theirs} | {row.ratio} "
            f"| {row.goal} | {reached} |"
        )
    return "\n".join(lines) + "\n"


_INTRODUCTION = """\
# Benchmarks

Written by `make bench`: gatewayd and Debian's Postfix in turn, in the same run, on the same disk,
with default settings (logging and access checks on, relay_recipient_maps and transport_maps in
use). Python {python}, {cores} cores. A ratio above 1 means gatewayd is faster, or uses more of
the line; for seconds and megabytes, less is better.

"""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", nargs="*", choices=[*WORKS, []], help="which; all by default")
    parser.add_argument("--folder", type=Path, help="where queues lie (default: a new one)")
    parser.add_argument("--write", type=Path, help="write the page to this file")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="gatewayd-bench-", dir="/var/tmp"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    rows: list[Row] = []
    for name in options.work or WORKS:
        measured = WORKS[name](folder)
        print(_table(measured), flush=True)
        rows.extend(measured)
    page = _INTRODUCTION.format(python=platform.python_version(), cores=os.cpu_count())
    if options.write:
        options.write.write_text(page + _table(rows))


if __name__ == "__main__":
    main()
