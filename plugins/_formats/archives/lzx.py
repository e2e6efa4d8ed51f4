"""LZX as cabinets and WIM images hold it ([MS-PATCH], *LZX DELTA* without deltas; CAB SDK, *LZX format*)."""

from __future__ import annotations

from stoq_core.errors import Reason

from .bits import Bits, codes, single
from .entry import BadArchive

FRAME_BYTES = 32_768
_SLOTS = {15: 30, 16: 32, 17: 34, 18: 36, 19: 38, 20: 42, 21: 50}
_EXTRA = [0, 0, 0, 0, *(min(17, slot // 2 - 1) for slot in range(4, 50))]
_VERBATIM, _ALIGNED, _RAW = 1, 2, 3
_WIM_FILE_BYTES = 12_000_000


def _bases() -> list[int]:
    bases, at = [], 0
    for extra in _EXTRA:
        bases.append(at)
        at += 1 << extra
    return bases


_BASES = _bases()


class Lzx:
    """One stream: `frame` after `frame`, each but the last of 32,768 bytes."""

    def __init__(self, data: bytes | bytearray, window_bits: int, *, wim: bool = False) -> None:
        """`data` is the whole compressed stream; raises `BadArchive` for a window that does not exist."""
        if window_bits not in _SLOTS:
            raise BadArchive(Reason.CORRUPT, f"LZX with a window of 2^{window_bits} bytes does not exist")
        even = bytes(data) + b"\0" * (len(data) & 1)
        swapped = bytearray(len(even))
        swapped[0::2], swapped[1::2] = even[1::2], even[0::2]
        self._raw = even
        self._bits = Bits(swapped)
        self._window = 1 << window_bits
        self._main_lengths = [0] * (256 + 8 * _SLOTS[window_bits])
        self._length_lengths = [0] * 249
        self._main: list[int] = []
        self._length: list[int] = []
        self._aligned: list[int] = []
        self._recent = [1, 1, 1]
        self._kind = self._left = self._made = 0
        self._history = bytearray()
        self._calls = False
        self._call_bytes = _WIM_FILE_BYTES if wim else 0
        self._wim = wim
        self._begun = wim
        self._odd = False

    def frame(self, size: int) -> bytes:
        """The next `size` bytes (at most 32,768)."""
        if not self._begun:
            self._begun = True
            if self._bits.read(1):
                self._call_bytes = self._bits.read(16) << 16 | self._bits.read(16)
        history = self._history
        if len(history) > 2 * self._window + 2 * FRAME_BYTES:
            del history[: len(history) - self._window - FRAME_BYTES]
        base = self._made - len(history)  # of the history's first byte in the stream
        end = self._made + size - base
        start = end - size
        while len(history) < end:
            if not self._left:
                self._block()
            before = len(history)
            until = min(end, before + self._left)
            if self._kind == _RAW:
                self._copy(until - before)
            else:
                self._decode(until)
            self._left = max(0, self._left - (len(history) - before))
        if len(history) > end:
            raise BadArchive(Reason.CORRUPT, "an LZX match crosses the end of its frame")
        self._made += size
        if self._kind != _RAW:
            position = self._bits.position
            self._bits.seek(position + -position % 16)
        return self._translated(bytes(history[start:end]), self._made - size)

    def _block(self) -> None:
        bits = self._bits
        if self._kind == _RAW and self._odd:
            bits.seek(bits.position + 8)
        self._odd = False
        self._kind = bits.read(3)
        if self._wim:
            self._left = FRAME_BYTES if bits.read(1) else bits.read(16)
        else:
            self._left = bits.read(16) << 8 | bits.read(8)
        if self._kind == _ALIGNED:
            self._aligned = codes([bits.read(3) for _ in range(8)])
        if self._kind in (_VERBATIM, _ALIGNED):
            self._trees()
        elif self._kind == _RAW:
            self._raw_block()
        else:
            raise BadArchive(Reason.CORRUPT, f"an LZX block of kind {self._kind} does not exist")
        if not self._left:
            raise BadArchive(Reason.CORRUPT, "an LZX block of no bytes")

    def _raw_block(self) -> None:
        bits = self._bits
        position = bits.position + 1
        at = (position + -position % 16) // 8
        head = self._raw[at : at + 12]
        if len(head) < 12:
            raise BadArchive(Reason.TRUNCATED, "the LZX data ends in the middle")
        self._recent = [int.from_bytes(head[n : n + 4], "little") for n in (0, 4, 8)]
        bits.seek((at + 12) * 8)
        self._odd = bool(self._left & 1)
        self._calls = True

    def _copy(self, size: int) -> None:
        at = self._bits.position // 8
        part = self._raw[at : at + size]
        if len(part) < size:
            raise BadArchive(Reason.TRUNCATED, "the LZX data ends in the middle")
        self._history += part
        self._bits.seek((at + size) * 8)

    def _trees(self) -> None:
        main = self._main_lengths
        self._read_lengths(main, 0, 256)
        self._read_lengths(main, 256, len(main))
        self._main = _table(main)
        self._calls = self._calls or bool(main[0xE8])
        self._read_lengths(self._length_lengths, 0, 249)
        self._length = _table(self._length_lengths)

    def _read_lengths(self, lengths: list[int], first: int, last: int) -> None:
        """Lengths as differences to the last block's, run-length coded with a tree of their own."""
        bits = self._bits
        table = _table([bits.read(4) for _ in range(20)])
        at = first
        while at < last:
            symbol = bits.symbol(table)
            if symbol == 17:
                count, value = 4 + bits.read(4), 0
            elif symbol == 18:
                count, value = 20 + bits.read(5), 0
            elif symbol == 19:
                count = 4 + bits.read(1)
                symbol = bits.symbol(table)
                if symbol > 16:
                    raise BadArchive(Reason.CORRUPT, "an LZX tree repeats a repetition")
                value = (lengths[at] - symbol) % 17
            else:
                count, value = 1, (lengths[at] - symbol) % 17
            if at + count > last:
                raise BadArchive(Reason.CORRUPT, "an LZX tree is longer than its alphabet")
            lengths[at : at + count] = [value] * count
            at += count

    def _decode(self, until: int) -> None:  # noqa: PLR0915 - the hot loop: no calls but refills
        out, bits = self._history, self._bits
        main, lengths, aligned = self._main, self._length, self._aligned
        careful = self._kind == _ALIGNED
        recent = self._recent
        held, count = bits.held, bits.count
        size = len(out)
        window = self._window
        while size < until:
            if count < 32:
                bits.held, bits.count = held, count
                bits.fill()
                held, count = bits.held, bits.count
            entry = main[held >> count - 16 & 0xFFFF]
            count -= entry & 31
            symbol = entry >> 5
            if symbol < 256:
                out.append(symbol)
                size += 1
                continue
            symbol -= 256
            length = symbol & 7
            if length == 7:
                entry = lengths[held >> count - 16 & 0xFFFF]
                count -= entry & 31
                length += entry >> 5
            length += 2
            slot = symbol >> 3
            if slot < 3:
                offset = recent[slot]
                recent[slot], recent[0] = recent[0], offset
            else:
                if count < 33:
                    bits.held, bits.count = held, count
                    bits.fill()
                    held, count = bits.held, bits.count
                extra = _EXTRA[slot]
                offset = _BASES[slot] - 2
                if careful and extra >= 3:
                    count -= extra - 3
                    offset += (held >> count & (1 << extra - 3) - 1) << 3
                    entry = aligned[held >> count - 16 & 0xFFFF]
                    count -= entry & 31
                    offset += entry >> 5
                else:
                    count -= extra
                    offset += held >> count & (1 << extra) - 1
                recent[:] = offset, recent[0], recent[1]
            if offset > size or offset > window or offset <= 0:
                raise BadArchive(Reason.CORRUPT, "an LZX match points before the beginning")
            if offset >= length:
                out += out[size - offset : size - offset + length]
            else:
                out += (out[size - offset :] * (length // offset + 1))[:length]
            size += length
        bits.held, bits.count = held, count

    def _translated(self, frame: bytes, position: int) -> bytes:
        """Undo the translation of x86 call addresses, which stops after 32,768 frames."""
        limit = len(frame) - 10
        if not (self._calls or self._wim) or not self._call_bytes or limit <= 0:
            return frame
        if position >= FRAME_BYTES * 32_768:
            return frame
        out = bytearray(frame)
        at = frame.find(0xE8, 0, limit)
        while at >= 0:
            here = position + at
            target = int.from_bytes(out[at + 1 : at + 5], "little", signed=True)
            if -here <= target < self._call_bytes:
                value = target - here if target >= 0 else target + self._call_bytes
                out[at + 1 : at + 5] = (value & 0xFFFFFFFF).to_bytes(4, "little")
            at = out.find(0xE8, at + 5, limit)
        return bytes(out)


def _table(lengths: list[int]) -> list[int]:
    """A tree may be empty where nothing uses it; one symbol takes a bit here, as any other does."""
    used = [symbol for symbol, length in enumerate(lengths) if length]
    if not used:
        return single(0)
    return codes(lengths, partial=len(used) == 1)
