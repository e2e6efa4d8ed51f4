"""Where a Windows executable ends: behind its sections, its symbols and its certificates, as it claims.

Layout: Microsoft, *PE Format*: COFF File Header, Optional Header (data directories), Section Table, The
Attribute Certificate Table.
"""

from __future__ import annotations

import struct

_COFF_BYTES, _SECTION_BYTES, _SYMBOL_BYTES = 24, 40, 18
_U32, _TWO_U32 = struct.Struct("<I"), struct.Struct("<II")
_COFF = struct.Struct("<4xHHIIIHH")  # behind the signature
_DIRECTORIES = {0x10B: 92, 0x20B: 108}  # NumberOfRvaAndSizes in the optional header, by its magic
_CERTIFICATES = 4  # its data directory, whose address is an offset in the file


def end_of_pe(view: memoryview, at: int, pe: int) -> int:
    """Where the executable that begins at `at` with its signature at `pe` ends, as far as bytes go."""
    room = len(view) - at
    _, sections, _, symbols_at, symbols, optional, _ = _COFF.unpack_from(view, pe)
    table = pe + _COFF_BYTES + optional
    end = table + sections * _SECTION_BYTES - at
    for row in range(table, min(table + sections * _SECTION_BYTES, len(view) - _SECTION_BYTES + 1), 40):
        raw_bytes, raw_at = _TWO_U32.unpack_from(view, row + 16)
        if raw_at:
            end = max(end, raw_at + raw_bytes)
    for start, length in (_symbols(view, at, symbols_at, symbols), _certificates(view, pe, optional)):
        if start >= end and start + length <= room:
            end = start + length
    return at + int(min(end, room))


def _symbols(view: memoryview, at: int, start: int, count: int) -> tuple[int, int]:
    """The COFF symbols and the strings behind them, or nothing."""
    strings = start + count * _SYMBOL_BYTES
    if not count or at + strings + 4 > len(view):
        return 0, 0
    return start, strings + int(_U32.unpack_from(view, at + strings)[0]) - start


def _certificates(view: memoryview, pe: int, optional: int) -> tuple[int, int]:
    """Where the attribute certificates say that they stand, or nothing."""
    start = pe + _COFF_BYTES
    if optional < 2 or start + optional > len(view):
        return 0, 0
    directories = _DIRECTORIES.get(int.from_bytes(view[start : start + 2], "little"), optional)
    entry = directories + 4 + _CERTIFICATES * 8
    if entry + 8 > optional or _U32.unpack_from(view, start + directories)[0] <= _CERTIFICATES:
        return 0, 0
    address, length = _TWO_U32.unpack_from(view, start + entry)
    return int(address), int(length)
