"""Disks with one table of blocks: VirtualBox's VDI and Parallels' HDD.

Parallels: docs/interop/parallels.rst of QEMU; VDI: the header as VirtualBox writes it (version 1.1).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from stoq_core.errors import Reason
from stoq_core.limits import GiB, MiB

from .clusters import Cluster, disk_entry
from .declare import Format, Mark, Source
from .entry import BadArchive, Entry
from .extents import Image

_VDI_MARK = b"\x7f\x10\xda\xbe"
_SECTOR = 512
_MOST_TABLE_BYTES = 32 * MiB
_DIFFERENCE = 4
_UNUSED = (0xFFFFFFFF, 0xFFFFFFFE)
_PARALLELS = struct.Struct("<16sIIIIIQIIIQ")
_PARALLELS_MARKS = (b"WithoutFreeSpace", b"WithouFreSpacExt")


def read_vdi(source: Source) -> Iterator[Entry]:
    """The disk; a difference is over another file, which is said."""
    image = Image(source.view, source.account)
    header_bytes, kind = struct.unpack("<II", image.at(0x48, 8))
    table_at, data_at = struct.unpack("<II", image.at(0x154, 8))
    size, block, extra, count = struct.unpack("<QIII", image.at(0x170, 20))
    if not 4096 <= block <= GiB or block & block - 1:
        raise BadArchive(Reason.CORRUPT, f"blocks of {block} bytes do not exist")
    source.account.structure(0, 0x54)
    source.account.structure(0x154, min(header_bytes, 512) - (0x154 - 0x48))
    table = image.folder(table_at, min(4 * count, _MOST_TABLE_BYTES))
    source.account.structure(table_at, len(table))
    blocks = (
        Cluster(None, block)
        if entry in _UNUSED
        else Cluster(data_at + entry * (block + extra) + extra, block)
        for (entry,) in struct.iter_unpack("<I", table)
    )
    yield disk_entry(source, blocks, size)
    if kind == _DIFFERENCE:
        raise BadArchive(Reason.UNSUPPORTED_METHOD, "part of the disk is in another file, its parent")


def read_parallels(source: Source) -> Iterator[Entry]:
    """The disk; entries are sectors in the older kind and clusters in the newer."""
    image = Image(source.view, source.account)
    mark, _, _, _, sectors, count, total, _, _, _, _ = _PARALLELS.unpack(image.at(0, _PARALLELS.size))
    cluster = sectors * _SECTOR
    if not sectors or cluster > GiB:
        raise BadArchive(Reason.CORRUPT, f"clusters of {sectors} sectors do not exist")
    if mark == _PARALLELS_MARKS[0]:
        total &= 0xFFFFFFFF
    unit = cluster if mark == _PARALLELS_MARKS[1] else _SECTOR
    table = image.folder(64, min(4 * count, _MOST_TABLE_BYTES))
    source.account.structure(0, 64 + len(table))
    blocks = (
        Cluster(entry * unit if entry else None, cluster) for (entry,) in struct.iter_unpack("<I", table)
    )
    yield disk_entry(source, blocks, total * _SECTOR)


FORMATS = (
    Format("vdi", read_vdi, (Mark(_VDI_MARK, 0x40),)),
    Format("parallels", read_parallels, tuple(Mark(mark) for mark in _PARALLELS_MARKS)),
)
