"""A RAR's blocks (RAR 5.0 archive format; RAR 4 technical note): a volume alone as a whole, and the end."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple

from stoq_core.body import Body
from stoq_core.limits import MiB

_RAR5 = b"Rar!\x1a\x07\x01\x00"
_MAIN4, _MAIN5 = 0x73, 1
_VOLUME = 1
_HEAD_BYTES = 64
_BLOCKS4, _FILE4, _END4 = range(0x72, 0x7C), 0x74, 0x7B
_HAS_DATA4, _LARGE4, _LOCKED4, _COMMENT4 = 0x8000, 0x100, 0x80, 8
_FILE_HEADER4 = 32
_SERVICE4, _DIRECTORY4 = 0x7A, 0xE0
_FILE5, _SERVICE5, _LOCKED5, _END5 = 2, 3, 4, 5
_DIRECTORY5, _TIME5, _SUM5 = 1, 2, 4
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


class Block(NamedTuple):
    """A block: where it begins, bytes of its header and its data; what a file's or service's is called.

    `method` is 0 for data that are stored as they are.
    """

    at: int
    header: int
    data: int
    kind: str = "other"
    name: bytes = b""
    method: int = 0
    is_directory: bool = False
    encrypted: bool = False
    extra: int = 0

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.at + self.header + self.data


def end_of_rar(view: memoryview) -> int | None:
    """Where the blocks end, the bytes behind an end block not among them; None where they are encrypted."""
    at: int | None = _first(view)
    for block in blocks(view):
        at = None if block.kind == "locked" else min(block.end, len(view))
    return at


def _first(view: memoryview) -> int:
    return 8 if bytes(view[:8]) == _RAR5 else 7


def blocks(view: memoryview) -> Iterator[Block]:
    """Every block whose checksum holds, up to an end block; a `locked` one is the last that can be read."""
    read = _block5 if bytes(view[:8]) == _RAR5 else _block4
    at = _first(view)
    for _ in range(_MOST_BLOCKS):
        block = read(view, at) if at < len(view) else None
        if block is None:
            return
        yield block
        if block.kind in ("end", "locked"):
            return
        at = block.end


def _block4(view: memoryview, at: int) -> Block | None:
    """RAR 4 technical note; files' headers hold sizes, method, attributes and the name."""
    head = bytes(view[at : at + 36])
    size = int.from_bytes(head[5:7], "little")
    if len(head) < 7 or head[2] not in _BLOCKS4 or size < 7:
        return None
    kind, flags = head[2], int.from_bytes(head[3:5], "little")
    commented = kind == _MAIN4 or (kind == _FILE4 and flags & _COMMENT4)  # which the sum leaves out
    if not commented and zlib.crc32(view[at + 2 : at + size]) & 0xFFFF != int.from_bytes(head[:2], "little"):
        return None
    if kind == _MAIN4 and flags & _LOCKED4:
        return Block(at, size, 0, "locked")
    if kind not in (_FILE4, _SERVICE4):
        data = int.from_bytes(head[7:11], "little") if flags & _HAS_DATA4 else 0
        return Block(at, size, data, "end" if kind == _END4 else "other")
    data, place = int.from_bytes(head[7:11], "little"), at + 32
    if flags & _LARGE4:
        data += int.from_bytes(head[32:36], "little") << 32
        place += 8
    if size < _FILE_HEADER4 or len(head) < _FILE_HEADER4:
        return Block(at, size, data, "other")
    name = bytes(view[place : place + int.from_bytes(head[26:28], "little")])
    directory = flags & _DIRECTORY4 == _DIRECTORY4
    what = "file" if kind == _FILE4 else "service"
    return Block(at, size, data, what, name, max(0, head[25] - 0x30), directory, bool(flags & 4))


def _block5(view: memoryview, at: int) -> Block | None:
    """A block's checksum must hold; files and services have the same fields."""
    head = bytes(view[at : at + _HEAD_BYTES])
    size, begin = _number(head, 4)
    if size > _MOST_HEADER or zlib.crc32(view[at + 4 : at + begin + size]) != int.from_bytes(
        head[:4], "little"
    ):
        return None
    kind, where = _number(head, begin)
    flags, where = _number(head, where)
    if kind == _LOCKED5:
        return Block(at, begin + size, 0, "locked")
    extra = data = 0
    if flags & _HAS_EXTRA5:
        extra, where = _number(head, where)
    if flags & _HAS_DATA5:
        data, where = _number(head, where)
    if kind not in (_FILE5, _SERVICE5):
        return Block(at, begin + size, data, "end" if kind == _END5 else "other", extra=extra)
    form, where = _number(head, where)
    _, where = _number(head, where)  # bytes of the file
    _, where = _number(head, where)  # attributes
    where += 4 * bool(form & _TIME5) + 4 * bool(form & _SUM5)
    method, where = _number(head, where)
    _, where = _number(head, where)  # system
    length, where = _number(head, where)
    name = bytes(view[at + where : at + where + min(length, size)])
    what, extras = (
        "file" if kind == _FILE5 else "service",
        bytes(view[at + begin + size - extra : at + begin + size]),
    )
    return Block(
        at, begin + size, data, what, name, method >> 7 & 7, bool(form & _DIRECTORY5),
        len(extras) > 1 and extras[1] == 1, extra,
    )  # fmt: skip


def as_file(view: memoryview, block: Block) -> Body:
    """An archive of that one block of a RAR 5, which is a file now: programs read no other kinds."""
    header = bytearray(view[block.at + 4 : block.at + block.header])
    _, at = _number(bytes(header[:_HEAD_BYTES]), 0)
    header[at] = _FILE5
    _, at = _number(bytes(header[:_HEAD_BYTES]), at + 1)
    for _ in range(2 if block.extra else 1):
        _, at = _number(bytes(header[:_HEAD_BYTES]), at)
    header[at] &= ~_DIRECTORY5 & 0xFF
    main = bytes((3, _MAIN5, 0, 0))
    parts = [_RAR5]
    for head in (main, bytes(header)):
        parts += (zlib.crc32(head).to_bytes(4, "little"), head)
    end = bytes((3, _END5, 0, 0))
    parts += (bytes(view[block.at + block.header : block.end]), zlib.crc32(end).to_bytes(4, "little"), end)
    return Body(b"".join(parts))
