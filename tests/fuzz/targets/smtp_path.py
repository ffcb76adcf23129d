"""Command lines, and the paths of MAIL, RCPT and VRFY: one meaning, or a refusal."""

from __future__ import annotations

from gatewayd.smtp.grammar import (
    CommandError,
    chunk_size,
    etrn_site,
    forward_path,
    reverse_path,
    split_command,
    verify_address,
)
from gatewayd.smtp.reply_texts import printable
from tests.fuzz.inputs import split

SEEDS = (
    b"MAIL FROM:<joe@example.com> SIZE=1000",
    b"rcpt to: <@relay,@other.test:user@[192.0.2.1]> NOTIFY=NEVER",
    b'RCPT TO:<"a \\"b\\" c".d@example.com>',
    b"MAIL FROM:<>",
    b"VRFY user",
    b"ETRN @site.example",
    b"BDAT 1000 LAST",
    b"RCPT TO:<\xc3\xa4@\xc3\xb6.example>",
)
WORDS = (
    *(b"MAIL FROM:", b"RCPT TO:", b"VRFY ", b"ETRN ", b"BDAT ", b"<", b">", b"@", b'"', b"\\"),
    *(b"a", b"example.com", b".", b"-", b",", b":", b"[", b"]", b" ", b"\t", b"(", b")", b"LAST"),
    *(b"@a,@b:", b"\xc3\xa9", b"[IPv6:::1]", b"#", b"0", b"<>", b'""', b"=", b"_"),
)


def target(data: bytes) -> bool:
    """CommandError with a printable reply; what is taken is read the same as we write it."""
    payload, decisions = split(data)
    verb, argument = split_command(payload.decode("utf-8", "replace"))
    assert verb or not argument
    strict = decisions.random() < 0.3
    taken = 0
    for parse in (reverse_path, forward_path):
        try:
            address, _ = parse(argument, strict=strict)
        except CommandError as error:
            _check_refusal(error)
            continue
        taken += 1
        prefix = "FROM:" if parse is reverse_path else "TO:"
        assert parse(f"{prefix}<{address}> X=Y", strict=True)[0] == address
        assert not set(address.domain) & set('<>@",\\ \t()\x00\r\n')
        assert not any(char < " " or char == "\x7f" for char in address.local)
    for small in (verify_address, etrn_site, chunk_size):
        try:
            small(argument)
        except CommandError as error:
            _check_refusal(error)
            continue
        taken += 1
    return bool(taken)


def _check_refusal(error: CommandError) -> None:
    assert printable(error.reply)[:1] in "45"
