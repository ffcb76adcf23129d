"""Sources of tables for postmap and texthash: entries, and a warning for each other line."""

from __future__ import annotations

import contextlib

from gatewayd.config.logical_lines import logical_lines
from gatewayd.tables.source import SourceError, parse_source, split_entry
from tests.fuzz.inputs import split, text

SEEDS = (
    b"user@example.com   smtp:[relay]:25\n# comment\n@example.org discard:\n  continued\n",
    b'"quo ted"@example.com value\nback\\ slash value "with" quotes\n"open value\n',
    b"key\nkey: value\n\xff\xfe x\n",
)
WORDS = (b"a", b" ", b"\t", b'"', b"\\", b"\n", b"\n ", b"@", b":", b"value", b"#", b'\\"', b"x y")


def target(data: bytes) -> bool:
    """Every line is an entry or is warned of; an entry, written again, is the same."""
    payload, _ = split(data)
    source = text(payload)
    found = parse_source(source, "f")
    told = [problem.line for problem in found.warnings if "alias file" not in problem.text]
    named = [entry.line for entry in found.entries]
    assert sorted(told + named) == [line.number for line in logical_lines(source)]
    for problem in found.warnings:
        str(problem).encode()
    for entry in found.entries:
        assert entry.key
        assert entry.value
        assert split_entry(f"{entry.key} {entry.value}") == (entry.key, entry.value)
    with contextlib.suppress(SourceError):
        split_entry(source)
    return bool(found.entries)
