"""What targets make of an input: a payload, decisions, texts and pieces."""

from __future__ import annotations

import random
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

__all__ = ["TAIL", "answer", "pieces", "split", "text"]

T = TypeVar("T")

TAIL = 8
"""Octets at an input's end that seed the decisions."""
_SIZES = (1, 1, 2, 3, 7, 30, 1000, 65536)


def split(data: bytes) -> tuple[bytes, random.Random]:
    """(payload, source of decisions)."""
    return data[:-TAIL], random.Random(data[-TAIL:])


def text(octets: bytes) -> str:
    """As configuration files are read: what is no UTF-8 becomes lone surrogates."""
    return octets.decode("utf-8", "surrogateescape")


def pieces(octets: bytes, decisions: random.Random) -> Iterator[bytes]:
    """The octets, cut anywhere; not one piece if there are none."""
    at = 0
    same = decisions.choice(_SIZES) if decisions.random() < 0.5 else 0
    while at < len(octets):
        size = same or decisions.choice(_SIZES)
        yield octets[at : at + size]
        at += size


def answer(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine gives that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("it waits")
