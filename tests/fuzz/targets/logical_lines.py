"""Logical lines of configuration files and table sources: no word lost, every place known."""

from __future__ import annotations

from gatewayd.config.logical_lines import logical_lines
from tests.fuzz.inputs import split, text

SEEDS = (
    b"a = 1\n  2\n\n# comment\n\t3\nb = 4\r\n",
    b"  orphan\nname = value # no comment\n   # indented comment\n more",
    b"\n\n\x0c\n x\n\x85\n\xff\n",
)
WORDS = (b"a", b" ", b"\t", b"\n", b"\r\n", b"#", b"\n ", b"\n#", b"=", b"\x0b", b"\x0c")
_BLANKS = " \t\r\f\v"


def target(data: bytes) -> bool:
    """The lines hold what stands in the file, in order, each at its place."""
    payload, _ = split(data)
    source = text(payload)
    physical = source.split("\n")
    kept = [line for line in physical if line.strip(_BLANKS) and line.strip(_BLANKS)[0] != "#"]
    found = list(logical_lines(source))
    joined = "".join(line.text for line in found)
    assert _solid(joined) == _solid("".join(kept))
    last = 0
    for place, line in enumerate(found):
        assert "\n" not in line.text
        assert line.text == line.text.rstrip(_BLANKS)
        assert not line.orphan or place == 0
        assert last < line.number <= len(physical)
        numbers = [line.number_at(at) for at in range(0, len(line.text), 97)]
        assert numbers == sorted(numbers)
        assert physical[line.number - 1].strip(_BLANKS)[:1] == line.text[:1]
        last = numbers[-1] if numbers else line.number
    return bool(found)


def _solid(line: str) -> str:
    return line.translate(dict.fromkeys(map(ord, _BLANKS)))
