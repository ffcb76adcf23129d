"""The header filter: what is added, dropped, counted and cut, however the octets arrive."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.receive.headers import (
    HeaderFilter,
    HeaderRules,
    TooManyHops,
    header_field,
    sanitised,
)

_TRACE = b"Received: by gw.test (gatewayd)\r\n\tid X; now\r\n"
_MISSING = (("Message-Id", "<1.X@gw.test>"), ("Date", "today"), ("From", "a@b.c"))


def _filtered(
    *pieces: bytes,
    rules: HeaderRules | None = None,
    missing: tuple[tuple[str, str], ...] = (),
) -> bytes:
    header = HeaderFilter(rules or HeaderRules(), _TRACE, missing)
    out = b"".join(header.feed(piece) for piece in pieces) + header.finish()
    assert out.startswith(_TRACE)
    return out[len(_TRACE) :]


def test_an_ordinary_message_passes_unchanged() -> None:
    """Header and body stay as they were, after our trace field."""
    message = b"Subject: x\r\n folded\r\nTo: a@b.c\r\n\r\nbody\r\n\r\nReceived: no\r\n"
    assert _filtered(message) == message


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"", b""),
        (b"\r\n", b"\r\n"),
        (b"\r\nbody\r\n", b"\r\nbody\r\n"),
        (b"Subject: x\r\n", b"Subject: x\r\n"),
        (b"Subject: x", b"Subject: x\r\n"),
        (b"hello\r\n", b"\r\nhello\r\n"),
        (b"hello", b"\r\nhello\r\n"),
        (b"Subject: x\r\nhello\r\nTo: b\r\n", b"Subject: x\r\n\r\nhello\r\nTo: b\r\n"),
        (b" not folded\r\nTo: b\r\n", b"\r\n not folded\r\nTo: b\r\n"),
        (b"\tnot folded\r\n", b"\r\n\tnot folded\r\n"),
        (b"From x y\r\nTo: b\r\n\r\nz\r\n", b"X-Mailbox-Line: From x y\r\nTo: b\r\n\r\nz\r\n"),
        (
            b">From x\r\nFrom y\r\n\r\n",
            b"X-Mailbox-Line: >From x\r\nX-Mailbox-Line: From y\r\n\r\n",
        ),
        (b"To: b\r\nFrom x\r\n", b"To: b\r\n\r\nFrom x\r\n"),
        (
            b"To \t: b\r\nX : y : z\r\n a : b\r\n\r\nTo : b\r\n",
            b"To: b\r\nX: y : z\r\n a : b\r\n\r\nTo : b\r\n",
        ),
        (b": b\r\n", b"\r\n: b\r\n"),
        (b"From a\r\nFrom : b\r\n\r\n", b"X-Mailbox-Line: From a\r\nFrom: b\r\n\r\n"),
        (b"A B: c\r\n", b"\r\nA B: c\r\n"),
        (b"\xc3\xa9: c\r\n", b"\r\n\xc3\xa9: c\r\n"),
        (b"To:b\r\n \r\nx: y\r\n\r\n", b"To:b\r\n \r\nx: y\r\n\r\n"),
        (b"Bcc: s\r\n t\r\nTo: b\r\n\r\n", b"To: b\r\n\r\n"),
        (b"To: b\r\nBCC : s\r\n\r\nBcc: body\r\n", b"To: b\r\n\r\nBcc: body\r\n"),
        (b"Return-Path: <x>\r\nContent-Length: 3\r\nResent-Bcc: z\r\n\r\n", b"\r\n"),
        (b"Bccx: s\r\n\r\n", b"Bccx: s\r\n\r\n"),
    ],
)
def test_headers_end_and_fields_go(message: bytes, expected: bytes) -> None:
    """Where the header ends, what is dropped, what a non-header line does; at every split."""
    assert _filtered(message) == expected
    for at in range(len(message) + 1):
        assert _filtered(message[:at], message[at:]) == expected
    assert _filtered(*(message[i : i + 1] for i in range(len(message)))) == expected


def test_missing_fields_are_added_before_the_body() -> None:
    """Each that is not there, in order, after the fields that are."""
    out = _filtered(b"To: b\r\ndate: d\r\n\r\nx\r\n", missing=_MISSING)
    assert out == b"To: b\r\ndate: d\r\nMessage-Id: <1.X@gw.test>\r\nFrom: a@b.c\r\n\r\nx\r\n"
    out = _filtered(b"x\r\n", missing=_MISSING[:1])
    assert out == b"Message-Id: <1.X@gw.test>\r\n\r\nx\r\n"
    out = _filtered(b"", missing=_MISSING[:1])
    assert out == b"Message-Id: <1.X@gw.test>\r\n"


def test_resent_messages_get_resent_fields() -> None:
    """RFC 5322 §3.6.6: the fields of the resending, not of the message."""
    out = _filtered(b"Resent-To: b\r\n\r\n", missing=_MISSING[:2])
    assert b"Resent-Message-Id: <1.X@gw.test>\r\nResent-Date: today\r\n" in out


def test_undisclosed_recipients() -> None:
    """Added only where no recipient field was, even one that was dropped."""
    rules = HeaderRules(undisclosed_recipients="To: undisclosed-recipients:;")
    assert _filtered(b"Cc: x\r\n\r\n", rules=rules) == b"Cc: x\r\n\r\n"
    assert _filtered(b"Bcc: x\r\n\r\n", rules=rules) == b"\r\n"
    assert _filtered(b"\r\n", rules=rules) == b"To: undisclosed-recipients:;\r\n\r\n"


@pytest.mark.parametrize(
    ("message", "message_id"),
    [
        (b"Message-ID: <a@b>\r\n\r\n", "<a@b>"),
        (b"message-id:\r\n <a@b>\r\n\tc\r\n\r\n", "<a@b> c"),
        (b"Message-Id: one\r\nMessage-Id: two\r\n\r\n", "one"),
        (b"Message-Id: \x01\x1b[m\xff\r\n\r\n", "??[m\N{REPLACEMENT CHARACTER}"),
        (b"To: x\r\n\r\nMessage-Id: <body>\r\n", ""),
    ],
)
def test_message_id_for_the_log(message: bytes, message_id: str) -> None:
    """Unfolded, without control characters, the first one."""
    header = HeaderFilter(HeaderRules(), _TRACE)
    header.feed(message)
    header.finish()
    assert header.message_id == message_id


def test_hops_are_counted_with_our_own() -> None:
    """hopcount_limit is reached when our own field makes it so."""
    rules = HeaderRules(hop_limit=5)
    line = b"Received: x\r\n\ty\r\n"
    _filtered(line * 3 + b"\r\n" + line * 9, rules=rules)
    header = HeaderFilter(rules, _TRACE)
    with pytest.raises(TooManyHops):
        header.feed(b"To: x\r\n" + line * 4 + b"\r\n")
    header = HeaderFilter(rules, _TRACE)
    header.feed(line * 4)
    with pytest.raises(TooManyHops):
        header.finish()


def test_eight_bit_is_noticed_anywhere() -> None:
    """In header or body, in any piece."""
    for pieces in ([b"a: \xff\r\n\r\n"], [b"a: b\r\n\r\n", b"x", b"\x80\r\n"]):
        header = HeaderFilter(HeaderRules(), _TRACE)
        for piece in pieces:
            assert not header.has_8bit
            header.feed(piece)
        assert header.has_8bit
    header = HeaderFilter(HeaderRules(), _TRACE)
    header.feed(b"a: b\r\n\r\n\x7f")
    assert not header.has_8bit


def test_one_endless_field_is_cut() -> None:
    """Its beginning stays; what follows in the message isn't touched."""
    rules = HeaderRules(size_limit=100)
    out = _filtered(
        b"To: b\r\nX: " + b"y" * 150,
        b"y" * 500 + b"\r\n z",
        b"z\r\n",
        b"Bcc: s\r\n\r\nbody\r\n",
        rules=rules,
    )
    assert out.startswith(b"To: b\r\nX: yyy")
    assert out.endswith(b"y\r\n\r\nbody\r\n")
    assert len(out) < 200
    out = _filtered(b"X: " + b"y" * 150 + b"\r\n", b"Bcc: s", b"\r\n\r\nbody\r\n", rules=rules)
    assert out == b"X: " + b"y" * 97 + b"\r\n\r\nbody\r\n"
    out = _filtered(b"X: " + b"y" * 500, b"\r\n", rules=rules)
    assert out == b"X: " + b"y" * 97 + b"\r\n"


def test_an_endless_line_that_is_no_field_is_body() -> None:
    """It isn't held back, and nothing of it is lost."""
    rules = HeaderRules(size_limit=100)
    assert _filtered(b"y " * 100, b"z\r\n", rules=rules) == b"\r\n" + b"y " * 100 + b"z\r\n"


def test_many_fields_pass_in_bounded_memory() -> None:
    """A header of megabytes is let out as it comes, dropped fields and hops still noticed."""
    header = HeaderFilter(HeaderRules(size_limit=1000), _TRACE)
    out = b""
    for number in range(20000):
        out += header.feed(b"X-%d: yes\r\n folded\r\nBcc: s\r\n t\r\n" % number)
        assert len(header._buffer) < 1100
    out += header.feed(b"\r\nbody\r\n") + header.finish()
    assert b"Bcc" not in out
    assert b" t\r\n" not in out
    assert out.count(b" folded\r\n") == 20000


_LINES = st.lists(
    st.sampled_from(
        [
            *(b"To: x\r\n", b" fold\r\n", b"\tfold\r\n", b"Bcc: secret\r\n", b"From x\r\n"),
            *(b"no header\r\n", b"\r\n", b"Received: y\r\n", b"Message-Id: <m>\r\n", b"X:\r\n"),
            *(b" \r\n", b"A : b\r\n", b":\r\n", b">From z\r\n", b"last without end"),
        ]
    ),
    max_size=12,
)


@given(_LINES, st.lists(st.integers(0, 150), max_size=8))
def test_every_split_gives_the_same(lines: list[bytes], cuts: list[int]) -> None:
    """The outcome depends on the octets, not on how they arrive."""
    message = b"".join(lines)
    places = sorted({0, len(message), *(cut for cut in cuts if cut < len(message))})
    pieces = [message[a:b] for a, b in itertools.pairwise(places)]
    assert _filtered(*pieces, missing=_MISSING) == _filtered(message, missing=_MISSING)


@given(st.lists(st.binary(max_size=60), max_size=12), st.integers(1, 80))
def test_any_octets_are_taken(pieces: list[bytes], limit: int) -> None:
    """Only TooManyHops is ever raised, and memory stays bounded."""
    header = HeaderFilter(HeaderRules(size_limit=limit), _TRACE, _MISSING)
    try:
        for piece in pieces:
            header.feed(piece)
            assert len(header._buffer) <= limit + 80
        header.finish()
    except TooManyHops:
        return


@given(_LINES)
def test_secrets_never_get_out_of_the_header(lines: list[bytes]) -> None:
    """Whatever is in front of the body, no dropped field is."""
    out = _filtered(b"".join(lines))
    header, _, _ = (b"\r\n" + out).partition(b"\r\n\r\n")
    assert b"\r\nBcc:" not in header


@pytest.mark.parametrize("bad", ["a\rb", "a\nb", "a\0b", "a\r\nBcc: x"])
def test_a_field_with_line_ends_is_refused(bad: str) -> None:
    """The only writer of fields lets nobody begin a line."""
    with pytest.raises(ValueError, match="control character"):
        header_field("Received", "ok", bad)
    with pytest.raises(ValueError, match="control character"):
        header_field(bad, "ok")


def test_fields_are_written_folded() -> None:
    """Further lines are continuation lines."""
    assert header_field("A", "b", "c") == b"A: b\r\n\tc\r\n"


def test_sanitised_text_has_no_control_characters() -> None:
    """They become question marks."""
    assert sanitised("a\r\nb\0\x7f") == "a??b??"
