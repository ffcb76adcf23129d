"""8-bit MIME content made 7-bit for servers without 8BITMIME (RFC 6152 §3, RFC 2045).

Each part with octets above 127 gets a Content-Transfer-Encoding: quoted-printable for text,
base64 for everything else. Multiparts are walked; what is within limits only. A message without
MIME fields is text of an unknown character set, and is labelled so.
"""

from __future__ import annotations

import base64
import binascii
import re

__all__ = ["convert_to_7bit"]

_DEPTH = 20
_BOUNDARY = re.compile(rb'boundary\s*=\s*(?:"([^"\r\n]{1,200})"|([^\s;"]{1,200}))', re.I)
_CTE = re.compile(rb"content-transfer-encoding:", re.I)
_TYPE = re.compile(rb"content-type:\s*([!-~]+?)\s*(?:;|\s|\Z)", re.I)


def convert_to_7bit(content: bytes) -> bytes:
    """The message with all its parts in 7 bits. Header octets above 127 become ``?``."""
    if content.isascii():
        return content
    header, body = _split(content)
    if not re.search(rb"^mime-version:", header, re.I | re.M):
        header += b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"
    return _converted(header, body, 0)


def _split(entity: bytes) -> tuple[bytes, bytes]:
    """(header with its last CRLF, body) of a message or part."""
    if entity.startswith(b"\r\n"):
        return b"", entity[2:]
    end = entity.find(b"\r\n\r\n")
    if end < 0:
        return entity, b""
    return entity[: end + 2], entity[end + 4 :]


def _converted(header: bytes, body: bytes, depth: int) -> bytes:
    fields = re.split(rb"(?<=\r\n)(?![ \t])", header)
    fields = [_ascii(each) for each in fields if each]
    kind = next((m[1].lower() for f in fields if (m := _TYPE.match(f))), b"text/plain")
    if body.isascii():
        return b"".join(fields) + b"\r\n" + body
    if kind.startswith(b"multipart/") and depth < _DEPTH:
        boundary = _boundary(fields)
        if boundary is not None:
            kept = [each for each in fields if not _CTE.match(each)]
            return b"".join(kept) + b"\r\n" + _multipart(body, boundary, depth)
    kept = [each for each in fields if not _CTE.match(each)]
    if kind == b"message/rfc822" and depth < _DEPTH:
        return b"".join(kept) + b"\r\n" + _converted(*_split(body), depth + 1)
    if kind.startswith(b"text/"):
        label, encoded = b"quoted-printable", _quoted_printable(body)
    else:
        label, encoded = b"base64", _base64(body)
    return b"".join([*kept, b"Content-Transfer-Encoding: " + label + b"\r\n\r\n", encoded])


def _ascii(field: bytes) -> bytes:
    if field.isascii():
        return field
    return field.decode("utf-8", "replace").encode("ascii", "replace")


def _boundary(fields: list[bytes]) -> bytes | None:
    for each in fields:
        if each.lower().startswith(b"content-type:"):
            match = _BOUNDARY.search(each)
            return (match[1] or match[2]) if match else None
    return None


def _multipart(body: bytes, boundary: bytes, depth: int) -> bytes:
    """The parts converted one by one; preamble and epilogue are stripped of 8-bit octets."""
    delimiter = re.compile(rb"(?:\A|(?<=\r\n))--" + re.escape(boundary) + rb"(--)?[ \t]*\r\n")
    out: list[bytes] = []
    at = 0
    inside = False
    for match in delimiter.finditer(body):
        piece = body[at : match.start()]
        out.append(_part(piece, depth) if inside else _ascii(piece))
        out.append(match[0])
        inside = match[1] is None
        at = match.end()
    tail = body[at:]
    out.append(_part(tail, depth) if inside else _ascii(tail))
    return b"".join(out)


def _part(piece: bytes, depth: int) -> bytes:
    if piece.isascii():
        return piece
    # The CRLF before a delimiter belongs to it (RFC 2046 §5.1.1), not to the part.
    ending = b"\r\n" if piece.endswith(b"\r\n") else b""
    converted = _converted(*_split(piece[: len(piece) - len(ending)]), depth + 1)
    return converted.removesuffix(b"\r\n") + ending if ending else converted


def _quoted_printable(body: bytes) -> bytes:
    lines = body.split(b"\r\n")
    return b"\r\n".join(
        binascii.b2a_qp(line, quotetabs=False, istext=True, header=False)
        .replace(b"\r\n", b"\n")
        .replace(b"\n", b"\r\n")
        for line in lines
    )


def _base64(body: bytes) -> bytes:
    encoded = base64.b64encode(body)
    return b"".join(encoded[at : at + 76] + b"\r\n" for at in range(0, len(encoded), 76))
