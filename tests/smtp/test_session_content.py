"""Content off the wire: the same whatever the pieces, and ended by CRLF.CRLF only."""

from __future__ import annotations

import re
import time
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gatewayd.smtp.content import BareLf, ContentDecoder, DataDecoder

_WIRE = st.text(alphabet="\r\n.ab", max_size=40).map(lambda text: text.encode())
_CUTS = st.lists(st.integers(0, 60), max_size=8)


def _pieces(wire: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut for cut in cuts if cut < len(wire)), len(wire)]
    return [wire[start:end] for start, end in pairwise(edges)]


def _data(pieces: list[bytes], mode: BareLf) -> tuple[bytes, bytes | None, bool]:
    """(content, what follows the end, whether a bare LF was seen)."""
    decoder = DataDecoder(mode)
    content = b""
    for number, piece in enumerate(pieces):
        more, rest = decoder.feed_data(piece)
        content += more
        if rest is not None:
            return content, rest + b"".join(pieces[number + 1 :]), decoder.found_bare_lf
    return content, None, decoder.found_bare_lf


def _by_line(wire: bytes, *, dots: bool) -> bytes:
    """The content of complete lines, done the slow and obvious way."""
    lines = []
    for line in re.findall(rb"[^\n]*\n", wire):
        body = re.sub(rb"\r{0,2}\n\Z", b"", line)
        if dots and body.startswith(b"."):
            body = body[1:]
        lines.append(body.replace(b"\r", b" ") + b"\r\n")
    return b"".join(lines)


@given(_WIRE, _CUTS)
@example(b"\r\n.\r\n", [1, 2, 3, 4])
@example(b"a\n.\r\n.\r\nb", [2, 3])
@example(b"\r\r\n.\r\r\n.\r\n", [1, 2, 3, 4, 5, 6, 7, 8])
@example(b"a\n\r.\r\n", [2])
def test_data_by_any_pieces(wire: bytes, cuts: list[int]) -> None:
    """CRLF.CRLF ends it, and the content is that of the slow way, however it's cut."""
    before, marker, after = (b"\r\n" + wire).partition(b"\r\n.\r\n")
    content, rest, _ = _data(_pieces(wire, cuts), BareLf.NORMALIZE)
    if marker:
        assert rest == after
        assert content == _by_line((before + b"\r\n")[2:], dots=True)
    else:
        assert rest is None
        whole = wire[: wire.rfind(b"\n") + 1]
        assert _by_line(whole, dots=True).startswith(content[: content.rfind(b"\n") + 1])


@given(_WIRE)
def test_data_octet_by_octet(wire: bytes) -> None:
    """Octet by octet or at once makes no difference, in any mode."""
    for mode in BareLf:
        end = wire + b"\r\n.\r\n"
        assert _data([end], mode) == _data([bytes([octet]) for octet in end], mode)


@given(_WIRE, _CUTS)
def test_chunks_by_any_pieces(wire: bytes, cuts: list[int]) -> None:
    """BDAT's content: dots stay, and a line end is added if it's missing."""
    decoder = ContentDecoder()
    content = b"".join(decoder.feed(piece) for piece in _pieces(wire, cuts)) + decoder.finish()
    whole = wire if not wire or wire.endswith(b"\n") else wire + b"\n"
    if wire.endswith(b"\r"):
        # A CR at the very end is a stray one, as there's no LF to it.
        text = wire.rstrip(b"\r")
        whole = text + b" " * (len(wire) - len(text)) + b"\n"
    assert content == _by_line(whole, dots=False)


@given(_WIRE, st.sampled_from(BareLf))
def test_what_comes_out_has_one_reading(wire: bytes, mode: BareLf) -> None:
    """No CR or LF but in pairs: what is passed on cannot end anywhere else."""
    content, _, _ = _data([wire + b"\r\n.\r\n"], mode)
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", content)
    assert content.endswith(b"\r\n") or not content


@pytest.mark.parametrize(
    "fake",
    [
        b"\n.\n",
        b"\n.\r\n",
        b"\r\n.\n",
        b"\r.\r",
        b"\r\n.\r",
        b"\r.\r\n",
        b"\r\n.\r\r\n",
        b"\n.\r\r\n",
        b"\r\r.\r\n",
        b"\r\n\0.\r\n",
        b"\r\n.\0\r\n",
        b"\r\n. \r\n",
    ],
)
def test_smuggling(fake: bytes) -> None:
    """None of the ends that some servers take is one, at whatever place the octets are cut."""
    wire = b"one" + fake + b"MAIL FROM:<forged@bank.test>\r\n.\r\nQUIT\r\n"
    for cut in range(len(wire)):
        content, rest, _ = _data([wire[:cut], wire[cut:]], BareLf.NORMALIZE)
        assert rest == b"QUIT\r\n"
        assert content.endswith(b"MAIL FROM:<forged@bank.test>\r\n")
        assert b"\r\n.\r\n" not in content


def test_lax_mode_is_as_it_was() -> None:
    """With smtpd_forbid_bare_newline = no, LF.LF and LF.CRLF end DATA; CR.CR never does."""
    for end in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r\n"):
        assert _data([b"a" + end + b"rest"], BareLf.ACCEPT)[:2] == (b"a\r\n", b"rest")
    assert _data([b"a\r.\rb"], BareLf.ACCEPT)[1] is None


def test_stray_cr_kept_if_configured() -> None:
    decoder = DataDecoder(BareLf.NORMALIZE, replace_stray_cr=False)
    assert decoder.feed_data(b"a\rb\n\r\n.\r\n")[0] == b"a\rb\r\n\r\n"


def test_bare_lf_is_noted() -> None:
    assert _data([b"a\nb\r\n.\r\n"], BareLf.REJECT)[2]
    assert not _data([b"a\r\nb\r\n.\r\n"], BareLf.REJECT)[2]


@pytest.mark.parametrize("unit", [b"\r", b"\n", b".", b"\r\n.", b"\n.", b"\r\r", b"\r\n.\r", b"\0"])
def test_linear_time(unit: bytes) -> None:
    """4 MB of any of the special octets, in reads of 64 KB, cost no more than a moment."""
    piece = (unit * 65536)[:65536]
    decoder = DataDecoder(BareLf.NORMALIZE)
    start = time.process_time()
    for _ in range(64):
        decoder.feed_data(piece)
    assert time.process_time() - start < 2
