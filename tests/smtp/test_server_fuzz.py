"""The SMTP server's fuzz target, for a moment and always with the same inputs."""

from __future__ import annotations

import random

import pytest

from tests.fuzz import fuzz_smtp_server as fuzz


def test_fuzz() -> None:
    """Two thousand mutated dialogues break nothing."""
    for seed in range(2000):
        try:
            fuzz.check(seed)
        except Exception as error:
            pytest.fail(f"seed {seed}: {error!r}")


def test_the_fuzzer_reaches_the_queue() -> None:
    """The inputs aren't all refused at the door: messages are taken by DATA and by BDAT."""
    taken = chunks = 0
    for seed in range(300):
        source = random.Random(seed)
        octets = fuzz.make_input(source)
        talk = fuzz.make_desk(source)
        talk.say(octets)
        taken += len(talk.taken)
        chunks += b"bdat=" in talk.session.summary().encode() and bool(talk.taken)
    assert taken > 15
    assert chunks > 3
