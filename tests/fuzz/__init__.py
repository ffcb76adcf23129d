"""Fuzzing: every parser against octets that nobody thought of.

    python -m tests.fuzz                              all targets, 10 seconds each
    python -m tests.fuzz regexp_table --seconds 600   one of them, for longer
    python -m tests.fuzz dns_message --input FILE     what a finding does
    python -m tests.fuzz smtp_session --atheris …     guided by coverage, if atheris is installed

A target is a module in ``targets/``:

    SEEDS    payloads to begin with
    WORDS    what the format is made of: spliced in, repeated, put together to new payloads
    FOUND    whole inputs that broke a promise once; they are run first, always
    target(data) -> whether the parser took it; raises only if a promise is broken

An input is a payload and, as its last eight octets, the seed of every decision beside it: where
octets are cut, which settings hold (``inputs.split``). So an input alone says all that happened.
"""
