"""Concurrency windows, back-off and the numbers in settings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.queue.backoff import Backoff
from gatewayd.queue.schedule import Feedback, Window
from tests.fakes.mail import mail, queued

DAY = 86400.0
ONE = Feedback()


def test_feedback_forms() -> None:
    """The three forms of the setting."""
    assert Feedback.parse("1").amount(20) == 1
    assert Feedback.parse(" 1 / concurrency").amount(20) == 1 / 20
    assert Feedback.parse("0.5/sqrt_concurrency").amount(25) == 0.1


@pytest.mark.parametrize("text", ["", "-1", "2", "1/", "1/x", "１", "1\n/\n1", "1e3", "1_0"])
def test_feedback_refused(text: str) -> None:
    """Anything else is refused, with the text in the message."""
    with pytest.raises(ValueError, match="is not a number from 0 to 1"):
        Feedback.parse(text)


def test_window_grows_while_used() -> None:
    """Each success adds one, up to the limit, but not far above what runs."""
    window = Window(5, 20)
    for _ in range(100):
        window.succeeded(ONE, busy=1)
    assert window.size == 6
    for busy in range(1, 40):
        window.succeeded(ONE, busy)
    assert window.size == 20


def test_dead_after_a_cohort() -> None:
    """From a window of 5, the fourth failure in a row makes it dead; a success starts anew."""
    window = Window(5, 20)
    assert [window.failed(ONE, 1) for _ in range(4)] == [False, False, False, True]
    window.reset()
    for _ in range(3):
        window.failed(ONE, 1)
    window.succeeded(ONE, 2)
    assert not window.failed(ONE, 1)
    assert Window(1, 1).failed(ONE, 1)
    assert not Window(1, 1).failed(ONE, 0)


def test_hysteresis() -> None:
    """With 1/concurrency, a window of failures takes one off, and of successes adds one."""
    share = Feedback.parse("1/concurrency")
    window = Window(10, 20)
    sizes = []
    for _ in range(12):
        window.failed(share, 100)
        sizes.append(window.size)
    assert sizes == [9] * 9 + [8] * 3
    for _ in range(30):
        window.succeeded(share, 10)
    assert window.size > min(sizes)


@given(
    st.integers(1, 50),
    st.integers(0, 50),
    st.sampled_from(["1", "0", "0.3", "1/concurrency", "1/sqrt_concurrency"]),
    st.lists(st.integers(-1, 60), max_size=200),
)
def test_window_stays_in_bounds(initial: int, limit: int, text: str, events: list[int]) -> None:
    """Whatever happens, the window is at least 1 and at most its limit."""
    feedback = Feedback.parse(text)
    window = Window(initial, limit)
    for busy in events:
        if busy < 0:
            window.failed(feedback, 1)
        else:
            window.succeeded(feedback, busy)
        assert window.size >= 1
        assert not limit or window.size <= limit


def test_backoff_doubles() -> None:
    """Attempts of one message over five days: pauses double between the bounds."""
    backoff = Backoff(minimal=300, maximal=4000)
    now = 0.0
    pauses = []
    message = queued(mail("A1", "u@example.com"))
    while not backoff.is_expired(message, now):
        due = backoff.next_attempt(0.0, now)
        pauses.append(due - now)
        now = due
    assert pauses[:6] == [300, 300, 600, 1200, 2400, 4000]
    assert set(pauses[6:]) == {4000}
    assert 5 * DAY <= now < 5 * DAY + 4000


def test_lifetimes() -> None:
    """Reports live as long as bounce_queue_lifetime says; 0 is one attempt."""
    backoff = Backoff(lifetime=100, bounce_lifetime=0, warning=50)
    report = queued(mail("A1", "u@example.com", sender=""))
    message = queued(mail("A2", "u@example.com"))
    assert backoff.is_expired(report, 0)
    assert not backoff.is_expired(message, 99)
    assert backoff.is_expired(message, 100)
    assert not backoff.is_warning_due(report, 60)
    assert not backoff.is_warning_due(message, 49)
    assert backoff.is_warning_due(message, 50)


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_backoff_in_bounds(arrival: float, now: float) -> None:
    """Whatever the clock says, the pause is between the bounds."""
    backoff = Backoff(300, 4000)
    assert 299.9 <= backoff.next_attempt(arrival, now) - now <= 4000.1
