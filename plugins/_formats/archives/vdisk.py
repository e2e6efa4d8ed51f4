"""Virtual disks as one raw image: VHD (fixed, dynamic) and VHDX ([MS-VHDX]); nothing allocated is lost."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from stoq_core.errors import Reason
from stoq_core.limits import GiB, KiB, MiB

from .declare import Format, Mark, Source
from .entry import BadArchive, Entry, Member, is_text
from .extents import Extent, Image

_FOOTER_BYTES = 512
_USED_FOOTER_BYTES, _USED_HEADER_BYTES = 85, 64
_FIXED, _DYNAMIC, _DIFFERENCING = 2, 3, 4
_UNUSED = 0xFFFFFFFF
_MAX_BLOCKS = 4_000_000
_MAX_WHOLE_BYTES = 256 * MiB
_MAX_WHOLE_TIMES = 100
_BAT = bytes.fromhex("6677c22d23f600429d64115e9bfd4a08")
_METADATA = bytes.fromhex("06a27c8b90479a4bb8fe575f050f886e")
_FILE_PARAMETERS = bytes.fromhex("3767a1ca36fa434db3b633f0aa44e76b")
_DISK_SIZE = bytes.fromhex("2442a52f1bcd7648b2115dbed83bf4b8")
_SECTOR_SIZE = bytes.fromhex("1dbf41816fa90947ba47f233a8faab5f")
_PRESENT, _PARTLY_PRESENT = 6, 7
_HAS_PARENT = 2


class _Disk(NamedTuple):
    """Its ranges in the file and whether blocks stand in another file, its parent."""

    extents: list[Extent]
    has_parent: bool = False


def read_vhd(source: Source) -> Iterator[Entry]:
    """The disk (Microsoft VHD 1.0), up to its last allocated block."""
    return _read(source, _vhd)


def read_vhdx(source: Source) -> Iterator[Entry]:
    """The disk, up to its last allocated block; a log that was not replayed is `unsupported_method`."""
    return _read(source, _vhdx)


def _read(source: Source, parse: Callable[[Image], _Disk]) -> Iterator[Entry]:
    image = Image(source.view, source.account)
    disk = parse(image)
    member = Member(name="disk.img", size=sum(size for _, size in disk.extents), method="stored")
    ranges = [(start, size) for start, size in disk.extents if start is not None]
    if not image.fits(ranges):
        raise BadArchive(Reason.RATIO, "the disk's blocks are used again and again")
    yield Entry(member, lambda _passwords: image.chunks(disk.extents))
    if disk.has_parent:
        raise BadArchive(Reason.UNSUPPORTED_METHOD, "part of the disk is in another file, its parent")


def _vhd(image: Image) -> _Disk:
    view = image.view
    footer = bytes(view[-_FOOTER_BYTES:])
    if footer[:8] != b"conectix":
        footer = bytes(view[:_FOOTER_BYTES])  # the copy at the front, of a disk that was cut short
    if footer[:8] != b"conectix" or len(footer) < _FOOTER_BYTES:
        raise BadArchive(Reason.TRUNCATED, "the disk has no footer")
    image.account.structure(len(view) - _FOOTER_BYTES, _USED_FOOTER_BYTES)
    header_at, size, kind = struct.unpack_from(">16xQ24xQ4xI", footer)
    if kind == _FIXED:
        return _Disk([(0, min(size, len(view) - _FOOTER_BYTES))])
    image.account.structure(0, _USED_FOOTER_BYTES)
    if kind not in (_DYNAMIC, _DIFFERENCING):
        raise BadArchive(Reason.UNSUPPORTED_METHOD, f"a disk of type {kind}")
    header = image.at(header_at, 1024)
    if header[:8] != b"cxsparse":
        raise BadArchive(Reason.CORRUPT, "the disk has no dynamic header")
    table_at, count, block = struct.unpack_from(">16xQ4xII", header)
    _check_block(block, count)
    image.account.structure(header_at, _USED_HEADER_BYTES)
    table = image.at(table_at, 4 * count)
    image.account.structure(table_at, 4 * count)
    bitmap = -(-(block // 512 // 8) // 512) * 512
    sectors = struct.unpack(f">{count}I", table)
    for sector in sectors:
        if sector != _UNUSED:
            image.account.structure(sector * 512, bitmap)
    starts = [None if sector == _UNUSED else sector * 512 + bitmap for sector in sectors]
    return _Disk(_ranges(starts, block, size, len(image.view)), kind == _DIFFERENCING)


def _check_block(block: int, count: int) -> None:
    if not 512 <= block <= GiB or block & (block - 1):
        raise BadArchive(Reason.CORRUPT, f"blocks of {block} bytes do not exist")
    if count > _MAX_BLOCKS:
        raise BadArchive(Reason.CORRUPT, f"the disk claims {count} blocks")


def _ranges(starts: list[int | None], block: int, size: int, stored: int) -> list[Extent]:
    """Blocks in order, holes between them joined.

    A disk that is much larger than the file that holds it ends with its last allocated block.
    """
    extents: list[Extent] = []
    at = hole = 0
    for start in starts:
        length = min(block, size - at)
        if length <= 0:
            break
        at += length
        if start is None:
            hole += length
            continue
        if hole:
            extents.append((None, hole))
            hole = 0
        extents.append((start, length))
    if hole and size <= min(_MAX_WHOLE_BYTES, _MAX_WHOLE_TIMES * stored):
        extents.append((None, hole))
    return extents


def _vhdx(image: Image) -> _Disk:
    regions = _regions(image)
    if _BAT not in regions or _METADATA not in regions:
        raise BadArchive(Reason.CORRUPT, "the disk has no block table or no metadata")
    items = _items(image, regions[_METADATA][0])
    try:
        block, flags = struct.unpack("<II", items[_FILE_PARAMETERS][:8])
        (size,) = struct.unpack("<Q", items[_DISK_SIZE][:8])
        (sector,) = struct.unpack("<I", items[_SECTOR_SIZE][:4])
    except (KeyError, struct.error):
        raise BadArchive(Reason.CORRUPT, "the disk's metadata lack its size or its blocks'") from None
    if sector not in (512, 4096):
        raise BadArchive(Reason.CORRUPT, f"sectors of {sector} bytes do not exist")
    _check_block(block, -(-size // block) if block else 0)
    starts = _blocks(image, regions[_BAT], -(-size // block), max(1, (sector << 23) // block))
    return _Disk(_ranges(starts, block, size, len(image.view)), bool(flags & _HAS_PARENT) or _has_log(image))


def _has_log(image: Image) -> bool:
    """The current header (the greater sequence number) names a log that has yet to be replayed."""
    headers = [image.at(at, 80) for at in (64 * KiB, 128 * KiB)]
    image.account.structure(0, 8)
    if is_text(bytes(image.view[8:520:2]).rstrip(b"\0")):  # who made it
        image.account.structure(8, 512)
    for at in (64 * KiB, 128 * KiB):
        image.account.structure(at, 80)
    valid = [one for one in headers if one[:4] == b"head"]
    current = max(valid, key=lambda one: one[8:16][::-1], default=b"")
    return any(current[48:64])


def _regions(image: Image) -> dict[bytes, tuple[int, int]]:
    for at in (192 * KiB, 256 * KiB):
        table = image.at(at, 64 * KiB)
        if table[:4] == b"regi":
            (count,) = struct.unpack_from("<I", table, 8)
            for copy in (192 * KiB, 256 * KiB):
                image.account.structure(copy, 16 + 32 * min(count, 2047))
            rows = (table[16 + 32 * n : 48 + 32 * n] for n in range(min(count, 2047)))
            return {row[:16]: struct.unpack_from("<QI", row, 16) for row in rows}
    raise BadArchive(Reason.CORRUPT, "the disk has no region table")


def _items(image: Image, base: int) -> dict[bytes, bytes]:
    table = image.at(base, 64 * KiB)
    if table[:8] != b"metadata":
        raise BadArchive(Reason.CORRUPT, "the disk has no metadata table")
    (count,) = struct.unpack_from("<H", table, 10)
    items = {}
    image.account.structure(base, 32 + 32 * min(count, 2047))
    for n in range(min(count, 2047)):
        row = table[32 + 32 * n : 64 + 32 * n]
        offset, length = struct.unpack_from("<II", row, 16)
        if length <= MiB and row[:16] in (_FILE_PARAMETERS, _DISK_SIZE, _SECTOR_SIZE):
            items[row[:16]] = image.at(base + offset, length)
            image.account.structure(base + offset, min(length, 16))
    return items


def _blocks(image: Image, region: tuple[int, int], count: int, ratio: int) -> list[int | None]:
    """2.5: after each `ratio` blocks stands an entry of sector bitmaps, which only children need."""
    entries = count + max(0, count - 1) // ratio
    if entries * 8 > region[1]:
        raise BadArchive(Reason.CORRUPT, "the block table is smaller than the disk")
    table = struct.unpack(f"<{entries}Q", image.at(region[0], entries * 8))
    image.account.structure(region[0], entries * 8)
    starts: list[int | None] = []
    for n in range(count):
        entry = table[n + n // ratio]
        starts.append(entry >> 20 << 20 if entry & 7 in (_PRESENT, _PARTLY_PRESENT) else None)
    return starts


FORMATS = (
    Format("vhd", read_vhd, (Mark(b"conectix"),)),
    Format("vhdx", read_vhdx, (Mark(b"vhdxfile"),)),
)
