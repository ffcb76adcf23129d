"""Values of main.cf: flags, numbers, times, lists, networks, paths; ValueProblem or a value."""

from __future__ import annotations

from gatewayd.config.values import (
    ValueProblem,
    check_networks,
    check_path,
    parse_flag,
    parse_number,
    parse_seconds,
    split_words,
)
from tests.fuzz.inputs import split, text

SEEDS = (
    b"yes",
    b"No ",
    b"42",
    b"-17",
    b"5d",
    b"3600s",
    b"1W",
    b"/var/spool/gatewayd",
    b"127.0.0.0/8, [::1]/128 !10.0.0.1 hash:/etc/x {a b, {c}} d",
    b"[2001:db8::]/32 192.0.2.1/24 .example.com",
)
WORDS = (
    *(b"yes", b"no", b"1", b"0", b"9", b"s", b"m", b"h", b"d", b"w", b"-", b"+", b"/", b"8"),
    *(b"{", b"}", b",", b" ", b"!", b"[", b"]", b"::", b"10.0.0.0/8", b"[::1]", b"a", b"."),
)


def target(data: bytes) -> bool:
    """A value in its bounds, or what's wrong with the text; lists come back when joined."""
    payload, _ = split(data)
    source = text(payload)
    taken = False
    for parse in (parse_flag, parse_number, parse_seconds, check_path):
        try:
            value = parse(source)
        except ValueProblem:
            continue
        taken = True
        if parse is parse_number:
            assert str(value) == str(int(source.strip(" \t\r\n\f\v")))
        if parse is parse_seconds:
            assert isinstance(value, float)
            assert 0 <= value < 2**31
    try:
        words = split_words(source)
    except ValueProblem:
        return taken
    assert split_words(", ".join(words)) == words
    assert all(words)
    try:
        check_networks(words)
    except ValueProblem:
        return taken
    return taken or len(words) > 1
