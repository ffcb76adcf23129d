"""8-bit content made 7-bit: what a reader of MIME gets is what it would have got before."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.message import Message

from gatewayd.receive.headers import HeaderFilter, HeaderRules, TooManyHops
from gatewayd.smtp.content import ContentDecoder
from gatewayd.smtp.conversion import convert_to_7bit
from tests.fuzz.inputs import split

SEEDS = (
    b"Subject: x\r\n\r\nj\xc3\xb6rg\r\n",
    b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\npre\r\n--b\r\n'
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    b"\xc3\xa9\r\n--b\r\nContent-Type: image/png\r\n\r\n\x89PNG\xff\r\n--b--\r\npost\r\n",
    b"MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\n\xff\r\n",
    b"MIME-Version: 1.0\r\nContent-Type: multipart/digest; boundary=x\r\n\r\n--x\r\n\r\n"
    b"Subject: y\r\n\r\n\xe4\r\n--x--\r\n",
    b"Content-Transfer-Encoding: base64\r\n\r\n\xff\r\n",
)
WORDS = (
    *(b"\r\n", b"\xc3\xa9", b"\xff", b"MIME-Version: 1.0\r\n", b"Content-Type: ", b"text/plain"),
    *(
        b"multipart/mixed; boundary=b\r\n",
        b"--b\r\n",
        b"--b--\r\n",
        b"\r\n--b\r\n",
        b"message/rfc822",
    ),
    *(
        b"Content-Transfer-Encoding: 8bit\r\n",
        b"base64",
        b"quoted-printable",
        b";",
        b'"',
        b" ",
        b"=",
    ),
    *(b"image/png\r\n", b"multipart/digest; boundary=x\r\n", b"--x\r\n", b".", b"a", b"\t"),
)
FOUND = (
    b"n:\nContent-Type:multipart/digest;boundary=x\n\n--x\n\nt:\n\n\xe4\n--x--:^HB\xfa\xb4(\xf7",
    b'n:\nContent-Type:multipart/d;boundary="b"\n--b\ng:\n\npart/part/part/part/part/part/part/part/part/part/part/part/part/part/part/part/part/part/part/part/part/part/part/part/part/part/part/part/part/part/--b\n\xff\n--b--\xa4\xd91\xa5\x17,\x03\xfa',
)
# Of other forms, and of other kinds of message, readers make different things.
_KIND = r"(?:(?:text|image|multipart)/[a-z]+|message/(?:rfc822|global))"
_TYPE = re.compile(rf"{_KIND}\s*(?:;\s*[a-z]+=\"?[\w-]+\"?\s*)*\Z", re.ASCII)
# Python's reader takes the first of several delimiters only, even if the next is the last.
_DELIMITERS = re.compile(rb"--\S+\s*\r\n--")


def target(data: bytes) -> bool:
    """Bodies are ASCII unless they said they were encoded; a simple part decodes to itself."""
    payload, _ = split(data)
    content = _queued(payload)
    converted = convert_to_7bit(content)
    if _body(content).isascii():
        assert converted == content
        return False
    if not _claims_more(content):
        assert _body(converted).isascii()
        assert max(map(len, _body(converted).split(b"\r\n"))) <= max(
            78, *map(len, _body(content).split(b"\r\n"))
        )
    assert convert_to_7bit(converted) == converted
    before, after = message_from_bytes(content), message_from_bytes(converted)
    if not _is_odd(before) and not _DELIMITERS.search(content):
        assert not _is_odd(after)
        for one, other in zip(before.walk(), after.walk(), strict=True):
            assert _decoded(one) == _decoded(other)
            assert _raw(other).isascii() or _claims_encoding(content)
    return True


def _is_odd(message: Message) -> bool:
    """Whether a reader of MIME would have to guess; parts may hold no header but a body's line."""
    for each in message.walk():
        if each.defects or (not each.keys() and _raw(each)):
            return True
        if any(not _TYPE.match(str(value)) for value in each.get_all("content-type", ())):
            return True
        if (
            len(each.get_all("content-type", ())) > 1
            or len(each.get_all("content-transfer-encoding", ())) > 1
        ):
            return True
    return False


def _raw(message: Message) -> bytes:
    payload = message.get_payload()
    return payload.encode("utf-8", "surrogateescape") if isinstance(payload, str) else b""


def _queued(octets: bytes) -> bytes:
    """As the queue holds it: CRLF, and a header that ends."""
    decoder = ContentDecoder()
    header = HeaderFilter(HeaderRules(), b"Received: x\r\n")
    out = header.feed(decoder.feed(octets) + decoder.finish())
    try:
        return out + header.finish()
    except TooManyHops:
        return b"\r\n"


def _body(content: bytes) -> bytes:
    return (b"\r\n" + content).partition(b"\r\n\r\n")[2]


def _claims_encoding(content: bytes) -> bool:
    folded = content.lower()
    return b"base64" in folded or b"quoted-printable" in folded


def _claims_more(content: bytes) -> bool:
    """Whether it says that it is encoded already, or is made of parts."""
    folded = content.lower()
    return _claims_encoding(content) or b"multipart" in folded or b"message/" in folded


def _decoded(message: Message) -> bytes:
    octets = message.get_payload(decode=True)
    return octets.rstrip(b"\r\n") if isinstance(octets, bytes) else b""
