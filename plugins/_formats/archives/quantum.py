"""Quantum as cabinets hold it: an arithmetic coder over adaptive models, and LZ77 matches."""

from __future__ import annotations

from collections.abc import Sequence

from stoq_core.errors import Reason

from .bits import Bits
from .entry import BadArchive

_STEP = 8
_MOST = 3_800
_HALVINGS_BEFORE_SORT = 50
_POSITION_EXTRA = [0, 0, *(slot // 2 - 1 for slot in range(2, 42))]
_LENGTH_EXTRA = [0, 0, 0, 0, 0, 0, *(bits for bits in (1, 2, 3, 4, 5) for _ in range(4)), 0]


def _bases(extra: Sequence[int]) -> list[int]:
    bases, at = [], 0
    for bits in extra:
        bases.append(at)
        at += 1 << bits
    return bases


_POSITION_BASE = _bases(_POSITION_EXTRA)
_LENGTH_BASE = _bases(_LENGTH_EXTRA)


class _Model:
    """Symbols with cumulative frequencies, the most frequent first; the last entry is zero."""

    __slots__ = ("halvings", "sums", "symbols")

    def __init__(self, first: int, count: int) -> None:
        self.symbols = list(range(first, first + count))
        self.sums = list(range(count, -1, -1))
        self.halvings = 4

    def seen(self, index: int) -> None:
        """Count the symbol at `index`."""
        sums = self.sums
        for n in range(index + 1):
            sums[n] += _STEP
        if sums[0] > _MOST:
            self.halvings -= 1
            if self.halvings:
                self._halve()
            else:
                self.halvings = _HALVINGS_BEFORE_SORT
                self._sort()

    def _halve(self) -> None:
        sums = self.sums
        for n in range(len(sums) - 2, -1, -1):
            sums[n] = max(sums[n] >> 1, sums[n + 1] + 1)

    def _sort(self) -> None:
        """Frequencies halved, by an exchange sort: which of equals comes first is part of the format."""
        sums, symbols = self.sums, self.symbols
        count = len(symbols)
        counts = [(sums[n] - sums[n + 1] + 1) >> 1 for n in range(count)]
        for i in range(count - 1):
            for j in range(i + 1, count):
                if counts[i] < counts[j]:
                    counts[i], counts[j] = counts[j], counts[i]
                    symbols[i], symbols[j] = symbols[j], symbols[i]
        for n in range(count - 1, -1, -1):
            sums[n] = sums[n + 1] + counts[n]


class Quantum:
    """One folder's stream: the models and the window go on from block to block."""

    def __init__(self, window_bits: int) -> None:
        """Raises `BadArchive` for a window that does not exist."""
        if not 10 <= window_bits <= 21:
            raise BadArchive(Reason.CORRUPT, f"Quantum with a window of 2^{window_bits} bytes does not exist")
        slots = 2 * window_bits
        self._window = 1 << window_bits
        self._literals = [_Model(64 * n, 64) for n in range(4)]
        self._near = [_Model(0, min(slots, 24)), _Model(0, min(slots, 36)), _Model(0, slots)]
        self._lengths = _Model(0, 27)
        self._selector = _Model(0, 7)
        self._history = bytearray()
        self._bits = Bits(b"")
        self._low, self._high, self._code = 0, 0xFFFF, 0

    def block(self, data: bytes, size: int) -> bytes:
        """The `size` bytes that one data block stands for."""
        self._bits = Bits(data)
        self._low, self._high, self._code = 0, 0xFFFF, self._bits.read(16)
        out = self._history
        if len(out) > 2 * self._window:
            del out[: -self._window]
        start = len(out)
        end = start + size
        while len(out) < end:
            selector = self._symbol(self._selector)
            if selector < 4:
                out.append(self._symbol(self._literals[selector]))
            else:
                self._match(selector - 4)
        if len(out) > end:
            raise BadArchive(Reason.CORRUPT, "a Quantum match crosses the end of its block")
        return bytes(out[start:])

    def _match(self, kind: int) -> None:
        length = kind + 3
        if kind == 2:
            slot = self._symbol(self._lengths)
            length = _LENGTH_BASE[slot] + self._bits.read(_LENGTH_EXTRA[slot]) + 5
        slot = self._symbol(self._near[kind])
        offset = _POSITION_BASE[slot] + self._bits.read(_POSITION_EXTRA[slot]) + 1
        out = self._history
        if offset > len(out) or offset > self._window:
            raise BadArchive(Reason.CORRUPT, "a Quantum match points before the beginning")
        at = len(out) - offset
        out += out[at : at + length] if offset >= length else (out[at:] * (length // offset + 1))[:length]

    def _symbol(self, model: _Model) -> int:
        low, high, code, sums = self._low, self._high, self._code, model.sums
        span = high - low + 1
        total = sums[0]
        wanted = ((code - low + 1) * total - 1) // span
        index = 0
        while sums[index + 1] > wanted:
            index += 1
        symbol = model.symbols[index]
        high = low + sums[index] * span // total - 1
        low += sums[index + 1] * span // total
        model.seen(index)
        bits = self._bits
        while True:
            if (low ^ high) & 0x8000:
                if not low & 0x4000 or high & 0x4000:
                    break
                code ^= 0x4000
                low &= 0x3FFF
                high |= 0x4000
            low = low << 1 & 0xFFFF
            high = (high << 1 | 1) & 0xFFFF
            code = (code << 1 | bits.read(1)) & 0xFFFF
        self._low, self._high, self._code = low, high, code
        return symbol
