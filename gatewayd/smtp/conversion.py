"""8-bit MIME content made 7-bit for servers without 8BITMIME (RFC 6152 §3, RFC 2045).

Each part with octets above 127 gets a Content-Transfer-Encoding: quoted-printable for text,
base64 for everything else. Multiparts and messages within are walked, since they may not be
encoded themselves (RFC 2045 §6.4). A message without MIME fields is text of an unknown character
set, and is labelled so.

Left as they are: header fields (nothing in RFC 6152 changes them, and replacing octets would lose
text), and parts that claim to be encoded already and are not.
"""

from __future__ import annotations

import base64
import binascii
import re

__all__ = ["convert_to_7bit"]

_DEPTH = 20
_FIELD_START = re.compile(rb"(?<=\r\n)(?![ \t])")
_HEADER = re.compile(rb"(?:[!-9;-~]++[ \t]*+:[^\n]*+(?:\n[ \t][^\n]*+)*(?:\n|\Z))*")
_BOUNDARY = re.compile(rb'boundary\s*=\s*(?:"([^"\r\n]{1,200})"|([^\s;"]{1,200}))', re.I)
_NEW_DASHES = re.compile(rb"(?<==\r\n)--[^\r\n]*")
_HALF = 37
_CTE = re.compile(rb"content-transfer-encoding:\s*([!-~]*)", re.I)
_TYPE = re.compile(rb"content-type:\s*([!-:<-~]+)", re.I)
_VERSION = re.compile(rb"mime-version:", re.I)
_TEXT, _MESSAGE = b"text/plain", b"message/rfc822"
_MESSAGES = (_MESSAGE, b"message/global")


def convert_to_7bit(content: bytes) -> bytes:
    """The message with the bodies of all its parts in 7 bits."""
    header, body = _split(content)
    if body.isascii():
        return content
    fields = _fields(header)
    if not any(_VERSION.match(each) for each in fields):
        fields.append(b"MIME-Version: 1.0\r\n")
        if not any(_TYPE.match(each) for each in fields):
            fields.append(b"Content-Type: text/plain; charset=unknown-8bit\r\n")
    return _entity(fields, body, 0, _TEXT)


def _split(entity: bytes) -> tuple[bytes, bytes]:
    """(header with its last CRLF, body) of a message or part; one may lack the empty line."""
    match = _HEADER.match(entity)
    end = match.end() if match else 0
    return entity[:end], entity[end:].removeprefix(b"\r\n")


def _fields(header: bytes) -> list[bytes]:
    return [each for each in _FIELD_START.split(header) if each]


def _entity(fields: list[bytes], body: bytes, depth: int, default: bytes) -> bytes:
    """A message or part. ``default``: the type it has if it doesn't say (RFC 2046 §5.1.5)."""
    kind = next((m[1].lower() for f in fields if (m := _TYPE.match(f))), default)
    encoding = next((m[1].lower() for f in fields if (m := _CTE.match(f))), b"")
    if body.isascii() or encoding in (b"base64", b"quoted-printable"):
        return b"".join([*fields, b"\r\n", body])
    kept = [each for each in fields if not _CTE.match(each)]
    boundary = _boundary(fields) if kind.startswith(b"multipart/") else None
    if boundary is not None and depth < _DEPTH:
        inner = _MESSAGE if kind == b"multipart/digest" else _TEXT
        return b"".join([*kept, b"\r\n", _multipart(body, boundary, depth, inner)])
    if kind in _MESSAGES and depth < _DEPTH:
        return b"".join([*kept, b"\r\n", _within(body, depth + 1, _TEXT)])
    if kind.startswith((b"text/", b"message/")):
        label, converted = b"quoted-printable", _quoted_printable(body)
    else:
        label, converted = b"base64", _base64(body)
    return b"".join([*kept, b"Content-Transfer-Encoding: " + label + b"\r\n\r\n", converted])


def _boundary(fields: list[bytes]) -> bytes | None:
    for each in fields:
        if _TYPE.match(each):
            match = _BOUNDARY.search(each)
            return (match[1] or match[2]) if match else None
    return None


def _multipart(body: bytes, boundary: bytes, depth: int, default: bytes) -> bytes:
    """The parts, one by one; before and after them nobody reads what can't be kept."""
    delimiter = re.compile(
        rb"(?:\A|(?<=\r\n))--" + re.escape(boundary) + rb"(--)?[ \t]*(?:\r\n|\Z)"
    )
    out: list[bytes] = []
    at = 0
    inside = False
    for match in delimiter.finditer(body):
        piece = body[at : match.start()]
        out.append(_part(piece, depth, default) if inside else _question_marks(piece))
        out.append(match[0])
        inside = match[1] is None
        at = match.end()
        if not inside:
            break
    tail = body[at:]
    out.append(_part(tail, depth, default) if inside else _question_marks(tail))
    return b"".join(out)


def _question_marks(octets: bytes) -> bytes:
    return (
        octets if octets.isascii() else octets.decode("ascii", "replace").encode("ascii", "replace")
    )


def _part(piece: bytes, depth: int, default: bytes) -> bytes:
    if piece.isascii():
        return piece
    # The CRLF before a delimiter belongs to it (RFC 2046 §5.1.1), not to the part.
    ending = b"\r\n" if piece.endswith(b"\r\n") else b""
    return _within(piece[: len(piece) - len(ending)], depth + 1, default) + ending


def _within(entity: bytes, depth: int, default: bytes) -> bytes:
    header, body = _split(entity)
    return entity if body.isascii() else _entity(_fields(header), body, depth, default)


def _quoted_printable(body: bytes) -> bytes:
    # b2a_qp breaks lines as the first line does: a body of one line needs to be shown how.
    ended = body if body.endswith(b"\r\n") else body + b"\r\n"
    encoded = binascii.b2a_qp(ended, quotetabs=False, istext=True, header=False)
    encoded = _NEW_DASHES.sub(_without_dashes, encoded)
    return encoded if ended is body else encoded.removesuffix(b"\r\n")


def _without_dashes(match: re.Match[bytes]) -> bytes:
    """A line that was none before and begins like a delimiter of parts: with "=2D", 76 wide."""
    line = match[0]
    cut = _HALF
    while b"=" in line[cut - 2 : cut]:
        cut -= 1
    parts = (line,) if len(line) <= 2 * _HALF else (line[:cut] + b"=", line[cut:])
    return b"\r\n".join(b"=2D" + part[1:] if part[:2] == b"--" else part for part in parts)


def _base64(body: bytes) -> bytes:
    encoded = base64.b64encode(body)
    return b"".join(encoded[at : at + 76] + b"\r\n" for at in range(0, len(encoded), 76))
