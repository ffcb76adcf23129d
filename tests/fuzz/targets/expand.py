"""``$`` forms in values: a value or ExpandError, in bounded time and size."""

from __future__ import annotations

from gatewayd.config.expand import ExpandError, expand, references
from tests.fuzz.inputs import split, text

SEEDS = (
    b"$myhostname, localhost.$mydomain ${a}$(b)$$",
    b"${a?yes}${e:no}${a?{x$b}:{y}} ${a ? {${e:{deep}}} : {z}}",
    b"${{$n} == {5} ? {eq} : {ne}}${{3.10} >level {3.9}?{new}}${{a}<{b}}",
    b"${domain_to_ascii{b\xc3\xbccher.example}}${domain_to_utf8{xn--bcher-kva.example}}",
    b"$grow$circle",
)
WORDS = (
    *(b"$a", b"$e", b"$n", b"${", b"$(", b"}", b")", b"{", b"?", b":", b"?{", b"}:{", b"$$"),
    *(b"${a?{", b"${{", b"} == {", b"} <level {", b"==", b"!=", b"<=", b"level", b"$grow"),
    *(b"${domain_to_ascii{", b"${domain_to_utf8{", b"$circle", b"5", b"3.6", b" ", b"x", b"$b"),
)
_VALUES = {
    "a": "text",
    "b": "$a-$n",
    "n": "5",
    "e": "",
    "circle": "$circle",
    "grow": "$grow1$grow1",
    **{f"grow{n}": f"$grow{n + 1}$grow{n + 1}" for n in range(1, 8)},
}


def target(data: bytes) -> bool:
    """What is asked for is among the references; a text without dollars is itself."""
    payload, _ = split(data)
    source = text(payload)
    asked: set[str] = set()

    def lookup(name: str) -> str | None:
        asked.add(name)
        return _VALUES.get(name)

    try:
        value = expand(source, lookup)
    except ExpandError:
        value = None
    try:
        named = references(source)
    except ExpandError:
        return False
    if value is None:
        return False
    assert len(value) <= len(source) + (2 << 20)
    assert "$" in source or value == source
    within = {name for each in _VALUES.values() for name in references(each)}
    assert asked <= named | within
    return True
