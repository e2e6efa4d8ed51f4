"""Records of Excel's workbook streams (MS-XLS 2.1.4): those that go on in others, put together."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_CONTINUES = {0x003C: 0, 0x0812: 4, 0x0875: 4, 0x087F: 12}
"""CONTINUE, ContinueFrt, ContinueFrt11, ContinueFrt12 (2.4.58 to 2.4.61), and the bytes of their headers."""
_DRAWINGS = 0x00EB
_THEME = 0x0896
_TABLE = 0x00FC
_FULL_BYTES = 2_000
"""Records go on in others from 2,080 (BIFF5) or 8,224 bytes on; shorter ones are followed by their own."""
_BOF = (0x0009, 0x0209, 0x0409, 0x0809)
Part = tuple[int, int]


def records(stream: bytes) -> Iterator[tuple[int, int, int]]:
    """Kind, and where its data begins and ends, of each record as long as they hold."""
    at = 0
    while at + 4 <= len(stream):
        kind, size = struct.unpack_from("<HH", stream, at)
        if at == 0 and kind not in _BOF:
            return
        yield kind, at + 4, min(at + 4 + size, len(stream))
        at += 4 + size


def joined_records(stream: bytes) -> Iterator[tuple[int, int, list[Part]]]:
    """Kind, offset and parts of records that are split, or that hold pictures or a theme.

    The table of strings (2.4.265) stays where it is: each of its parts is text by itself.
    """
    kind, offset = 0, 0
    parts: list[Part] = []
    for this, start, end in (*records(stream), (0, 0, 0)):
        if this in _CONTINUES and parts:
            parts.append((min(start + _CONTINUES[this], end), end))
            continue
        if this == _DRAWINGS == kind:
            parts.append((start, end))
            continue
        is_split = len(parts) > 1 and sum(stop - begin for begin, stop in parts) >= _FULL_BYTES
        if kind != _TABLE and (is_split or kind in (_DRAWINGS, _THEME)):
            yield kind, offset, parts
        kind, offset, parts = this, start - 4, [(start, end)]
