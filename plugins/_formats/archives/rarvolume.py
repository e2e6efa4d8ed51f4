"""A RAR's blocks (RAR 5.0 archive format; RAR 4 technical note): a volume alone as a whole, and the end."""

from __future__ import annotations

import zlib

from stoq_core.body import Body
from stoq_core.limits import MiB

_RAR5 = b"Rar!\x1a\x07\x01\x00"
_MAIN4, _MAIN5 = 0x73, 1
_VOLUME = 1
_HEAD_BYTES = 64
_BLOCKS4, _FILE4, _END4 = range(0x72, 0x7C), 0x74, 0x7B
_HAS_DATA4, _LARGE4, _LOCKED4, _COMMENT4 = 0x8000, 0x100, 0x80, 8
_LOCKED5, _END5 = 4, 5
_HAS_EXTRA5, _HAS_DATA5 = 1, 2
_MOST_HEADER = 2 * MiB
_MOST_BLOCKS = 200_000


def alone(body: Body) -> Body:
    """The archive without the flag that makes programs look for its other volumes beside it.

    There is nothing beside it, but programs try: 7-Zip counts up the number of the descriptor that it
    was given. Other archives come back as they are.
    """
    head = bytes(body.view()[:_HEAD_BYTES])
    patched = _rar5(head) if head.startswith(_RAR5) else _rar4(head)
    if patched is None:
        return body
    return Body(patched + bytes(body.view()[_HEAD_BYTES:]))


def _rar4(head: bytes) -> bytes | None:
    """Marker (7), then the main header: CRC (2), type, flags (2), size (2)."""
    if len(head) < 20 or head[9] != _MAIN4 or not head[10] & _VOLUME:
        return None
    size = int.from_bytes(head[12:14], "little")
    if not 7 < size <= len(head) - 7:
        return None
    header = head[9:10] + bytes((head[10] & ~_VOLUME & 0xFF,)) + head[11 : 7 + size]
    crc = zlib.crc32(header) & 0xFFFF
    return head[:7] + crc.to_bytes(2, "little") + header + head[7 + size :]


def _rar5(head: bytes) -> bytes | None:
    """Signature (8), CRC-32 (4), then as variable integers size, type, flags, extra size, archive flags."""
    at = 12
    size, at = _number(head, at)
    end = at + size
    kind, at = _number(head, at)
    flags, at = _number(head, at)
    if flags & 1:
        _, at = _number(head, at)
    if kind != _MAIN5 or at >= len(head) or end > len(head) or not head[at] & _VOLUME:
        return None
    header = head[12:at] + bytes((head[at] & ~_VOLUME,)) + head[at + 1 : end]
    return head[:8] + zlib.crc32(header).to_bytes(4, "little") + header + head[end:]


def _number(head: bytes, at: int) -> tuple[int, int]:
    """Seven bits a byte, the low ones first, while the top bit is set."""
    value = shift = 0
    while at < len(head):
        value |= (head[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not head[at - 1] & 0x80:
            break
    return value, at


def end_of_rar(view: memoryview) -> int | None:
    """Where the blocks end, the bytes behind an end block not among them; None where they are encrypted."""
    new = bytes(view[:8]) == _RAR5
    at: int | None = 8 if new else 7
    for _ in range(_MOST_BLOCKS):
        begin = at
        if begin is None or begin >= len(view):
            break
        at, last = _block5(view, begin) if new else _block4(view, begin)
        if last or at == begin:
            break
    return at if at is None else min(at, len(view))


def _block4(view: memoryview, at: int) -> tuple[int | None, bool]:
    """Where the next block begins, and whether this was the last; no block ends where it begins."""
    head = bytes(view[at : at + 36])
    size = int.from_bytes(head[5:7], "little")
    if len(head) < 7 or head[2] not in _BLOCKS4 or size < 7:
        return at, True
    kind, flags = head[2], int.from_bytes(head[3:5], "little")
    commented = kind == _MAIN4 or (kind == _FILE4 and flags & _COMMENT4)  # which the sum leaves out
    if not commented and zlib.crc32(view[at + 2 : at + size]) & 0xFFFF != int.from_bytes(head[:2], "little"):
        return at, True
    if kind == _MAIN4 and flags & _LOCKED4:
        return None, True
    end = at + size + (int.from_bytes(head[7:11], "little") if flags & _HAS_DATA4 or kind == _FILE4 else 0)
    if kind == _FILE4 and flags & _LARGE4:
        end += int.from_bytes(head[32:36], "little") << 32
    return end, kind == _END4


def _block5(view: memoryview, at: int) -> tuple[int | None, bool]:
    """The same; a block's checksum must hold."""
    head = bytes(view[at : at + _HEAD_BYTES])
    size, begin = _number(head, 4)
    checksum = int.from_bytes(head[:4], "little")
    if size > _MOST_HEADER or zlib.crc32(view[at + 4 : at + begin + size]) != checksum:
        return at, True
    kind, where = _number(head, begin)
    flags, where = _number(head, where)
    if kind == _LOCKED5:
        return None, True
    if flags & _HAS_EXTRA5:
        _, where = _number(head, where)
    data, _ = _number(head, where) if flags & _HAS_DATA5 else (0, where)
    return at + begin + size + data, kind == _END5
