"""UBIFS within UBI or alone: nodes are found wherever they stand (Linux, fs/ubifs/ubifs-media.h)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from .declare import Format, Mark, Source
from .entry import Entry
from .flash import Files, Node, next_mark

_MARK = b"\x31\x18\x10\x06"
_HEAD_BYTES, _DATA_BYTES, _NAME_BYTES = 24, 48, 56
_DATA, _DIRENT = 1, 2
_BLOCK_BYTES, _BLOCK_HEAD_BYTES = 4_096, 64
_METHODS = {0: "stored", 1: "lzo", 2: "deflate", 3: "zstd"}
_STEP = 8
_MOST_NODE_BYTES = 1 << 20


def read_ubifs(source: Source) -> Iterator[Entry]:
    """A member a file, and one for each older piece of it; indexes and journals are left to the account."""
    view, files, at, end = source.view, Files(), 0, len(source.view)
    while at + _HEAD_BYTES <= end:
        if bytes(view[at : at + 4]) != _MARK:
            at = next_mark(view, at, _MARK, _STEP)
            continue
        sequence, size, kind = struct.unpack_from("<QIB", view, at + 8)
        if size < _HEAD_BYTES or at + size > end:
            files.cut |= kind in (_DATA, _DIRENT) and _HEAD_BYTES < size < _MOST_NODE_BYTES
            at += _STEP
            continue
        source.account.structure(at, _HEAD_BYTES)
        if kind == _DATA and size >= _DATA_BYTES:
            _piece(source, files, at, size, sequence)
        elif kind == _DIRENT and size >= _NAME_BYTES:
            _name(source, files, at, size)
        at += size + _STEP - 1 & -_STEP
    _claim_blocks(source)
    yield from files.entries(source)


def _claim_blocks(source: Source) -> None:
    """UBI's own headers, two an erase block, where their checksums hold."""
    for mark in (b"UBI#", b"UBI!"):
        at = next_mark(source.view, 0, mark, _BLOCK_HEAD_BYTES)
        while at < len(source.view):
            if _is_block(source.view, at):
                source.account.structure(at, _BLOCK_HEAD_BYTES)
            at = next_mark(source.view, at + _BLOCK_HEAD_BYTES, mark, _BLOCK_HEAD_BYTES)


def _piece(source: Source, files: Files, at: int, size: int, sequence: int) -> None:
    inode, place = struct.unpack_from("<II", source.view, at + 24)
    plain, method = struct.unpack_from("<IH", source.view, at + 40)
    source.account.structure(at, _DATA_BYTES)
    source.account.child(at + _DATA_BYTES, size - _DATA_BYTES)
    name = _METHODS.get(method, f"method {method}")
    offset = (place & 0x1FFFFFFF) * _BLOCK_BYTES
    files.add(inode, Node(sequence, offset, at + _DATA_BYTES, size - _DATA_BYTES, plain, name))


def _name(source: Source, files: Files, at: int, size: int) -> None:
    (parent,) = struct.unpack_from("<I", source.view, at + 24)
    (inode,) = struct.unpack_from("<Q", source.view, at + 40)
    (length,) = struct.unpack_from("<H", source.view, at + 50)
    raw = bytes(source.view[at + _NAME_BYTES : at + min(size, _NAME_BYTES + length)])
    source.account.structure(at, _NAME_BYTES + len(raw))
    if inode:
        files.name(inode, parent, raw)


def _is_node(view: memoryview, start: int) -> bool:
    """The checksum of the whole node holds."""
    size = int.from_bytes(view[start + 16 : start + 20], "little")
    node = view[start + 8 : start + min(size, 1 << 20)]
    crc = int.from_bytes(view[start + 4 : start + 8], "little")
    return size >= _HEAD_BYTES and zlib.crc32(node) ^ 0xFFFFFFFF == crc


def _is_block(view: memoryview, start: int) -> bool:
    """The header of an erase block has a checksum of its own."""
    head = bytes(view[start : start + _BLOCK_HEAD_BYTES])
    return len(head) == _BLOCK_HEAD_BYTES and zlib.crc32(head[:60]) ^ 0xFFFFFFFF == int.from_bytes(head[60:])


FORMATS = (
    Format("ubifs", read_ubifs, (Mark(_MARK),), _is_node),
    Format("ubi", read_ubifs, (Mark(b"UBI#\x01"),), _is_block),
)
