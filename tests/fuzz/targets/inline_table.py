"""inline and static tables: their text is in main.cf."""

from __future__ import annotations

from gatewayd.errors import ConfigError
from gatewayd.tables.memory import inline_table, static_table
from tests.fuzz.inputs import answer, split, text

SEEDS = (
    b"{a=b, {c = d e}, F=g}",
    b"{x@example.com=smtp:[relay], {y = {z}}}",
    b"{}",
    b"{ value with blanks }",
)
WORDS = (b"{", b"}", b"=", b",", b" ", b"a", b"B", b"{a=b}", b"a=b", b"{ x = y }")


def target(data: bytes) -> bool:
    """ConfigError, or a table that answers."""
    payload, _ = split(data)
    source = text(payload)
    assert answer(static_table("static", source).lookup(source)) in (source, source[1:-1].strip())
    try:
        table = inline_table("inline", source)
    except ConfigError:
        return False
    for word in source.replace("=", " ").split():
        assert (answer(table.lookup(word)) or "") in source
    return True
