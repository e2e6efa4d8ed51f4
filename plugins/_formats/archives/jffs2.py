"""JFFS2, the file system of flash chips, as a log of nodes (Linux, include/uapi/linux/jffs2.h)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from .declare import Format, Mark, Source
from .entry import Entry
from .flash import Files, Node, next_mark

_DIRENT, _INODE = 0x001, 0x002
_KIND_BITS = 0xFFF
_HEAD_BYTES, _INODE_BYTES, _DIRENT_BYTES = 12, 68, 40
_METHODS = {0: "stored", 1: "zero", 2: "rtime", 4: "stored", 6: "zlib", 7: "lzo"}
_STEP = 4


def read_jffs2(source: Source) -> Iterator[Entry]:
    """A member a file, and one for each older piece of it."""
    yield from _walk(source).entries(source)


def _walk(source: Source) -> Files:
    """From node to node; between them, erased flash is passed over in words."""
    view, files, at, end = source.view, Files(), 0, len(source.view)
    order = "<" if view[0] == 0x85 else ">"
    mark = b"\x85\x19" if order == "<" else b"\x19\x85"
    head = struct.Struct(order + "HHII")
    while at + _HEAD_BYTES <= end:
        if bytes(view[at : at + 2]) != mark:
            at = next_mark(view, at, mark, _STEP)
            continue
        _, kind, size, _ = head.unpack_from(view, at)
        if size < _HEAD_BYTES or at + size > end:
            files.cut |= size > _HEAD_BYTES and _is_jffs2(view, at)
            at += _STEP
            continue
        if kind & _KIND_BITS == _INODE and size >= _INODE_BYTES:
            _inode(source, files, at, size, order)
        elif kind & _KIND_BITS == _DIRENT and size >= _DIRENT_BYTES:
            _dirent(source, files, at, size, order)
        elif size == _HEAD_BYTES:
            source.account.structure(at, _HEAD_BYTES)  # a clean marker; other nodes are left to the account
        at += size + 3 & ~3
    return files


def _inode(source: Source, files: Files, at: int, size: int, order: str) -> None:
    number, version = struct.unpack_from(order + "II", source.view, at + 12)
    offset, packed, plain = struct.unpack_from(order + "III", source.view, at + 44)
    method = source.view[at + 56]
    source.account.structure(at, _INODE_BYTES)
    data = min(packed, size - _INODE_BYTES)
    source.account.child(at + _INODE_BYTES, data)
    if plain:
        name = _METHODS.get(method, f"method {method}")
        files.add(number, Node(version, offset, at + _INODE_BYTES, data, plain, name))


def _dirent(source: Source, files: Files, at: int, size: int, order: str) -> None:
    parent, _, number = struct.unpack_from(order + "III", source.view, at + 12)
    length = source.view[at + 28]
    raw = bytes(source.view[at + _DIRENT_BYTES : at + min(size, _DIRENT_BYTES + length)])
    source.account.structure(at, _DIRENT_BYTES + len(raw))
    if number:
        files.name(number, parent, raw)


def _is_jffs2(view: memoryview, start: int) -> bool:
    """The header's checksum holds (CRC-32 with zero at both ends)."""
    head = bytes(view[start : start + _HEAD_BYTES])
    order = "little" if head[:1] == b"\x85" else "big"
    crc = zlib.crc32(head[:8], 0xFFFFFFFF) ^ 0xFFFFFFFF
    return len(head) == _HEAD_BYTES and crc == int.from_bytes(head[8:], order)  # type: ignore[arg-type]


_KINDS = (0xE001, 0xE002, 0x2003, 0x2004, 0x2006)
_MARKS = tuple(Mark(struct.pack(order + "HH", 0x1985, kind)) for order in "<>" for kind in _KINDS)
FORMATS = (Format("jffs2", read_jffs2, _MARKS, _is_jffs2),)
