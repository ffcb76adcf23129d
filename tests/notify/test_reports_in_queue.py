"""Reports as messages of the queue, over simulated weeks: sent once, and all come to an end."""

from __future__ import annotations

import pytest

from gatewayd.message import DeliveryRequest, Notify
from gatewayd.notify.reports import Reports
from gatewayd.queue.backoff import Backoff
from gatewayd.queue.dispatch_settings import DispatchSettings
from gatewayd.status import Action, Outcome, deferred, failed
from tests.fakes.dispatching import Dispatching
from tests.fakes.mail import recipient
from tests.notify.making import ALL_CLASSES, settings
from tests.notify.parsed import parse_report

DAY = 86400.0
_DELIVERED = Outcome(Action.RELAYED, "2.0.0", "250 ok", "mx[192.0.2.1]:25", "mx")
_REFUSED = failed("5.1.1", "no such user")
_LATE = deferred("4.2.2", "mailbox full")
_DISCARDED = "undeliverable postmaster notification discarded"


def _dispatching(outcome: Outcome, warning: float = 0.0, **changed: object) -> Dispatching:
    changed = {"classes": ALL_CLASSES, "warning_time": warning, **changed}
    d = Dispatching(DispatchSettings(Backoff(warning=warning)), writer=Reports(settings(**changed)))
    d.transport.answer = lambda request: outcome
    d.dispatcher.start()
    return d


def _tried(d: Dispatching) -> list[tuple[str, str]]:
    """Sender and recipient of every message that was tried, in that order."""
    found: dict[str, DeliveryRequest] = {}
    for request in d.transport.requests:
        found.setdefault(request.queue_id, request)
    return [
        (str(each.sender), str(each.recipients[0].recipient.address)) for each in found.values()
    ]


def _notices(d: Dispatching) -> list[str]:
    """What the log calls the reports made."""
    lines = [line for line in d.log.lines if line.startswith("bounce: ")]
    return [line.split(": ")[2] for line in lines]


def test_double_bounces_end() -> None:
    """Mail, its return, the postmaster's copies: all refused, and then there's silence."""
    d = _dispatching(_REFUSED)
    d.submit("A1", "you@far.test", sender="me@sender.test")
    d.run(10)
    assert _tried(d)[0] == ("me@sender.test", "you@far.test")
    notice = "double-bounce@mx.test"
    assert sorted(_tried(d)[1:]) == [
        ("", "me@sender.test"),
        (notice, "postmaster@origin.test"),
        (notice, "postmaster@origin.test"),
    ]
    assert not d.store.entries
    assert len([line for line in d.log.problems if line.endswith(_DISCARDED)]) == 2


def test_everything_expires_in_the_end() -> None:
    """Nothing gets through for weeks: what is never taken is not kept for ever either."""
    d = _dispatching(_LATE, warning=4 * 3600)
    d.submit("A1", "you@far.test", "him@far.test", sender="me@sender.test")
    d.run(17 * DAY, step=500)
    assert not d.store.entries
    made = _notices(d)
    assert made.count("sender delay notification") == 1
    assert made.count("postmaster delay notification") == 1
    assert made.count("sender non-delivery notification") == 1
    # One of the mail itself, one each of the warning and the return that failed in their turn.
    assert made.count("postmaster non-delivery notification") == 3
    assert len(made) == 6


@pytest.mark.parametrize(
    ("notify", "made"),
    [
        (Notify.NEVER, []),
        (Notify.DELAY, ["sender delay notification"]),
        (Notify.FAILURE, ["sender non-delivery notification"]),
        (Notify.DEFAULT, ["sender delay notification", "sender non-delivery notification"]),
    ],
)
def test_notify_over_five_days(notify: Notify, made: list[str]) -> None:
    """Late for five days, then returned; reports get through at once."""
    d = _dispatching(_LATE, warning=4 * 3600, classes=frozenset())
    d.transport.answer = lambda request: _LATE if request.sender else _DELIVERED
    d.submit("A1", recipient("you@far.test", notify=notify), sender="me@sender.test")
    d.run(6 * DAY, step=500)
    assert _notices(d) == made
    assert not d.store.entries


def test_a_success_after_a_delay() -> None:
    """Both are told of, each once."""
    d = _dispatching(_LATE, warning=3600, classes=frozenset())
    wanted = Notify.SUCCESS | Notify.DELAY
    d.submit("A1", recipient("you@far.test", notify=wanted), sender="me@sender.test")
    d.run(DAY, step=500)
    d.transport.answer = lambda request: _DELIVERED
    d.run(DAY, step=500)
    assert _notices(d) == ["sender delay notification", "sender delivery status notification"]


def test_expired_mail_says_why() -> None:
    """Action failed, with the status and words of the last attempt (postfix.md §4)."""
    d = _dispatching(_LATE, classes=frozenset())
    d.submit("A1", "you@far.test", sender="me@sender.test")
    d.run(6 * DAY, step=500)
    (settlement,) = [each for each in d.store.settlements if each.notices]
    assert settlement.remove
    content = settlement.notices[0].content
    (fields,) = parse_report(content.octets).recipient_fields  # type: ignore[attr-defined]
    assert [value for name, value in fields if name in ("Action", "Status")] == ["failed", "4.2.2"]
    assert ("Diagnostic-Code", "X-Gatewayd; mailbox full") in fields
