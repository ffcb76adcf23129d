"""``python -m gatewayd.config.document``: docs/parameters.md, from the table."""

from __future__ import annotations

import sys

from gatewayd.config.parameters import AREAS, PARAMETERS, TRANSPORT_SUFFIXES, Parameter, Support
from gatewayd.config.values import Kind

__all__ = ["document"]

_HEAD = """\
# Parameters of main.cf

Written by `make docs` from the table in `gatewayd/config/parameters/`. Names, meanings and defaults
are Postfix's, but for those marked "Ours". A time is a number with a unit (s m h d w). A default of
*computed* comes from the machine.

"""
_FEW = 3
_COLUMNS = "| parameter | value | default | meaning |\n|---|---|---|---|\n"
_TRANSPORTS = """\
## For one transport

With the name of a transport of master.cf before it, each of these holds for that transport alone,
as in `ondemand_destination_rate_delay`:

"""
_WAITING = """\
## Known, but not acted on yet

Setting one of these gives a warning.

"""
_NEEDLESS = """\
## Known, and needless here

These concern Postfix's processes, files and helpers. They may be set, and change nothing.

"""


def document() -> str:
    """The whole page."""
    parts = [_HEAD]
    for area, rows in AREAS:
        parts.append(f"## {area[0].upper()}{area[1:]}\n\n{_COLUMNS}")
        parts.extend(_row(row) for row in rows if row.supported)
        parts.append("\n")
    parts.append(_TRANSPORTS)
    parts.extend(
        f"- `_{suffix}`, otherwise `{fallback}`\n"
        for suffix, fallback in TRANSPORT_SUFFIXES.items()
        if PARAMETERS[fallback].supported
    )
    parts += ["\n", _WAITING, _names(Support.PLANNED), "\n", _NEEDLESS, _names(Support.ACCEPTED)]
    return "".join(parts)


def _names(support: Support) -> str:
    """Many names, a line for each initial part; those with few relatives together at last."""
    lines: dict[str, list[str]] = {}
    for name in sorted(row.name for row in PARAMETERS.values() if row.support is support):
        lines.setdefault(name.partition("_")[0], []).append(f"`{name}`")
    families = [names for names in lines.values() if len(names) > _FEW]
    others = [name for names in lines.values() if len(names) <= _FEW for name in names]
    return "".join(f"- {', '.join(names)}\n" for names in (*families, others) if names)


def _row(row: Parameter) -> str:
    default = "*computed*" if row.default is None else f"`{row.default}`" if row.default else ""
    return f"| {row.name} | {_value(row)} | {_cell(default)} | {_cell(row.meaning)} |\n"


def _value(row: Parameter) -> str:
    if row.kind is Kind.CHOICE:
        return ", ".join(filter(None, row.choices))
    unit = {Kind.NUMBER: "", Kind.SECONDS: "s"}.get(row.kind)
    if unit is None or not (row.minimum or row.maximum is not None):
        return str(row.kind.value)
    if row.maximum is None:
        return f"{row.kind.value} ≥ {row.minimum}{unit}"
    return f"{row.kind.value} {row.minimum}{unit}–{row.maximum}{unit}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(document())
