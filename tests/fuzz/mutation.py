"""Payloads from seeds and words: changed a little, put together anew, or made long.

Long ones (a word repeated for tens of kilobytes) are rare; they are what shows that an expression
or a loop takes quadratic time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

__all__ = ["Mutator"]

_NUMBERS = (
    *(b"0", b"1", b"-1", b"00", b"255", b"256", b"65535", b"65536", b"2147483647", b"2147483648"),
    *(b"4294967296", b"9223372036854775807", b"9223372036854775808", b"9" * 30, b"1e9", b"1_0"),
)
_OCTETS = (b"\0", b"\t", b"\n", b"\r", b"\r\n", b" ", b"\x7f", b"\x80", b"\xff", b'"', b"\\", b"%")
_LETTERS = (
    *("é", "ß", "ı", "İ", "ſ", "K", "\u2028", "\x85", "\ufeff", "漢", "𝟙", "١", "．"),
    *("\u200b", "e\u0301", "\U0001f600"),
)
_LARGEST = 4096
_LONG_EVERY = 400
_LONG = 40_000


class Mutator:
    """Makes payloads; the same ones again from a ``source`` with the same seed."""

    def __init__(
        self, seeds: Sequence[bytes], words: Sequence[bytes], source: random.Random
    ) -> None:
        self._seeds = list(seeds) or [b""]
        self._words = [*(words or seeds), *_OCTETS, *_NUMBERS, *map(str.encode, _LETTERS)]
        self._own_words = list(words or seeds) or [b"a"]
        self._source = source
        self._changes: tuple[Callable[[bytearray], object], ...] = (
            self._flip,
            self._delete,
            self._insert_word,
            self._insert_word,
            self._replace,
            self._copy,
            self._cut,
            self._splice,
        )

    def make(self) -> bytes:
        """Another payload."""
        source = self._source
        if source.randrange(_LONG_EVERY) == 0:
            return self._long()
        if source.random() < 0.4:
            payload = bytearray(b"".join(self._chosen_words()))
            changes = source.choice((0, 0, 1, 2))
        else:
            payload = bytearray(source.choice(self._seeds))
            changes = source.choice((1, 1, 2, 3, 5, 10))
        for _ in range(changes):
            source.choice(self._changes)(payload)
        return bytes(payload[:_LARGEST])

    def _chosen_words(self) -> list[bytes]:
        source = self._source
        kinds = source.choice((2, 4, len(self._own_words)))
        chosen = source.choices(self._own_words, k=kinds)
        return source.choices(chosen, k=source.choice((1, 2, 4, 8, 20, 60)))

    def _long(self) -> bytes:
        """A beginning, something repeated very often, and an end."""
        source = self._source
        beginning = source.choice(self._seeds)
        beginning = beginning[: source.randrange(len(beginning) + 1)]
        repeated = b"".join(source.choices(self._words, k=source.choice((1, 1, 1, 2, 3)))) or b"a"
        times = source.choice((200, 2000, _LONG)) // len(repeated) + 1
        return beginning + repeated * times + source.choice(self._words)

    def _place(self, payload: bytearray) -> int:
        return self._source.randrange(len(payload) + 1)

    def _flip(self, payload: bytearray) -> None:
        if payload:
            payload[self._source.randrange(len(payload))] ^= 1 << self._source.randrange(8)

    def _delete(self, payload: bytearray) -> None:
        at = self._place(payload)
        del payload[at : at + self._source.choice((1, 1, 2, 4, 16))]

    def _insert_word(self, payload: bytearray) -> None:
        at = self._place(payload)
        payload[at:at] = self._source.choice(self._words)

    def _replace(self, payload: bytearray) -> None:
        at = self._place(payload)
        word = self._source.choice(self._words)
        payload[at : at + self._source.choice((1, len(word)))] = word

    def _copy(self, payload: bytearray) -> None:
        """A part of it once more, elsewhere, perhaps often."""
        start, at = self._place(payload), self._place(payload)
        part = payload[start : start + self._source.choice((1, 2, 5, 20, 100))]
        payload[at:at] = part * self._source.choice((1, 1, 1, 2, 30))

    def _cut(self, payload: bytearray) -> None:
        if self._source.random() < 0.3:
            del payload[self._place(payload) :]

    def _splice(self, payload: bytearray) -> None:
        """Goes on as another seed does."""
        other = self._source.choice(self._seeds)
        payload[self._place(payload) :] = other[self._source.randrange(len(other) + 1) :]
