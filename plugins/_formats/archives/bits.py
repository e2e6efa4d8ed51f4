"""Bits from the most significant down, and canonical Huffman codes, for the old LZ formats."""

from __future__ import annotations

from collections.abc import Sequence

from stoq_core.errors import Reason

from .entry import BadArchive

PEEK_BITS = 16
_REFILL_BYTES = 6
_OVERRUN_BYTES = 64
"""Zeros that may be read behind the end: decoders look ahead, and some writers save the last byte."""


class Bits:
    """A reader over bytes; past the end it gives zeros for a while, then raises `truncated`.

    `held` are `count` bits not yet taken, `at` is the next byte to refill from: hot loops work on
    copies of the three and write them back.
    """

    __slots__ = ("at", "count", "data", "held")

    def __init__(self, data: bytes | bytearray) -> None:
        self.data = data + b"\0" * _OVERRUN_BYTES
        self.at = self.held = self.count = 0

    def fill(self) -> None:
        """At least 40 bits in hand."""
        if self.at + _REFILL_BYTES > len(self.data):
            raise BadArchive(Reason.TRUNCATED, "the compressed data ends in the middle")
        taken = int.from_bytes(self.data[self.at : self.at + _REFILL_BYTES], "big")
        self.held = (self.held & (1 << self.count) - 1) << 8 * _REFILL_BYTES | taken
        self.count += 8 * _REFILL_BYTES
        self.at += _REFILL_BYTES

    def read(self, bits: int) -> int:
        """The next `bits` (at most 32) as a number."""
        if self.count < bits:
            self.fill()
        self.count -= bits
        return self.held >> self.count & (1 << bits) - 1

    def symbol(self, table: Sequence[int]) -> int:
        """The next symbol of a table that `codes` built."""
        if self.count < PEEK_BITS:
            self.fill()
        entry = table[self.held >> self.count - PEEK_BITS & 0xFFFF]
        self.count -= entry & 31
        return entry >> 5

    @property
    def position(self) -> int:
        """Bits taken so far."""
        return self.at * 8 - self.count

    def seek(self, position: int) -> None:
        """Go on at that bit."""
        self.at, self.held, self.count = position >> 3, 0, 0
        if position & 7:
            self.read(position & 7)


def codes(lengths: Sequence[int], *, partial: bool = False) -> list[int]:
    """From code lengths (0 to 16) to a table of 65,536: the next 16 bits → symbol * 32 + length.

    Codes that do not fill the code space are `corrupt` (unless `partial`, where unused codes mean
    symbol 0 of one bit); so are those that want more than there is.
    """
    table: list[int] = []
    order = sorted((length, symbol) for symbol, length in enumerate(lengths) if length)
    for length, symbol in order:
        table += [symbol << 5 | length] * (1 << PEEK_BITS - length)
        if len(table) > 1 << PEEK_BITS:
            raise BadArchive(Reason.CORRUPT, "a Huffman table wants more codes than there are")
    missing = (1 << PEEK_BITS) - len(table)
    if missing and not partial:
        raise BadArchive(Reason.CORRUPT, "a Huffman table has codes without a meaning")
    return table + [1] * missing


def single(symbol: int) -> list[int]:
    """The table of a code with one symbol, which takes no bits."""
    return [symbol << 5] * (1 << PEEK_BITS)
