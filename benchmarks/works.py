"""The works measured, their goals, and what bounds them where a goal isn't reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.commands import commands
from benchmarks.mail import Load
from benchmarks.row import Row
from benchmarks.site_flush import site_flush
from benchmarks.slow_line import slow_line
from benchmarks.standing import memory_and_start
from benchmarks.throughput import throughput

__all__ = ["WORKS", "Work"]


@dataclass(frozen=True, slots=True)
class Work:
    """Something to measure; ``bound`` says what keeps it from its goal, where it is kept."""

    name: str
    measure: Callable[[Bench], list[Row]]
    bound: str = ""


_WORKS = (
    Work(
        "many",
        throughput("4 KB, 20 sessions", Load(3000, 20, 4096), 3),
        "The reactor's CPU, a quarter of it in send(): each message comes by a connection of its "
        "own and takes seven replies, each a system call that wakes the client.",
    ),
    Work(
        "one",
        throughput("4 KB, one session", Load(500, 1, 4096), 1.2),
        "The way of each message to the store's thread and back, beside its commit.",
    ),
    Work(
        "large",
        throughput("100 KB, 20 sessions", Load(800, 20, 102400), 2),
        "The reactor's CPU, and the disk: each octet passes through Python twice and is synced "
        "once.",
    ),
    Work(
        "recipients",
        throughput("4 KB, 10 recipients, 20 sessions", Load(1000, 20, 4096, 10), 2),
        "The reactor's CPU: each recipient is checked, routed, kept and sent by itself.",
    ),
    Work(
        "line",
        slow_line,
        "Without CHUNKING a peer has to answer DATA before the content: a round trip a message, "
        "so that the number of connections bounds the rate.",
    ),
    Work("etrn", site_flush, "Connections to the site, each of which takes one message at a time."),
    Work("memory", memory_and_start, "What Python and Twisted take before there is any mail."),
    Work("commands", commands, "The start of Python and of the modules that a command needs."),
)
WORKS = {work.name: work for work in _WORKS}
