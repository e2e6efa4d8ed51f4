"""Unpack the parts of a `VisioDocument` stream (Visio 5 to 2010): a tree of pointers, most of it packed.

No specification was ever published; the layout is what the readers of Apache POI and libvisio know of it.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator

_MARK = b"Visio (TM) Drawing"
_TRAILER = 0x24
_POINTER_6, _POINTER_5 = struct.Struct("<4IH"), struct.Struct("<2H3I")
_PACKED = 2
_WINDOW = 4_096
_MOST_PARTS = 20_000
_TRAILER_TYPE = 20


def parts(stream: bytes, room: int) -> Iterator[tuple[int, int, bytes]]:
    """Offset, packed size and plain bytes of each packed part, at most `room` bytes in all."""
    if not stream.startswith(_MARK) or len(stream) < _TRAILER + 18:
        return
    new = stream[0x1A] >= 6
    waiting = deque([_pointer(stream, _TRAILER, new=new)])
    seen: set[tuple[int, int]] = set()
    while waiting and room > 0 and len(seen) < _MOST_PARTS:
        kind, offset, size, form = waiting.popleft()
        if (offset, size) in seen or not 0 < size <= len(stream) - offset:
            continue
        seen.add((offset, size))
        plain = stream[offset : offset + size]
        if form & _PACKED:
            plain = unpacked(plain, room)
            room -= len(plain) + size
            yield offset, size, plain
            plain = plain[4:]
        if kind == _TRAILER_TYPE or 0x1D <= form < 0x1F or 0x50 <= form < 0x60:
            waiting.extend(_pointers(plain, new=new))


def _pointer(data: bytes, at: int, *, new: bool) -> tuple[int, int, int, int]:
    """Kind, offset, size and format."""
    if new:
        kind, _, offset, size, form = _POINTER_6.unpack_from(data, at)
    else:
        kind, form, _, offset, size = _POINTER_5.unpack_from(data, at)
    return kind, offset, size, form & 0xFF


def _pointers(data: bytes, *, new: bool) -> Iterator[tuple[int, int, int, int]]:
    """The first number says where their count stands; they follow it."""
    if len(data) < 4:
        return
    (place,) = struct.unpack_from("<I", data) if new else (_place_5(data),)
    form = "<I" if new else "<H"
    if place < 0 or place + 4 > len(data):
        return
    (count,) = struct.unpack_from(form, data, place)
    at, step = place + (8 if new else 2), _POINTER_6.size if new else _POINTER_5.size
    for _ in range(min(count, _MOST_PARTS)):
        if at + step > len(data):
            return
        yield _pointer(data, at, new=new)
        at += step


def _place_5(data: bytes) -> int:
    """Version 5: a pointer's kind decides; the trailer of the usual layout counts at 0x82, others at 10."""
    return 0x82 if len(data) > 0x82 + 2 and not any(data[:2]) else 0x0A


def unpacked(data: bytes, most: int) -> bytes:
    """A flag byte for eight codes, a bit for a plain byte, else distance and length in 12 and 4 bits."""
    made = bytearray()
    at, end = 0, len(data)
    while at < end and len(made) < most:
        flags = data[at]
        at += 1
        for bit in range(8):
            if at >= end:
                break
            if flags >> bit & 1:
                made.append(data[at])
                at += 1
                continue
            if at + 2 > end:
                return bytes(made)
            place = (data[at] | (data[at + 1] & 0xF0) << 4) + 18 & _WINDOW - 1
            _copy(made, place, (data[at + 1] & 0x0F) + 3)
            at += 2
    return bytes(made)


def _copy(made: bytearray, place: int, length: int) -> None:
    """Repeat from a place in the ring of the last 4,096 bytes; zeros where nothing was written yet."""
    back = (len(made) - place) % _WINDOW or _WINDOW
    for _ in range(length):
        made.append(made[-back] if back <= len(made) else 0)
