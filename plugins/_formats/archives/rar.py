"""RAR archives: what stands behind the end block, which the programs do not read, and then what they do."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from .by_tool import read_rar
from .declare import Format, Mark, Source, number
from .entry import Entry, trailing
from .rarvolume import end_of_rar

_RAR5 = b"Rar!\x1a\x07\x01\x00"


def _read(source: Source) -> Iterator[Entry]:
    end = end_of_rar(source.view)
    if end is not None:
        yield from trailing(source.view, end)
    yield from read_rar(source.job, source.payload, source.passwords)


def _begins(view: memoryview, offset: int) -> bool:
    """A first block of a kind that comes first, whose checksum holds."""
    head = bytes(view[offset : offset + 24])
    if not head.startswith(_RAR5):
        size = number(view, offset + 12, 2)
        return head[9:10] == b"\x73" and size >= 13
    size, at = head[12] if len(head) > 12 else 0, offset + 13  # a main or encryption header is short
    return 3 <= size < 0x80 and zlib.crc32(view[offset + 12 : at + size]) == number(view, offset + 8, 4)


def _end(view: memoryview, offset: int) -> int | None:
    end = end_of_rar(view[offset:])
    return None if end is None else offset + end


FORMATS = (Format("rar", _read, (Mark(b"Rar!\x1a\x07\x00"), Mark(_RAR5)), _begins, _end),)
