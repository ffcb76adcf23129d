"""Content as it goes out: dots, long lines, stray line ends, 7 bits."""

from __future__ import annotations

import email
import email.policy
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gatewayd.smtp.conversion import convert_to_7bit
from gatewayd.smtp.outgoing import OutgoingContent, encoded

OCTETS = st.lists(
    st.sampled_from(
        [b"\r\n", b".", b"\r", b"\n", b"a", b"bc" * 10, "é".encode(), b" ", b"\r\n.\r\n"]
    ),
    max_size=60,
).map(b"".join)


def unstuffed(octets: bytes) -> bytes:
    """What a receiver that keeps to RFC 5321 §4.5.2 gets, before the end mark."""
    lines = octets.split(b"\r\n")
    return b"\r\n".join(line.removeprefix(b".") for line in lines)


@pytest.mark.parametrize(
    ("content", "sent"),
    [
        (b"", b""),
        (b"a\r\n", b"a\r\n"),
        (b".\r\n", b"..\r\n"),
        (b"..a\r\n.b\r\n", b"...a\r\n..b\r\n"),
        (b"a\r\n.\r\n.\r\n", b"a\r\n..\r\n..\r\n"),
        (b"no end", b"no end\r\n"),
    ],
)
def test_dots_for_data(content: bytes, sent: bytes) -> None:
    """The dot at a line's start is doubled; the content ends with CRLF."""
    assert encoded(content, 998, stuff=True) == sent


def test_bdat_sends_dots_as_they_are() -> None:
    """BDAT counts octets: nothing is doubled."""
    assert encoded(b".\r\n..\r\n", 998, stuff=False) == b".\r\n..\r\n"


@pytest.mark.parametrize("trap", [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\r\n.\r\r\n"])
@pytest.mark.parametrize("stuff", [True, False])
def test_no_end_of_data_between_bare_line_ends(trap: bytes, stuff: bool) -> None:
    """Smuggling: a lone dot never stands between CR or LF in any mixture (security.md 1.1)."""
    sent = encoded(b"a" + trap + b"MAIL FROM:<x>\r\n", 998, stuff=stuff)
    assert not re.search(rb"[\r\n]\.[\r\n]", sent) or (not stuff and b"\r\n.\r\n" in sent)
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", sent)


@hypothesis_settings(deadline=None)
@given(OCTETS, st.lists(st.integers(0, 300), max_size=6), st.sampled_from([0, 20, 998]))
def test_pieces_make_the_whole(content: bytes, cuts: list[int], limit: int) -> None:
    """However a content is cut into pieces, the same octets go out, and arrive."""
    places = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    outgoing = OutgoingContent(limit, stuff=True)
    pieces = [content[a:b] for a, b in itertools.pairwise(places)]
    sent = b"".join(outgoing.feed(piece) for piece in pieces[:-1]) + outgoing.last(pieces[-1])
    assert sent == encoded(content, limit, stuff=True)
    assert b"\r\n.\r\n" not in b"\r\n" + sent
    assert unstuffed(sent) == encoded(content, limit, stuff=False)


@hypothesis_settings(deadline=None)
@given(OCTETS, st.sampled_from([16, 20, 998]))
def test_no_line_is_too_long(content: bytes, limit: int) -> None:
    """Folded lines keep to the limit, and nothing but line ends and blanks is added."""
    sent = encoded(content, limit, stuff=False)
    assert all(len(line) <= limit for line in sent.split(b"\r\n"))
    tidy = encoded(content, 0, stuff=False)
    assert sent.replace(b"\r\n", b"").replace(b" ", b"") == tidy.replace(b"\r\n", b"").replace(
        b" ", b""
    )


@pytest.mark.parametrize("length", [998, 999, 1995, 1996, 5000])
def test_folding_of_one_line(length: int) -> None:
    """Only over the limit, by CRLF and a blank."""
    sent = encoded(b"x" * length + b"\r\nshort\r\n", 998, stuff=True)
    parts = sent.split(b"\r\n")
    assert parts[0] == b"x" * min(998, length)
    assert all(part.startswith(b" ") for part in parts[1:-2])
    assert sent.replace(b"\r\n ", b"") == b"x" * length + b"\r\nshort\r\n"


def test_folding_keeps_characters_whole() -> None:
    """UTF-8 isn't cut within a character."""
    sent = encoded("é".encode() * 1000 + b"\r\n", 997, stuff=True)
    for part in sent.split(b"\r\n"):
        part.decode()


def test_a_line_without_end_takes_bounded_memory() -> None:
    """A line of a gigabyte is folded as it comes."""
    outgoing = OutgoingContent(998, stuff=True)
    for _ in range(50):
        assert len(outgoing.feed(b"x" * 65536)) > 64000
    assert len(outgoing.last(b"\r\n")) < 1100


# 7 bits


def body_of(message: bytes) -> str:
    parsed = email.message_from_bytes(message, policy=email.policy.default)
    content = parsed.get_content()
    assert isinstance(content, str)
    return content


def test_text_becomes_quoted_printable() -> None:
    """Text stays readable, and decodes to what it was."""
    text = "Grüße, = und Leerzeichen am Ende \r\n.\r\n" + "lang " * 40 + "\r\n"
    header = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    before = header + b"Content-Transfer-Encoding: 8bit\r\n\r\n" + text.encode()
    after = convert_to_7bit(before)
    assert after.isascii()
    assert b"Content-Transfer-Encoding: quoted-printable\r\n" in after
    assert b"8bit" not in after
    assert all(len(line) <= 76 for line in after.split(b"\r\n"))
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", after)
    assert body_of(after) == text


def test_other_types_become_base64() -> None:
    """Octets are kept exactly."""
    octets = bytes(range(256)).replace(b"\r", b"").replace(b"\n", b"") + b"\r\n"
    after = convert_to_7bit(
        b"MIME-Version: 1.0\r\nContent-Type: image/png\r\n\r\n" + octets,
    )
    assert after.isascii()
    parsed = email.message_from_bytes(after)
    assert parsed.get_payload(decode=True) == octets


MULTIPART = (
    b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n boundary="b 1"\r\n'
    b"Content-Transfer-Encoding: 8bit\r\n\r\npreamble\r\n"
    b"--b 1\r\nContent-Type: text/plain; charset=utf-8\r\n\r\ngr\xc3\xbc\xc3\x9fe\r\n"
    b"--b 1\r\nContent-Type: text/plain\r\n\r\nascii\r\n"
    b"--b 1\r\nContent-Type: message/rfc822\r\n\r\n"
    b"Subject: inner\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    b"\xc3\xa4\r\n"
    b"\r\n--b 1--\r\nepilogue\r\n"
)


def test_parts_are_converted_one_by_one() -> None:
    """A multipart and a message within are walked: they may not be encoded themselves."""
    after = convert_to_7bit(MULTIPART)
    assert after.isascii()
    parsed = email.message_from_bytes(after, policy=email.policy.default)
    assert "content-transfer-encoding" not in parsed
    first, second, third = parsed.iter_parts()
    assert first.get_content() == "grüße"
    assert second.as_bytes() == b"Content-Type: text/plain\n\nascii"
    inner = third.get_content()
    assert inner["subject"] == "inner"
    assert inner.get_content() == "ä\r\n"


def test_no_mime_at_all() -> None:
    """8-bit text without MIME is labelled, and is not declared to be of a set nobody knows."""
    after = convert_to_7bit(b"Subject: x\r\n\r\ngr\xfc\xdfe\r\n")
    assert after.isascii()
    assert b"MIME-Version: 1.0\r\n" in after
    assert b"charset=unknown-8bit" in after
    assert email.message_from_bytes(after).get_payload(decode=True) == b"gr\xfc\xdfe\r\n"


def test_type_without_version_is_not_doubled() -> None:
    """A Content-Type that is there already counts."""
    after = convert_to_7bit(b"Content-Type: text/html; charset=utf-8\r\n\r\n\xc3\xa4\r\n")
    assert after.lower().count(b"content-type:") == 1


@pytest.mark.parametrize("encoding", [b"base64", b"Quoted-Printable"])
def test_a_broken_encoding_is_left_alone(encoding: bytes) -> None:
    """Encoding it again would change what readers decode."""
    message = b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\nab\xff\r\n"
    assert convert_to_7bit(message) == message


def test_header_text_is_not_lost() -> None:
    """Header fields stay as they are: replacing octets would lose what they say."""
    after = convert_to_7bit("Subject: grüße\r\n\r\nä\r\n".encode())
    assert "Subject: grüße\r\n".encode() in after


def test_deep_nesting_ends() -> None:
    """Hundreds of levels take no recursion of hundreds."""
    message = b"MIME-Version: 1.0\r\n"
    for level in range(300):
        message += b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (level, level)
    message += b"\r\n\xff\r\n"
    convert_to_7bit(message)


def test_a_digests_messages_hold_text() -> None:
    """In a digest, parts are messages by default; what's in those messages is not (RFC 2046)."""
    message = (
        b"MIME-Version: 1.0\r\nContent-Type: multipart/digest; boundary=x\r\n\r\n--x\r\n\r\n"
        b"Subject: inner\r\n\r\nno: header\r\n\r\n\xe4\r\n--x--\r\n"
    )
    (part,) = email.message_from_bytes(convert_to_7bit(message)).get_payload()
    (inner,) = part.get_payload()
    assert inner["subject"] == "inner"
    assert inner.get_payload(decode=True) == b"no: header\r\n\r\n\xe4"


@pytest.mark.parametrize("tail", ["--b", "--b--", "--b" + "z" * 90, "-" * 200, "--" + "ä=" * 60])
@pytest.mark.parametrize("size", [74, 75, 76, 150])
def test_folding_makes_no_delimiter(tail: str, size: int) -> None:
    """Where an encoded line is broken, what follows must not look like the end of the part."""
    body = f"{'x' * size}{tail}\r\nü\r\n".encode()
    message = (
        b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n\r\n%s\r\n--b--\r\n" % body
    )
    after = convert_to_7bit(message)
    assert max(map(len, after.split(b"\r\n"))) <= 76
    (part,) = email.message_from_bytes(after).get_payload()
    assert part.get_payload(decode=True) == body


def test_a_part_without_an_empty_line_is_all_body_or_all_header() -> None:
    start = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
    after = convert_to_7bit(start + b"no field \xe4\r\n--b--\r\n")
    assert b"quoted-printable\r\n\r\nno field =E4\r\n--b--" in after
    header = start + b"Subject: \xe4\r\n--b--\r\n"
    assert convert_to_7bit(header) == header


@hypothesis_settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_body(octets: bytes) -> None:
    """Whatever a message holds, its text comes out as it was."""
    octets = encoded(octets, 0, stuff=False)
    header = b"MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n"
    after = convert_to_7bit(header + octets)
    assert after.isascii()
    decoded = email.message_from_bytes(after).get_payload(decode=True)
    assert isinstance(decoded, bytes)
    assert decoded == octets


@hypothesis_settings(deadline=None)
@given(st.lists(st.sampled_from(MULTIPART.split(b"\r\n")), max_size=30))
def test_any_structure(lines: list[bytes]) -> None:
    """Nothing that looks like MIME and isn't makes it fail."""
    convert_to_7bit(b"\r\n".join(lines) + b"\r\n")
