"""Unix compress, `.Z`: LZW with codes of 9 to 16 bits, as ncompress 4.2 writes and reads them."""

from __future__ import annotations

from stoq_core.errors import Reason
from stoq_core.limits import MiB

from .entry import CHUNK_BYTES, BadArchive, Chunks

_CLEAR = 256
_FIRST_BITS = 9
_MAX_TABLE_BYTES = 128 * MiB
"""Strings of a table that is never cleared grow with what is decompressed."""


def unlzw(view: memoryview) -> Chunks:
    """The plain bytes in chunks; raises `BadArchive` where a code stands for nothing yet.

    Header: 1F 9D, then flags (0x80: code 256 clears the table, 0x1F: most bits a code). Codes come in
    groups of eight, so a change of width skips what is left of the group. A string of the table is at
    most as long as the table, so a step's output is bounded by 64 KiB.
    """
    if len(view) < 3:
        raise BadArchive(Reason.TRUNCATED, "the header is cut short")
    flags = view[2]
    if flags & 0x60 or not _FIRST_BITS <= flags & 0x1F <= 16:
        raise BadArchive(Reason.CORRUPT, f"the flags {flags:#04x} are none that compress writes")
    decoder = _Lzw(flags & 0x1F, clears=bool(flags & 0x80))
    return decoder.run(view[3:])


class _Lzw:
    """The table and the width of the next code."""

    def __init__(self, most_bits: int, *, clears: bool) -> None:
        self._most_bits = max(most_bits, 10)  # with a table of 512 strings, compress still goes on to 10
        self._most_strings = 1 << most_bits
        self._clears = clears
        self._room = _MAX_TABLE_BYTES
        self._literals = [bytes((n,)) for n in range(256)] + ([b""] if clears else [])

    def run(self, data: memoryview) -> Chunks:
        """Group by group: eight codes of `bits` bits are `bits` bytes."""
        table, previous, bits, at = self._literals.copy(), b"", _FIRST_BITS, 0
        out, made = [], 0
        end = len(data)
        while at < end:
            group = int.from_bytes(data[at : at + bits], "little")
            codes = min(8, min(bits, end - at) * 8 // bits)
            at += bits
            mask = (1 << bits) - 1
            for _ in range(codes):
                code = group & mask
                group >>= bits
                if code == _CLEAR and self._clears:
                    table, previous, bits = self._literals.copy(), b"", _FIRST_BITS
                    self._room = _MAX_TABLE_BYTES
                    break
                previous = self._string(table, code, previous)
                out.append(previous)
                made += len(previous)
                if bits < self._most_bits and len(table) >= 1 << bits:
                    bits += 1
                    break
            if made >= CHUNK_BYTES:
                yield b"".join(out)
                out, made = [], 0
        if made:
            yield b"".join(out)

    def _string(self, table: list[bytes], code: int, previous: bytes) -> bytes:
        if code < len(table):
            string = table[code]
        elif code == len(table) and previous:
            string = previous + previous[:1]
        else:
            raise BadArchive(Reason.CORRUPT, f"code {code} stands for nothing yet")
        if previous and len(table) < self._most_strings:
            table.append(previous + string[:1])
            self._room -= len(previous)
            if self._room < 0:
                raise BadArchive(Reason.TOO_LARGE, "the table of strings is larger than 128 MiB")
        return string
