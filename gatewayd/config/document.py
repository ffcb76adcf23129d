"""``python -m gatewayd.config.document``: docs/parameters.md, from the table."""

from __future__ import annotations

import sys

from gatewayd.config.parameters import AREAS, PARAMETERS, Parameter
from gatewayd.config.values import Kind

__all__ = ["document"]

_HEAD = """\
# Parameters of main.cf

Written by `make docs` from the table in `gatewayd/config/parameters/`. Names, meanings and defaults
are Postfix's, but for those marked "Ours". A time is a number with a unit (s m h d w). A default of
*computed* comes from the machine. `NAME_destination_concurrency_limit` and the like, for a
transport NAME of master.cf, override the `default_…` of the same ending.

"""
_COLUMNS = "| parameter | value | default | meaning |\n|---|---|---|---|\n"


def document() -> str:
    """The whole page."""
    parts = [_HEAD]
    for area, rows in AREAS:
        parts.append(
            f"## {area[0].upper()}{area[1:]}\n\n| parameter | value | default | meaning |\n"
        )
        parts.append("|---|---|---|---|\n")
        parts.extend(_row(row) for row in rows)
        parts.append("\n")
    waiting = sorted(row.name for row in PARAMETERS.values() if not row.supported)
    parts.append("## Known, but not acted on yet\n\nSetting one of these gives a warning.\n\n")
    parts.append(", ".join(waiting) + "\n")
    return "".join(parts)


def _row(row: Parameter) -> str:
    kind = ", ".join(filter(None, row.choices)) if row.kind is Kind.CHOICE else row.kind.value
    if row.minimum or row.maximum is not None:
        low = "" if row.minimum is None else str(row.minimum)
        high = "" if row.maximum is None else str(row.maximum)
        kind += f" {low}–{high}" if high else f" ≥ {low}"
    default = "*computed*" if row.default is None else f"`{row.default}`" if row.default else ""
    return f"| {row.name} | {kind} | {_cell(default)} | {_cell(row.meaning)} |\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(document())
