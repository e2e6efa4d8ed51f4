"""The static Huffman LZ77 of LHA (lh4 to lh7) and ARJ (methods 1 to 3), and ARJ's simpler method 4."""

from __future__ import annotations

from stoq_core.errors import Reason

from .bits import Bits, codes, single
from .entry import CHUNK_BYTES, BadArchive, Decoding

_LETTERS = 510
_LEAST_MATCH = 3


def lzhuf(data: memoryview, size: int, *, window: int, slots: int, slot_bits: int) -> Decoding:
    """`size` bytes out of blocks, each with three tables of its own; before the first stand spaces.

    `window` is how far back a match reaches, `slots` how many distance codes there are, and
    `slot_bits` how many bits their count takes.
    """
    decoder = _Decoder(Bits(bytes(data)), window, slots, slot_bits)
    return decoder.run(size)


class _Decoder:
    """The tables of the current block and the window."""

    def __init__(self, bits: Bits, window: int, slots: int, slot_bits: int) -> None:
        self._bits, self._window = bits, window
        self._slots, self._slot_bits = slots, slot_bits
        self._literals: list[int] = []
        self._distances: list[int] = []
        self._out = bytearray(b" " * window)

    def run(self, size: int) -> Decoding:
        """Decode block by block; what leaves the window is yielded."""
        out, window, left = self._out, self._window, size
        start = len(out)
        while left > 0:
            block = self._bits.read(16)
            if not block:
                raise BadArchive(Reason.CORRUPT, "a block of no symbols")
            self._tables()
            while block and left > 0:
                block -= self._decode(block, start + left)
                made = out[start : start + left]
                left -= len(made)
                yield bytes(made)
                if len(out) > 2 * window + CHUNK_BYTES:
                    del out[: len(out) - window]
                start = len(out)
        return -(-self._bits.position // 8)

    def _decode(self, symbols: int, most: int) -> int:
        """At most so many symbols until the window holds `most` bytes; how many it took."""
        out, bits, window = self._out, self._bits, self._window
        literals, distances = self._literals, self._distances
        held, count, taken, size = bits.held, bits.count, 0, len(out)
        until = min(most, size + CHUNK_BYTES)
        while taken < symbols and size < until:
            taken += 1
            if count < 48:  # a symbol of 16, a distance of 16 and its 15 bits
                bits.held, bits.count = held, count
                bits.fill()
                held, count = bits.held, bits.count
            entry = literals[held >> count - 16 & 0xFFFF]
            count -= entry & 31
            symbol = entry >> 5
            if symbol < 256:
                out.append(symbol)
                size += 1
                continue
            length = symbol - 256 + _LEAST_MATCH
            entry = distances[held >> count - 16 & 0xFFFF]
            count -= entry & 31
            offset = entry >> 5
            if offset > 1:
                extra = offset - 1
                count -= extra
                offset = (1 << extra) + (held >> count & (1 << extra) - 1)
            offset += 1
            if offset > window:
                raise BadArchive(Reason.CORRUPT, "a match points before the window")
            if offset >= length:
                out += out[size - offset : size - offset + length]
            else:
                out += (out[size - offset :] * (length // offset + 1))[:length]
            size += length
        bits.held, bits.count = held, count
        return taken

    def _tables(self) -> None:
        lengths = self._code_lengths(19, 5, pause=3)
        bits = self._bits
        count = bits.read(9)
        if not count:
            self._literals = single(bits.read(9))
        else:
            self._literals = _table(self._literal_lengths(lengths, count))
        self._distances = self._code_lengths(self._slots, self._slot_bits, pause=-1)

    def _literal_lengths(self, table: list[int], count: int) -> list[int]:
        bits, lengths = self._bits, list[int]()
        while len(lengths) < count:
            symbol = bits.symbol(table)
            if symbol == 0:
                lengths.append(0)
            elif symbol == 1:
                lengths += [0] * (bits.read(4) + 3)
            elif symbol == 2:
                lengths += [0] * (bits.read(9) + 20)
            else:
                lengths.append(symbol - 2)
        if len(lengths) > _LETTERS or max(lengths) > 16:
            raise BadArchive(Reason.CORRUPT, "a table is longer than its alphabet")
        return lengths

    def _code_lengths(self, most: int, count_bits: int, *, pause: int) -> list[int]:
        bits, lengths = self._bits, list[int]()
        count = bits.read(count_bits)
        if not count:
            return single(bits.read(count_bits))
        while len(lengths) < count:
            length = bits.read(3)
            if length == 7:
                while bits.read(1):
                    length += 1
            lengths.append(length)
            if len(lengths) == pause:
                lengths += [0] * bits.read(2)
        if len(lengths) > most or max(lengths) > 16:
            raise BadArchive(Reason.CORRUPT, "a table is longer than its alphabet")
        return _table(lengths)


def _table(lengths: list[int]) -> list[int]:
    if not any(lengths):
        raise BadArchive(Reason.CORRUPT, "a table of no codes")
    return codes(lengths)


def fastest(data: memoryview, size: int) -> Decoding:
    """ARJ's method 4: unary prefixes say how many bits a length and a distance take."""
    bits, out, made = Bits(bytes(data)), bytearray(), 0
    while made < size:
        length = _prefixed(bits, 0, 7)
        if not length:
            out.append(bits.read(8))
            made += 1
        else:
            length += _LEAST_MATCH - 1
            offset = _prefixed(bits, 9, 13) + 1
            if offset > len(out):
                raise BadArchive(Reason.CORRUPT, "a match points before the beginning")
            at = len(out) - offset
            out += out[at : at + length] if offset >= length else (out[at:] * (length // offset + 1))[:length]
            made += length
        if len(out) >= CHUNK_BYTES + 32_768:
            yield bytes(out[:CHUNK_BYTES])
            del out[:CHUNK_BYTES]
    yield bytes(out[: len(out) - max(0, made - size)])
    return -(-bits.position // 8)


def _prefixed(bits: Bits, width: int, most: int) -> int:
    plus = 0
    while width < most and bits.read(1):
        plus += 1 << width
        width += 1
    return plus + bits.read(width)
