"""VMware's sparse disks: hosted sparse and streamOptimized extents, and the older COWD.

VMware Virtual Disk Format 5.0: *Hosted Sparse Extents*, *Stream-Optimized Compressed Sparse Extents*.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from stoq_core.errors import Reason
from stoq_core.limits import MiB

from .clusters import Cluster, disk_entry
from .declare import Format, Mark, Source
from .entry import BadArchive, Entry, Member, sliced
from .extents import Image

_SECTOR = 512
_HEADER = struct.Struct("<4sIIQQQQIQQQBccccH")
_HEADER_BYTES = 79
_AT_END = 0xFFFFFFFFFFFFFFFF
_COMPRESSED, _MARKERS = 1 << 16, 1 << 17
_COWD = struct.Struct("<4sIIIIIII")
_MOST_TABLE_BYTES = 64 * MiB
_MOST_DESCRIPTOR_BYTES = MiB


class _Grains(NamedTuple):
    """Bytes of a grain, entries of a table, offset of the directory, bytes of the disk."""

    size: int
    per_table: int
    directory: int
    capacity: int


def read_vmdk(source: Source) -> Iterator[Entry]:
    """The text that describes the disk, then the disk."""
    image = Image(source.view, source.account)
    if image.at(0, 4) == b"COWD":
        yield from _cowd(source, image)
        return
    header = _HEADER.unpack(image.at(0, _HEADER.size))
    if header[9] == _AT_END:  # written in one go: a copy at the end says where the directory is
        header = _footer(source, image)
    _, _, flags, capacity, grain, text_at, text_size, per_table, _, directory, _, _ = header[:12]
    source.account.structure(0, _HEADER_BYTES)
    if not 1 <= grain <= 1 << 17 or not 1 <= per_table <= 1 << 16:
        raise BadArchive(Reason.CORRUPT, f"grains of {grain} sectors do not exist")
    yield from _text(source, text_at * _SECTOR, min(text_size * _SECTOR, _MOST_DESCRIPTOR_BYTES))
    grains = _Grains(grain * _SECTOR, per_table, directory * _SECTOR, capacity * _SECTOR)
    packed = bool(flags & _COMPRESSED)
    yield disk_entry(source, _clusters(source, image, grains, packed=packed), grains.capacity)


def _footer(source: Source, image: Image) -> tuple[int, ...]:
    """Third sector from the end: footer marker, footer, end-of-stream marker."""
    at = len(source.view) - 2 * _SECTOR
    footer: tuple[int, ...] = _HEADER.unpack(image.at(at, _HEADER.size))
    if bytes(source.view[at : at + 4]) != b"KDMV" or footer[9] == _AT_END:
        raise BadArchive(Reason.TRUNCATED, "the disk has no footer")
    source.account.structure(at - _SECTOR, 16)
    source.account.structure(at, _HEADER_BYTES)
    source.account.structure(at + _SECTOR, 16)
    return footer


def _text(source: Source, at: int, size: int) -> Iterator[Entry]:
    data = source.view[at : at + size] if at else source.view[:0]
    if len(data):
        text = bytes(data).rstrip(b"\0")
        source.account.child(at, len(text))
        member = Member(name="descriptor.txt", size=len(text), method="stored")
        yield Entry(member, lambda _passwords: sliced(memoryview(text)), at)


def _clusters(source: Source, image: Image, grains: _Grains, *, packed: bool) -> Iterator[Cluster]:
    tables = -(-grains.capacity // (grains.size * grains.per_table))
    directory = image.folder(grains.directory, min(4 * tables, _MOST_TABLE_BYTES))
    source.account.structure(grains.directory, len(directory))
    for (sector,) in struct.iter_unpack("<I", directory):
        if not sector:
            yield Cluster(None, grains.size * grains.per_table)
            continue
        table = image.folder(sector * _SECTOR, 4 * grains.per_table)
        source.account.structure(sector * _SECTOR, len(table))
        for (entry,) in struct.iter_unpack("<I", table):
            yield _grain(source, entry * _SECTOR, grains.size, packed=packed)


def _grain(source: Source, at: int, size: int, *, packed: bool) -> Cluster:
    """0 and 1 sectors are no places: a hole, and one that reads as zeros; a packed one has a header of 12."""
    if at <= _SECTOR:
        return Cluster(None, size)
    if not packed:
        return Cluster(at, size)
    source.account.structure(at, 12)
    length = int.from_bytes(source.view[at + 8 : at + 12], "little")
    return Cluster(at + 12, size, max(1, min(length, 2 * size + _SECTOR)), "zlib")


def _cowd(source: Source, image: Image) -> Iterator[Entry]:
    """ESX's older copy-on-write disks: tables of 4,096 grains."""
    _, _, _, sectors, grain, directory, count, _ = _COWD.unpack(image.at(0, _COWD.size))
    source.account.structure(0, _COWD.size)
    if not 1 <= grain <= 1 << 17 or count > 1 << 20:
        raise BadArchive(Reason.CORRUPT, f"grains of {grain} sectors do not exist")
    grains = _Grains(grain * _SECTOR, 4096, directory * _SECTOR, sectors * _SECTOR)
    yield disk_entry(source, _clusters(source, image, grains, packed=False), grains.capacity)


def _is_vmdk(view: memoryview, start: int) -> bool:
    return bytes(view[start + 4 : start + 8]) in (b"\1\0\0\0", b"\2\0\0\0", b"\3\0\0\0")


FORMATS = (Format("vmdk", read_vmdk, (Mark(b"KDMV"), Mark(b"COWD")), _is_vmdk),)
