"""Who is told of what, and what comes with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatewayd.address import NULL, Address
from gatewayd.config.load import make_settings
from gatewayd.config.main_cf import Assignment
from gatewayd.errors import ConfigError
from gatewayd.message import Envelope, Notify
from gatewayd.notify.reports import Reports
from gatewayd.notify.settings import ReportSettings
from gatewayd.smtp.conversion import convert_to_7bit
from gatewayd.status import Action, Diagnostic, Outcome
from tests.notify.making import (
    ALL_CLASSES,
    CONTENT,
    NOW,
    REFUSED,
    SENDER,
    queued,
    recipient,
    report_on,
    settings,
)
from tests.notify.parsed import parse_report

_EVENTS = (Notify.FAILURE, Notify.DELAY, Notify.SUCCESS)
_POSTMASTER = Address("postmaster", "origin.test")
_NOTICE = Address("double-bounce", "mx.test")


@pytest.mark.parametrize("event", _EVENTS)
@pytest.mark.parametrize(
    ("notify", "events"),
    [
        (Notify.DEFAULT, {Notify.FAILURE, Notify.DELAY}),
        (Notify.NEVER, set()),
        (Notify.FAILURE, {Notify.FAILURE}),
        (Notify.DELAY, {Notify.DELAY}),
        (Notify.SUCCESS, {Notify.SUCCESS}),
        (Notify.SUCCESS | Notify.DELAY, {Notify.SUCCESS, Notify.DELAY}),
    ],
)
def test_senders_hear_what_they_asked_for(
    event: Notify, notify: Notify, events: set[Notify]
) -> None:
    """NOTIFY (RFC 3461 §4.1), recipient by recipient: another's NEVER doesn't count."""
    others = [recipient(2, notify=Notify.NEVER)]
    reports = report_on(event, queued([recipient(1, notify=notify), *others]))
    assert [(each.sender, each.recipient) for each in reports] == (
        [(NULL, SENDER)] if event in events else []
    )
    for report in reports:
        (fields,) = parse_report(report.content).recipient_fields
        assert ("Final-Recipient", "rfc822; you1@far.test") in fields


@pytest.mark.parametrize("event", _EVENTS)
def test_the_postmaster_hears_of_everybody(event: Notify) -> None:
    """Whatever NOTIFY says, where notify_classes has the class; successes are no trouble."""
    message = queued([recipient(1, notify=Notify.NEVER), recipient(2, notify=Notify.NEVER)])
    reports = report_on(event, message, classes=ALL_CLASSES)
    if event is Notify.SUCCESS:
        assert not reports
        return
    (report,) = reports
    assert (report.sender, report.recipient) == (_NOTICE, _POSTMASTER)
    assert len(parse_report(report.content).recipient_fields) == 2


@pytest.mark.parametrize(
    ("classes", "count"),
    [(("2bounce",), 1), (("bounce",), 1), (("delay", "resource"), 0), ((), 0)],
)
def test_null_senders(classes: tuple[str, ...], count: int) -> None:
    """Nobody to tell but the postmaster, and of failures only."""
    message = queued([recipient(notify=Notify.SUCCESS)], Envelope(NULL, ret="HDRS"))
    kept = frozenset(classes)
    assert report_on(Notify.DELAY, message, classes=ALL_CLASSES) == ()
    assert report_on(Notify.SUCCESS, message, classes=ALL_CLASSES) == ()
    reports = report_on(Notify.FAILURE, message, classes=kept)
    assert len(reports) == count
    for report in reports:
        assert (report.sender, report.recipient) == (_NOTICE, _POSTMASTER)
        parsed = parse_report(report.content)
        assert parsed.original.content == b"Return-Path: <>\r\n" + CONTENT


@pytest.mark.parametrize("event", _EVENTS)
def test_double_bounces_end(event: Notify) -> None:
    """Nobody is told of what becomes of the postmaster's copies."""
    sender = Address("Double-Bounce", "MX.test")
    message = queued([recipient(notify=Notify.SUCCESS)], Envelope(sender))
    assert report_on(event, message, classes=ALL_CLASSES) == ()
    assert Reports(settings()).is_postmaster_notice(message)
    assert not Reports(settings()).is_postmaster_notice(queued([recipient()], Envelope(NULL)))


@pytest.mark.parametrize("event", _EVENTS)
@pytest.mark.parametrize("ret", ["", "FULL", "HDRS"])
def test_what_comes_back(event: Notify, ret: str) -> None:
    """RET counts for failures only (RFC 3461 §4.3)."""
    message = queued([recipient(notify=Notify.SUCCESS | event)], Envelope(SENDER, ret=ret))
    (report,) = report_on(event, message)
    whole = event is Notify.FAILURE and ret != "HDRS"
    returned = CONTENT if whole else CONTENT.partition(b"\r\n\r\n")[0] + b"\r\n"
    parsed = parse_report(report.content)
    assert parsed.original.content == b"Return-Path: <me@sender.test>\r\n" + returned
    assert parsed.original.kind == ("message/rfc822" if whole else "text/rfc822-headers")


@pytest.mark.parametrize(("limit", "whole"), [(len(CONTENT), True), (len(CONTENT) - 1, False)])
def test_large_messages_do_not_come_back(limit: int, whole: bool) -> None:
    (report,) = report_on(Notify.FAILURE, queued([recipient()]), size_limit=limit)
    assert (b"the body" in report.content) is whole


@pytest.mark.parametrize(
    ("known", "returned"),
    [(None, b""), (b"", b""), (b"A: b\r\nC: d", b"A: b\r\n"), (CONTENT[:-3], CONTENT[:32])],
)
def test_what_cannot_be_read_does_not_come_back(known: bytes | None, returned: bytes) -> None:
    """Nor lines of the header that are cut."""
    message = queued([recipient()])
    (report,) = Reports(settings()).bounce(message, [(recipient(), REFUSED)], NOW, known)
    parsed = parse_report(report.content)
    assert parsed.original.content == b"Return-Path: <me@sender.test>\r\n" + returned


def test_what_comes_back_is_left_alone() -> None:
    """The postmaster's copy has fields of its own: those of the message stay."""
    content = b"Subject: x\r\nAuto-Submitted: auto-replied\r\n\r\nAuto-Submitted: auto-replied\r\n"
    message = queued([recipient()], Envelope(NULL), content)
    (report,) = report_on(Notify.FAILURE, message, classes=ALL_CLASSES)
    parsed = parse_report(report.content)
    assert parsed.original.content == b"Return-Path: <>\r\n" + content
    assert parsed.header["Auto-Submitted"] == "auto-generated"
    assert parsed.header["Subject"] == "Postmaster Copy: Undelivered Mail"


def test_a_message_with_our_boundary_in_it() -> None:
    """Whoever knows a queue ID must not forge a part."""
    forged = f"--A1B2C3.{int(NOW)}/mx.test--\r\n1.A1B2C3.{int(NOW)}/mx.test\r\n".encode()
    (report,) = report_on(Notify.FAILURE, queued([recipient()], content=CONTENT + forged))
    parsed = parse_report(report.content)
    assert parsed.original.content.endswith(forged)


@pytest.mark.parametrize(
    ("orcpt", "smtputf8", "shown"),
    [
        ("rfc822;a+2Bb+20c@x", False, "rfc822;a+b c@x"),
        ("x400;/c=de", False, "x400;/c=de"),
        ("utf-8;j\\x{F6}s@x", True, "utf-8;jös@x"),
        ("utf-8;jös@x", True, "utf-8;jös@x"),
        ("utf-8;j\\x{F6}s@x", False, "utf-8;j\\x{F6}s@x"),
        ("utf-8;jös@x", False, "utf-8;j\\x{F6}s@x"),
        ("utf-8;j\\x{A}\\x{D800}\\x{FFFFFF}", True, "utf-8;j??\\x{FFFFFF}"),
        ("", False, "rfc822;first@x"),
        ("no type", False, "rfc822;first@x"),
    ],
)
def test_original_recipients(orcpt: str, smtputf8: bool, shown: str) -> None:
    """ORCPT decoded (RFC 3461 §4.2, RFC 6533 §3), or else the address before rewriting."""
    message = queued(
        [recipient(original="first@x", orcpt=orcpt)], Envelope(SENDER, smtputf8=smtputf8)
    )
    (report,) = report_on(Notify.FAILURE, message)
    parsed = parse_report(report.content)
    assert ("Original-Recipient", shown) in parsed.recipient_fields[0]
    kind = "message/global-delivery-status" if smtputf8 else "message/delivery-status"
    assert parsed.parts[1].kind == kind


@pytest.mark.parametrize(
    "message",
    [
        queued([recipient(address=Address("jös", "x.test"))]),
        queued([recipient(original="jös@x.test")]),
        queued([recipient()], Envelope(Address("jös", "x.test"))),
        queued([recipient()], Envelope(SENDER, smtputf8=True)),
    ],
)
def test_addresses_beyond_ascii_make_it_global(message: object) -> None:
    """Also if the client didn't say SMTPUTF8."""
    (report,) = report_on(Notify.FAILURE, message)  # type: ignore[arg-type]
    assert report.smtputf8
    kinds = [part.kind for part in parse_report(report.content).parts]
    assert kinds == ["text/plain", "message/global-delivery-status", "message/global"]


def test_reports_survive_the_way_through_a_7_bit_server() -> None:
    """What the client makes of a report there is still one, with nothing lost."""
    content = "Subject: x\r\nContent-Type: text/plain\r\n\r\nb\u00f6dy\r\n".encode()
    outcome = Outcome(Action.FAILED, "5.1.1", "k\u00f6nig ist weg")
    (report,) = report_on(Notify.FAILURE, queued([recipient()], content=content), outcome)
    converted = convert_to_7bit(report.content)
    assert converted.isascii()
    parsed = parse_report(converted)
    assert b"k=C3=B6nig" in parsed.parts[0].content
    assert b"b=C3=B6dy" in parsed.original.content
    assert parsed.recipient_fields == parse_report(report.content).recipient_fields


def test_diagnostics() -> None:
    """What was said stands as it was; the gateway's own findings under its own name."""
    said = Outcome(
        Action.FAILED, "5.1.1", "host mx said: 550 no", "r", "mx", Diagnostic("smtp", "550 no")
    )
    (report,) = report_on(Notify.FAILURE, queued([recipient()]), said)
    fields = dict(parse_report(report.content).recipient_fields[0])
    assert (fields["Diagnostic-Code"], fields["Remote-MTA"]) == ("smtp; 550 no", "dns; mx")
    (report,) = report_on(Notify.FAILURE, queued([recipient()]), mail_name="my: mail 2")
    parsed = parse_report(report.content)
    assert dict(parsed.message_fields)["X-My--mail-2-Queue-ID"] == "A1B2C3"
    fields = dict(parsed.recipient_fields[0])
    assert fields["Diagnostic-Code"] == "X-My--mail-2; no such user"
    assert "Remote-MTA" not in fields


@pytest.mark.parametrize(
    ("warning", "lifetime", "words"),
    [
        (4 * 3600, 5 * 86400, ("For 4 hour(s) it", "until it is 5 day(s) old")),
        (5400, 3600, ("For 90 minute(s) it", "until it is 1 hour(s) old")),
        (90, 100, ("For 90 second(s) it", "until it is 100 second(s) old")),
    ],
)
def test_times_in_words(warning: float, lifetime: float, words: tuple[str, str]) -> None:
    (report,) = report_on(
        Notify.DELAY, queued([recipient()]), warning_time=warning, lifetime=lifetime
    )
    text = " ".join(parse_report(report.content).text.split())
    assert all(each in text for each in words)


def _from_main_cf(tmp_path: Path, **values: str) -> ReportSettings:
    assignments = {
        name.lstrip("_"): Assignment(name.lstrip("_"), value, "main.cf", 7)
        for name, value in values.items()
    }
    return ReportSettings.from_settings(make_settings(str(tmp_path), assignments, "mx.test"))


def test_settings(tmp_path: Path) -> None:
    """All from main.cf; a bare name is at myorigin."""
    made = _from_main_cf(
        tmp_path,
        myorigin="o.test",
        notify_classes="2bounce bounce, protocol",
        _2bounce_notice_recipient="doubles",
        bounce_notice_recipient="b@x.test",
        delay_warning_time="2h",
        bounce_size_limit="7",
    )
    assert made.classes == {"2bounce", "bounce", "protocol"}
    assert made.bounce_recipient == Address("b", "x.test")
    assert (made.warning_time, made.size_limit) == (7200, 7)
    message = queued([recipient()], Envelope(NULL))
    (report,) = Reports(made).bounce(message, [(recipient(), REFUSED)], NOW, CONTENT)
    assert report.recipient == Address("doubles", "o.test")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("notify_classes", "bounces"),
        ("bounce_notice_recipient", "a@"),
        ("delay_notice_recipient", '"'),
    ],
)
def test_bad_settings(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"main.cf:7: {name}: "):
        _from_main_cf(tmp_path, **{name: value})
