"""gatewayctl flush: deliver waiting mail now."""

from __future__ import annotations

from gatewayd.cli import postqueue

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """``flush`` (all), ``flush SITE``, ``flush -i ID``."""
    if arguments[:1] == ["-i"]:
        return postqueue.main(arguments)
    return postqueue.main(["-f", *arguments])
