"""postcat's header and body: however the content comes, together they are the content."""

from __future__ import annotations

from gatewayd.cli.postcat import _parts
from tests.fuzz.inputs import pieces, split

SEEDS = (
    b"Subject: x\r\nTo: y\r\n\r\nbody\r\n\r\nmore\r\n",
    b"\r\nbody only\r\n",
    b"Subject: no body\r\n",
)
WORDS = (b"\r\n", b"\r", b"\n", b"\r\n\r\n", b"a", b": ")


def target(data: bytes) -> bool:
    """Each part alone, and both, are the same for any pieces; nothing is lost."""
    payload, decisions = split(data)
    content = payload.replace(b"\r\n", b"\n").replace(b"\r", b" ").replace(b"\n", b"\r\n")
    for parts in ({"h"}, {"b"}, {"b", "h"}):
        whole = b"".join(_parts(iter([content]), parts))
        assert b"".join(_parts(pieces(content, decisions), parts)) == whole
        if parts == {"b", "h"}:
            assert whole == content
    header = b"".join(_parts(iter([content]), {"h"}))
    body = b"".join(_parts(iter([content]), {"b"}))
    assert content in (header + body, header + b"\r\n" + body)
    return bool(body)
