"""What processes cost: CPU seconds and memory, with all their children."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

__all__ = ["cpu_seconds", "family", "memory", "peak_memory"]

_TICK = 1 / os.sysconf("SC_CLK_TCK")


def _stat(process: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (proc(5)): state, parent, …"""
    text = Path(f"/proc/{process}/stat").read_text()
    return text.rpartition(")")[2].split()


def family(root: int) -> list[int]:
    """A process and all below it that are alive."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                children.setdefault(int(_stat(int(name))[1]), []).append(int(name))
    found = [root]
    for process in found:
        found += children.get(process, ())
    return found


def cpu_seconds(root: int) -> float:
    """User and system time of a process and its children, those that have ended included."""
    ticks = 0
    for process in family(root):
        with suppress(OSError):
            ticks += sum(map(int, _stat(process)[11:15]))
    return ticks * _TICK


def memory(root: int) -> float:
    """Megabytes that a process and its children have in memory now."""
    return _megabytes(root, "VmRSS")


def peak_memory(root: int) -> float:
    """Megabytes that each of them had at its worst, summed up."""
    return _megabytes(root, "VmHWM")


def _megabytes(root: int, field: str) -> float:
    kilobytes = 0
    for process in family(root):
        with suppress(OSError):
            found = re.search(rf"{field}:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
            kilobytes += int(found[1]) if found else 0
    return kilobytes / 1024
