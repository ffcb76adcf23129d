"""Replies of servers, friendly and hostile."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gatewayd.smtp.replies import BadReply, ReplyReader, ServerReply


def read(octets: bytes) -> list[ServerReply]:
    return list(ReplyReader().feed(octets))


def test_one_line() -> None:
    """Code, enhanced status and text."""
    (reply,) = read(b"250 2.1.5 Ok\r\n")
    assert (reply.code, reply.status, reply.text) == (250, "2.1.5", "250 2.1.5 Ok")
    assert reply.is_positive


def test_several_lines() -> None:
    """All lines stay in the text, as Postfix shows them."""
    (reply,) = read(b"550-5.1.1 No such\r\n550-user\r\n550 5.1.1 here\r\n")
    assert reply.text == "550-5.1.1 No such 550-user 550 5.1.1 here"
    assert reply.status == "5.1.1"
    assert reply.is_permanent


@pytest.mark.parametrize("line", [b"250", b"250 ", b"250\r"])
def test_without_text(line: bytes) -> None:
    """A bare code is a reply; so is one that ends with LF only."""
    (reply,) = read(line + b"\n")
    assert (reply.code, reply.text.strip(), reply.status) == (250, "250", "2.0.0")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"550 4.1.1 odd", "5.0.0"),
        (b"450 no status", "4.0.0"),
        (b"550 5.1.1234 x", "5.0.0"),
        (b"550 5.7.1", "5.7.1"),
    ],
)
def test_status_agrees_with_the_code(line: bytes, status: str) -> None:
    """An enhanced code of another class isn't believed (RFC 2034 §4)."""
    assert read(line + b"\r\n")[0].status == status


@pytest.mark.parametrize("code", [b"354", b"199", b"220"])
def test_positive_means_2xx(code: bytes) -> None:
    """354 is an answer to DATA only; 1xx doesn't exist."""
    if code == b"199":
        with pytest.raises(BadReply):
            read(code + b" x\r\n")
    else:
        assert read(code + b" x\r\n")[0].is_positive is (code == b"220")


@pytest.mark.parametrize(
    "octets",
    [
        b"\r\n",
        b"25\r\n",
        b"2500 x\r\n",
        b"250_x\r\n",
        b"+50 x\r\n",
        b"\xd9\xa2\xd9\xa5\xd9\xa0 x\r\n",
        b"250-a\r\n550 b\r\n",
        b"250 " + b"x" * 5000 + b"\r\n",
        b"250 " + b"x" * 5000,
        b"250-" * 2000,
        b"250-x\r\n" * 20000,
    ],
)
def test_what_is_no_reply(octets: bytes) -> None:
    """Neither other protocols, nor lines or replies without end."""
    with pytest.raises(BadReply):
        read(octets)


def test_endless_reply_takes_bounded_memory() -> None:
    """Lines that never end a reply are given up early."""
    reader = ReplyReader()
    for _ in range(65):
        list(reader.feed(b"250-" + b"x" * 1000 + b"\r\n"))
    with pytest.raises(BadReply):
        list(reader.feed(b"250-" + b"x" * 1000 + b"\r\n"))


def test_text_is_printable_and_bounded() -> None:
    """What a server says ends up in logs and reports."""
    octets = b"550-\x1b[2J\x00\xff\r\n550-" + b"y" * 3000 + b"\r\n550 \xe2\x80\xa8z\r\n"
    (reply,) = read(octets)
    assert reply.text.isprintable()
    assert len(reply.text) <= 2048


@hypothesis_settings(deadline=None)
@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_any_octets(octets: bytes, cuts: list[int]) -> None:
    """Whatever comes is replies or BadReply, cut up or not."""
    places = [0, *sorted(min(cut, len(octets)) for cut in cuts), len(octets)]

    def collected(pieces: list[bytes]) -> tuple[list[ServerReply], bool]:
        reader = ReplyReader()
        replies: list[ServerReply] = []
        for piece in pieces:
            try:
                for reply in reader.feed(piece):
                    replies.append(reply)
            except BadReply:
                return replies, True
        return replies, False

    pieces = [octets[start:end] for start, end in pairwise(places)]
    assert collected(pieces) == collected([octets])
