"""What only time and failing reports bring about, beside a real Postfix: delay warnings, expiry,
the postmaster's copies, and the end of double bounces."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.notify.likeness import likenesses
from tests.notify.pair import Mail, Side, pair

Sides = tuple[Side, Side]

_SETTINGS = {
    "notify_classes": "bounce, 2bounce, delay",
    "bounce_notice_recipient": "bounces@origin.test",
    "2bounce_notice_recipient": "doubles",
    "delay_notice_recipient": "late@origin.test",
    "delay_warning_time": "1s",
    "maximal_queue_lifetime": "5s",
    "bounce_queue_lifetime": "5s",
    "minimal_backoff_time": "1s",
    "maximal_backoff_time": "1s",
    "queue_run_delay": "1s",
    "bounce_size_limit": "5000",
}
_TRANSPORT = "error.test error:5.1.2 this domain is closed\nretry.test retry:4.2.9 later\n"
_BIG = b"Subject: big\r\nFrom: me@sender.test\r\n\r\n" + b"large\r\n" * 1000
_NOTICE = "double-bounce@mx.test"

_AT_ONCE = (
    Mail("fails", ["<a@error.test>"], "ENVID=e"),
    Mail("fails-hdrs", ["<a@error.test>"], "RET=HDRS"),
    Mail("fails-big", ["<a@error.test>"], "RET=FULL", _BIG),
    Mail("never", ["<a@error.test> NOTIFY=NEVER"]),
    Mail("some", ["<a@error.test> NOTIFY=SUCCESS", "<b@error.test>"]),
    Mail("utf8", ["<\u00fc@error.test>"], "SMTPUTF8"),
    Mail("null", ["<a@error.test>"], sender=""),
    Mail("null-hdrs", ["<a@error.test> NOTIFY=NEVER"], "RET=HDRS", sender=""),
    Mail("null-big", ["<a@error.test>"], content=_BIG, sender=""),
    Mail("comes-back", ["<a@error.test>"], sender="me@error.test"),
    Mail("notice", ["<a@error.test>"], sender=_NOTICE),
)
_LATER = (
    Mail(
        "late", ["<a@retry.test>", "<b@retry.test> NOTIFY=FAILURE", "<c@retry.test> NOTIFY=DELAY"]
    ),
    Mail("late-full", ["<a@retry.test>"], "RET=FULL"),
    Mail("late-never", ["<a@retry.test> NOTIFY=NEVER"]),
    Mail("late-null", ["<a@retry.test>"], sender=""),
    Mail("late-notice", ["<a@retry.test>"], sender=_NOTICE),
    Mail("late-utf8", ["<\u00fc@retry.test>"], "SMTPUTF8"),
)


@pytest.fixture(scope="module")
def sides() -> Iterator[Sides]:
    """Both, with all of the mail handed in."""
    with pair(_TRANSPORT, _SETTINGS) as both:
        for side in both:
            for mail in _LATER + _AT_ONCE:
                side.send(mail)
        yield both


@pytest.mark.parametrize("mail", _AT_ONCE + _LATER, ids=lambda mail: mail.name)
def test_notices_are_like_postfix_s(sides: Sides, mail: Mail) -> None:
    theirs, ours = (likenesses(side.reports(mail.name)) for side in sides)
    assert ours == theirs
    first, second = (sorted(kind for kind, _ in side.notices(mail.name)) for side in sides)
    assert second == first


def test_one_warning_and_one_return(sides: Sides) -> None:
    """However often a message is tried while it's late."""
    for side in sides:
        kinds = [kind for kind, _ in side.notices("late")]
        assert kinds[:2] == ["sender delay notification", "postmaster delay notification"]
        assert sorted(kinds[2:]) == [
            "postmaster non-delivery notification",
            "sender non-delivery notification",
        ]
        queue_id = side.queue_ids["late"]
        assert side.server.log().count(f"{queue_id}: to=<a@retry.test>") > 2
        side.server.wait_log(rf"{queue_id}: from=<late@.*>, status=expired, returned to sender")


@pytest.mark.parametrize(
    ("name", "recipients"),
    [
        ("null", ["doubles@origin.test"]),
        ("late-null", ["doubles@origin.test"]),
        ("comes-back", ["bounces@origin.test", "doubles@origin.test"]),
        ("never", ["bounces@origin.test"]),
    ],
)
def test_what_only_the_postmaster_hears_of(sides: Sides, name: str, recipients: list[str]) -> None:
    for side in sides:
        reports = side.reports(name)
        assert sorted(report.recipient for report in reports) == recipients
        assert {report.sender for report in reports} == {_NOTICE}


@pytest.mark.parametrize("name", ["notice", "late-notice"])
def test_a_notice_that_fails_ends_there(sides: Sides, name: str) -> None:
    for side in sides:
        assert side.notices(name) == []
        queue_id = side.queue_ids[name]
        warning = f"warning: {queue_id}: undeliverable postmaster notification discarded"
        assert warning in side.server.log()
