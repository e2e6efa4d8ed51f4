"""What of a Mach-O file its load commands account for (<mach-o/loader.h>, <mach-o/fat.h>), within bounds."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from .elf import Span

_ORDERS = {
    b"\xfe\xed\xfa\xce": ">",
    b"\xfe\xed\xfa\xcf": ">",
    b"\xce\xfa\xed\xfe": "<",
    b"\xcf\xfa\xed\xfe": "<",
}
_WIDE = (b"\xfe\xed\xfa\xcf", b"\xcf\xfa\xed\xfe")
_FAT = {b"\xca\xfe\xba\xbe": struct.Struct(">IIIII"), b"\xca\xfe\xba\xbf": struct.Struct(">IIQQII")}
_MOST_COMMANDS, _MOST_COMMAND_BYTES, _MOST_SLICES = 65_536, 1 << 24, 44
_SEGMENT, _SEGMENT_64, _SYMTAB = 0x1, 0x19, 0x2
# linkedit_data_command: code signature, split info, function starts, data in code, and their likes
_LINKEDIT = frozenset({0x1D, 0x1E, 0x26, 0x29, 0x2B, 0x2E, 0x80000033, 0x80000034})
_CPUS = frozenset({1, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 18})
_MOST_TYPE = 12


def is_macho(view: memoryview, at: int) -> bool:
    """Whether a header of a known processor and type begins there, with load commands that fit."""
    order = _ORDERS.get(bytes(view[at : at + 4]))
    if order is None or at + 28 > len(view):
        return False
    cpu, _, kind, count, size, _ = struct.unpack_from(order + "IIIIII", view, at + 4)
    return cpu & 0xFFFFFF in _CPUS and 1 <= kind <= _MOST_TYPE and 8 * count <= size <= len(view) - at


def is_fat(view: memoryview, at: int) -> bool:
    """Whether a table of slices begins there, the first of which is a Mach-O file or an archive."""
    first = next(iter(slices(view, at)), None)
    if first is None or not first.size:
        return False
    begun = at + first.offset
    return is_macho(view, begun) or bytes(view[begun : begun + 8]) == b"!<arch>\n"


def slices(view: memoryview, at: int = 0) -> Iterator[Span]:
    """The slices of a fat file, as far as they lie within the bytes; offsets count from `at`."""
    row = _FAT.get(bytes(view[at : at + 4]))
    count = int.from_bytes(view[at + 4 : at + 8], "big")
    if row is None or not 0 < count <= _MOST_SLICES:
        return
    for number in range(count):
        where = at + 8 + number * row.size
        if where + row.size > len(view):
            return
        _, _, offset, size = row.unpack_from(view, where)[:4]
        if at + offset < len(view):
            yield Span(offset, min(size, len(view) - at - offset))


def fat_header_bytes(view: memoryview, at: int = 0) -> int:
    """How long the table of slices is."""
    row = _FAT[bytes(view[at : at + 4])]
    return 8 + row.size * int.from_bytes(view[at + 4 : at + 8], "big")


def spans(view: memoryview, at: int = 0) -> Iterator[Span]:
    """Header, load commands, segments and link-edit data of the Mach-O file that begins at `at`."""
    mark = bytes(view[at : at + 4])
    order, wide = _ORDERS.get(mark), mark in _WIDE
    if order is None or at + 28 > len(view):
        return
    count, size = struct.unpack_from(order + "II", view, at + 16)
    where = at + (32 if wide else 28)
    end = min(len(view), where + min(size, _MOST_COMMAND_BYTES))
    yield Span(0, end - at)
    for _ in range(min(count, _MOST_COMMANDS)):
        if where + 8 > end:
            return
        kind, length = struct.unpack_from(order + "II", view, where)
        if length < 8:
            return
        yield from _command(view[where : min(where + length, end)], kind, order)
        where += length


def _command(command: memoryview, kind: int, order: str) -> Iterator[Span]:
    """The ranges that one load command names."""
    if kind == _SEGMENT_64 and len(command) >= 56:
        yield Span(*struct.unpack_from(order + "QQ", command, 40))
    elif kind == _SEGMENT and len(command) >= 40:
        yield Span(*struct.unpack_from(order + "II", command, 32))
    elif kind in _LINKEDIT and len(command) >= 16:
        yield Span(*struct.unpack_from(order + "II", command, 8))
    elif kind == _SYMTAB and len(command) >= 24:
        symbols_at, count, strings_at, size = struct.unpack_from(order + "IIII", command, 8)
        yield Span(symbols_at, 16 * count)
        yield Span(strings_at, size)


def end_of_macho(view: memoryview, at: int) -> int:
    """Behind the last range of the file or of its last slice."""
    parts = list(slices(view, at)) if bytes(view[at : at + 4]) in _FAT else list(spans(view, at))
    end = max((one.offset + one.size for one in parts if at + one.offset < len(view)), default=28)
    return min(len(view), at + end)
