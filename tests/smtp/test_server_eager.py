"""Coroutines begun by hand behave as if a Deferred had run them."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred

from gatewayd.smtp.server.eager import first_step


async def _immediately() -> int:
    return 1


async def _fails() -> int:
    raise ValueError("no")


async def _sum_of(*parts: Deferred[int]) -> int:
    total = 0
    for part in parts:
        try:
            total += await part
        except ValueError:
            total += 100
    return total


def test_a_result_at_once() -> None:
    assert first_step(_immediately()) == (1, None)


def test_an_error_at_once() -> None:
    with pytest.raises(ValueError, match="no"):
        first_step(_fails())


def test_deferreds_that_have_fired_are_no_wait() -> None:
    fired: Deferred[int] = Deferred()
    fired.callback(3)
    assert first_step(_sum_of(fired)) == (3, None)


def test_waiting_several_times() -> None:
    """Results and errors go in where they are awaited, in turn."""
    one, two, three = Deferred[int](), Deferred[int](), Deferred[int]()
    got: list[object] = []
    _, waiting = first_step(_sum_of(one, two, three))
    assert waiting is not None
    waiting.addCallback(got.append)
    one.callback(1)
    assert got == []
    two.errback(ValueError("x"))
    assert got == []
    three.callback(3)
    assert got == [104]


def test_an_error_later() -> None:
    one: Deferred[int] = Deferred()
    _, waiting = first_step(_sum_of(one))
    assert waiting is not None
    caught: list[object] = []
    waiting.addErrback(lambda failure: caught.append(failure.value))
    one.errback(KeyError("k"))
    assert isinstance(caught[0], KeyError)


def test_cancelling_cancels_what_is_awaited() -> None:
    cancelled: list[object] = []
    one: Deferred[int] = Deferred(cancelled.append)
    _, waiting = first_step(_sum_of(one))
    assert waiting is not None
    caught: list[object] = []
    waiting.addErrback(lambda failure: caught.append(failure.value))
    waiting.cancel()
    assert cancelled == [one]
    assert isinstance(caught[0], CancelledError)
