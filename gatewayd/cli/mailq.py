"""mailq: list the queue, as ``postqueue -p`` and ``sendmail -bp`` do."""

from __future__ import annotations

from gatewayd.cli import postqueue

__all__ = ["main"]

_USAGE = "usage: mailq [-c DIR]"


def main(arguments: list[str]) -> int:
    """The command; its arguments are those of sendmail and don't matter, but for -c."""
    if arguments == ["--help"]:
        print(_USAGE)
        return 0
    kept = arguments[:2] if arguments[:1] == ["-c"] else []
    return postqueue.main([*kept, "-p"])
