"""QEMU's disks: QCOW and QCOW2/3 (docs/interop/qcow2.rst), QED (docs/interop/qed_spec.rst).

Snapshots are disks of their own; a backing file is another file, which is said.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from stoq_core.errors import Reason
from stoq_core.limits import MiB

from .clusters import Cluster, disk_entry
from .declare import Format, Mark, Source, number
from .entry import BadArchive, Entry
from .extents import Image

_QCOW = struct.Struct(">4sIQIIQIIQQIIQ")
_OFFSET_BITS = 0x00FFFFFFFFFFFE00
_COMPRESSED = 1 << 62
_ZERO = 1
_MOST_TABLE_BYTES = 32 * MiB
_MOST_SNAPSHOTS = 64
_EXTERNAL_DATA, _LONG_ENTRIES = 4, 16
_HIGH_BITS = 0x8000000000000000
_QED = struct.Struct("<4sIIIQQQQQII")


class _Layout(NamedTuple):
    """Bits of a cluster and of a table's entries, the version, how packed clusters are packed."""

    bits: int
    l2_bits: int
    version: int
    method: str = "deflate"
    entry_bytes: int = 8


def read_qcow(source: Source) -> Iterator[Entry]:
    """The disk, then each snapshot."""
    image = Image(source.view, source.account)
    version = int.from_bytes(image.at(4, 4))
    if version == 1:
        yield from _first_version(source, image)
        return
    (_, _, backing, name, bits, size, crypt, count, l1, refs, ref_clusters, snapshots, at) = _QCOW.unpack(
        image.at(0, _QCOW.size)
    )
    if version not in (2, 3) or not 9 <= bits <= 22:
        raise BadArchive(Reason.UNSUPPORTED_METHOD, f"QCOW {version} with clusters of 2^{bits} bytes")
    layout = _layout(image, version, bits)
    source.account.structure(0, _header_bytes(image, version))
    if crypt:
        raise BadArchive(Reason.ENCRYPTED_ARCHIVE, "the disk is encrypted")
    _claim_counts(source, image, refs, min(ref_clusters << bits, _MOST_TABLE_BYTES), bits)
    yield disk_entry(source, _clusters(source, image, layout, l1, count), size)
    yield from _snapshots(source, image, layout, at, min(snapshots, _MOST_SNAPSHOTS), size)
    if backing or name:
        raise BadArchive(Reason.UNSUPPORTED_METHOD, "part of the disk is in another file, its parent")


def _layout(image: Image, version: int, bits: int) -> _Layout:
    if version < 3:
        return _Layout(bits, bits - 3, version)
    features = int.from_bytes(image.at(72, 8))
    if features & _EXTERNAL_DATA:
        raise BadArchive(Reason.UNSUPPORTED_METHOD, "the disk's data are in another file")
    method = "zstd" if features & 8 and image.at(104, 1) == b"\1" else "deflate"
    long = bool(features & _LONG_ENTRIES)
    return _Layout(bits, bits - (4 if long else 3), version, method, 16 if long else 8)


def _header_bytes(image: Image, version: int) -> int:
    return 72 if version < 3 else min(int.from_bytes(image.at(100, 4)), 4096)


def _clusters(source: Source, image: Image, layout: _Layout, l1: int, count: int) -> Iterator[Cluster]:
    table = image.folder(l1, min(8 * count, _MOST_TABLE_BYTES))
    source.account.structure(l1, len(table))
    cluster, per = 1 << layout.bits, 1 << layout.l2_bits
    for (entry,) in struct.iter_unpack(">Q", table):
        offset = entry & _OFFSET_BITS
        if not offset:
            yield Cluster(None, cluster * per)
            continue
        second = image.folder(offset, per * layout.entry_bytes)
        source.account.structure(offset, len(second))
        for row in range(0, len(second), layout.entry_bytes):
            yield _cluster(int.from_bytes(second[row : row + 8]), layout)


def _cluster(entry: int, layout: _Layout) -> Cluster:
    size = 1 << layout.bits
    if entry & _COMPRESSED:
        shift = 62 - (layout.bits - 8)
        offset = entry & (1 << shift) - 1
        sectors = (entry & _COMPRESSED - 1) >> shift
        return Cluster(offset, size, (sectors + 1) * 512 - (offset & 511), layout.method)
    offset = entry & _OFFSET_BITS  # one that reads as zeros may yet have a cluster: it is given
    return Cluster(offset or None, size)


def _snapshots(
    source: Source, image: Image, layout: _Layout, at: int, count: int, size: int
) -> Iterator[Entry]:
    """Each with its own first table, by name."""
    for _ in range(count):
        head = image.at(at, 40)
        l1, l1_count, id_bytes, name_bytes = struct.unpack_from(">QIHH", head)
        (extra,) = struct.unpack_from(">I", head, 36)
        name = image.at(at + 40 + extra, id_bytes + name_bytes)[id_bytes:].decode("utf-8", "replace")
        length = (40 + extra + id_bytes + name_bytes + 7) & ~7
        source.account.structure(at, length)
        yield disk_entry(
            source, _clusters(source, image, layout, l1, l1_count), size, f"snapshot-{name or 'unnamed'}.img"
        )
        at += length


def _claim_counts(source: Source, image: Image, at: int, size: int, bits: int) -> None:
    """Reference counts are read as such only where each is a small number."""
    table = bytes(source.view[at : at + size])
    source.account.structure(at, len(table))
    for (entry,) in struct.iter_unpack(">Q", table[: len(table) & ~7]):
        offset = entry & _OFFSET_BITS
        block = image.folder(offset, 1 << bits) if offset else b""
        if block and max(block) < 16:
            source.account.structure(offset, len(block))


def _first_version(source: Source, image: Image) -> Iterator[Entry]:
    """QCOW 1: 48 bytes of header, entries that are offsets, the upper bit for packed ones."""
    _, _, backing, _, _, size, bits, l2_bits, crypt, l1 = struct.unpack(">4sIQIIQBBxxIQ", image.at(0, 48))
    source.account.structure(0, 48)
    if crypt:
        raise BadArchive(Reason.ENCRYPTED_ARCHIVE, "the disk is encrypted")
    if not 9 <= bits <= 22 or not 1 <= l2_bits <= 20:
        raise BadArchive(Reason.CORRUPT, "the disk's clusters have no sane size")
    count = -(-size // (1 << bits + l2_bits))
    yield disk_entry(source, _old_clusters(source, image, l1, count, bits, l2_bits), size)
    if backing:
        raise BadArchive(Reason.UNSUPPORTED_METHOD, "part of the disk is in another file, its parent")


def _old_clusters(
    source: Source, image: Image, l1: int, count: int, bits: int, l2_bits: int
) -> Iterator[Cluster]:
    table = image.folder(l1, min(8 * count, _MOST_TABLE_BYTES))
    source.account.structure(l1, len(table))
    for (offset,) in struct.iter_unpack(">Q", table):
        if not offset:
            yield Cluster(None, 1 << bits + l2_bits)
            continue
        second = image.folder(offset, 8 << l2_bits)
        source.account.structure(offset, len(second))
        for (entry,) in struct.iter_unpack(">Q", second):
            if entry & _HIGH_BITS:
                place = entry & (1 << 63 - bits) - 1
                packed = (entry & _HIGH_BITS - 1) >> 63 - bits
                yield Cluster(place, 1 << bits, packed or 1, "deflate")
            else:
                yield Cluster(entry or None, 1 << bits)


def read_qed(source: Source) -> Iterator[Entry]:
    """The disk: two levels of tables in clusters, nothing packed."""
    image = Image(source.view, source.account)
    _, cluster, table, _, features, _, _, l1, size, _, _ = _QED.unpack(image.at(0, _QED.size))
    if cluster & cluster - 1 or not 4096 <= cluster <= 64 * MiB or not 1 <= table <= 16:
        raise BadArchive(Reason.CORRUPT, f"clusters of {cluster} bytes do not exist")
    source.account.structure(0, _QED.size)
    yield disk_entry(source, _qed_clusters(source, image, l1, cluster, cluster * table), size)
    if features & 1:
        raise BadArchive(Reason.UNSUPPORTED_METHOD, "part of the disk is in another file, its parent")


def _qed_clusters(source: Source, image: Image, l1: int, cluster: int, size: int) -> Iterator[Cluster]:
    table = image.folder(l1, size)
    source.account.structure(l1, size)
    for (offset,) in struct.iter_unpack("<Q", table):
        if not offset:
            yield Cluster(None, cluster * (size // 8))
            continue
        second = image.folder(offset, size)
        source.account.structure(offset, size)
        for (entry,) in struct.iter_unpack("<Q", second):
            yield Cluster(entry if entry > 1 else None, cluster)


def _is_qcow(view: memoryview, start: int) -> bool:
    return bytes(view[start + 4 : start + 8]) in (b"\0\0\0\1", b"\0\0\0\2", b"\0\0\0\3")


def _is_qed(view: memoryview, start: int) -> bool:
    cluster = number(view, start + 4, 4)
    return 4096 <= cluster <= 64 * MiB and not cluster & cluster - 1


FORMATS = (
    Format("qcow", read_qcow, (Mark(b"QFI\xfb"),), _is_qcow),
    Format("qed", read_qed, (Mark(b"QED\0"),), _is_qed),
)
