"""Reports made of whatever remote hosts and senders may say: nothing gets out of its place."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from gatewayd.address import Address
from gatewayd.message import Envelope, Notify
from gatewayd.notify.fields import field
from gatewayd.notify.text import folded
from gatewayd.status import Action, Diagnostic, Outcome
from tests.notify.making import ALL_CLASSES, NOW, OUTCOMES, queued, recipient, report_on
from tests.notify.parsed import Parsed, parse_report

_BOUNDARY = f"A1B2C3.{int(NOW)}/mx.test"
_MEAN = (
    "\r\n",
    "\n",
    "\r",
    "\0",
    "\x1b[2J",
    "\x85",
    "\u2028",
    "\ud800",
    "\r\nBcc: x@y.test",
    "\r\n\r\nFinal-Recipient: rfc822; x@y.test\r\n",
    f"\r\n--{_BOUNDARY}\r\n",
    f"\r\n--{_BOUNDARY}--\r\n",
    "\r\n.\r\n",
    "w" * 1200,
    " " * 1200,
    "\u20ac" * 400,
    "word " * 250,
    '"',
    "\\",
    "<>",
    ";",
    "+0D+0A",
    "\\x{D}\\x{A}",
)
_TEXTS = st.lists(st.sampled_from(_MEAN) | st.text(st.characters(), max_size=20), max_size=6).map(
    "".join
)
_ADDRESSES = st.builds(Address, _TEXTS.filter(bool), _TEXTS)
_SENDERS = _ADDRESSES | st.just(Address("", ""))
_OCTETS = st.lists(
    st.binary(max_size=30)
    | st.sampled_from([each.encode("utf-8", "replace") for each in _MEAN])
    | st.sampled_from([b"\r\n\r\n", b"Subject: x\r\n", b"Content-Type: multipart/mixed;"]),
    max_size=8,
).map(lambda pieces: b"Received: by mx.test\r\n" + b"".join(pieces))
_RECIPIENTS = st.lists(
    st.builds(
        recipient,
        address=_ADDRESSES,
        notify=st.sampled_from([Notify.DEFAULT, Notify.SUCCESS, Notify.FAILURE | Notify.DELAY]),
        original=_TEXTS,
        orcpt=_TEXTS | _TEXTS.map("rfc822;".__add__) | _TEXTS.map("utf-8;".__add__),
    ),
    min_size=1,
    max_size=3,
)
_ENVELOPES = st.builds(
    Envelope, _SENDERS, smtputf8=st.booleans(), ret=st.sampled_from(["", "HDRS"]), envid=_TEXTS
)
_HEADER = [
    "Date",
    "From",
    "Subject",
    "To",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
]


@st.composite
def _outcomes(draw: st.DrawFn, event: Notify) -> Outcome:
    model = OUTCOMES[event]
    text = draw(_TEXTS)
    diagnostic = draw(st.none() | st.builds(Diagnostic, st.just("smtp"), _TEXTS))
    return Outcome(model.action, model.status, text, draw(_TEXTS), draw(_TEXTS), diagnostic)


@given(st.data(), st.sampled_from(list(OUTCOMES)), _ENVELOPES, _RECIPIENTS, _OCTETS, _TEXTS)
def test_nothing_gets_out_of_its_place(
    data: st.DataObject,
    event: Notify,
    envelope: Envelope,
    recipients: list[object],
    content: bytes,
    mail_name: str,
) -> None:
    """Every report has just the fields and parts that it should, and the message as it was."""
    message = queued(recipients, envelope, content)  # type: ignore[arg-type]
    outcome = data.draw(_outcomes(event))
    reports = report_on(event, message, outcome, classes=ALL_CLASSES, mail_name=mail_name)
    for report in reports:
        parsed = parse_report(report.content)
        _check_names(parsed, event)
        if parsed.original.kind in ("message/rfc822", "message/global"):
            assert parsed.original.content.endswith(b"\r\n" + content)


def _check_names(parsed: Parsed, event: Notify) -> None:
    names = parsed.header.keys()
    assert names == [each for each in _HEADER if each in names]
    assert set(_HEADER) - set(names) <= {"Content-Transfer-Encoding"}
    (queue_id, _), (sender, _) = [
        each for each in parsed.message_fields if each[0].startswith("X-")
    ]
    assert queue_id.endswith("-Queue-ID")
    assert sender.endswith("-Sender")
    for fields in parsed.recipient_fields:
        found = [name for name, _ in fields]
        assert found[0] == "Final-Recipient"
        assert ("Will-Retry-Until" in found) is (event is Notify.DELAY)
        assert found.count("Status") == 1


@given(_TEXTS, st.sampled_from([20, 79, 990]))
@example("a  b", 79)
@example("a" * 2000, 79)
def test_folding_loses_nothing(text: str, width: int) -> None:
    """But blanks where a line ends, and those at the end of all."""
    text = text.encode("utf-8", "replace").decode().replace("\n", "")
    lines = folded(text, 4, width).split("\n")
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(line.startswith("    ") for line in lines[1:])
    for line in lines:
        assert len(line.encode()) <= 998
        if " " in line.strip(" "):
            assert len(line.encode()) <= width


@given(_TEXTS)
def test_a_field_is_a_field(text: str) -> None:
    """Whatever is in it."""
    written = field("X-Name", text, 79)
    assert written.startswith("X-Name: ")
    lines = written.split("\r\n")
    assert lines.pop() == ""
    assert all(line.startswith("    ") and line.strip() for line in lines[1:])
    assert all(char >= " " for line in lines for char in line)


def test_a_success_says_where() -> None:
    outcome = Outcome(Action.DELIVERED, "2.0.0", "delivered", "box")
    message = queued([recipient(notify=Notify.SUCCESS)])
    (report,) = report_on(Notify.SUCCESS, message, outcome)
    parsed = parse_report(report.content)
    assert "<you1@far.test>: delivery via box: delivered\n" in parsed.text
    fields = dict(parsed.recipient_fields[0])
    assert fields["Diagnostic-Code"] == "X-Gatewayd; delivery via box: delivered"
    assert fields["Action"] == "delivered"
