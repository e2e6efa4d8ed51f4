"""Android's images: boot images of kernels and ramdisks, vendor boot images, sparse images.

system/tools/mkbootimg (bootimg.h) and system/core/libsparse (sparse_format.h).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from stoq_core.errors import Reason
from stoq_core.limits import MiB

from .clusters import Cluster, disk_entry
from .declare import Format, Mark, Source, number
from .entry import BadArchive, Entry, Member, sliced

_MODERN_PAGE = 4_096
_MOST_PAGE = 1 << 20
_NAMES_V0 = ("kernel", "ramdisk", "second", "recovery_dtbo", "dtb")
_RAW, _FILL, _HOLE, _CRC = 0xCAC1, 0xCAC2, 0xCAC3, 0xCAC4
_MOST_CHUNKS = 1_000_000


def read_boot(source: Source) -> Iterator[Entry]:
    """The parts one after the other, each at a page of its own; the header's texts are left unclaimed."""
    if bytes(source.view[:8]) == b"VNDRBOOT":
        yield from _parts(source, *_vendor(source.view))
    elif number(source.view, 40, 4) in (3, 4):
        sizes = [number(source.view, 8, 4), number(source.view, 12, 4)]
        source.account.structure(0, 44)
        yield from _parts(source, _MODERN_PAGE, _MODERN_PAGE, sizes, ("kernel", "ramdisk"))
    else:
        yield from _parts(source, *_first_versions(source))


def _first_versions(source: Source) -> tuple[int, int, list[int], tuple[str, ...]]:
    """Versions 0 to 2: page size, where the parts begin, their sizes and names."""
    view = source.view
    kernel, ramdisk, second, page, version = (number(view, at, 4) for at in (8, 16, 24, 36, 40))
    sizes = [kernel, ramdisk, second]
    if version in (1, 2):
        sizes.append(number(view, 1632, 4))
    if version == 2:
        sizes.append(number(view, 1648, 4))
    source.account.structure(0, 48)
    return page, page, sizes, _NAMES_V0


def _vendor(view: memoryview) -> tuple[int, int, list[int], tuple[str, ...]]:
    page, ramdisk, header, dtb = (number(view, at, 4) for at in (12, 24, 2096, 2100))
    if not page:
        raise BadArchive(Reason.CORRUPT, "the image has no page size")
    return page, -(-header // page) * page, [ramdisk, dtb], ("ramdisk", "dtb")


def _parts(source: Source, page: int, at: int, sizes: list[int], names: tuple[str, ...]) -> Iterator[Entry]:
    if not 512 <= page <= _MOST_PAGE:
        raise BadArchive(Reason.CORRUPT, f"pages of {page} bytes do not exist")
    for name, size in zip(names, sizes, strict=False):
        if size:
            yield stored(source, name, at, size)
            at += -(-size // page) * page


def stored(source: Source, name: str, at: int, size: int) -> Entry:
    """A part that lies in the file as it is; one that is cut short is `truncated`."""
    data = source.view[at : at + size]
    source.account.child(at, len(data))

    def chunks() -> Iterator[bytes | memoryview]:
        yield from sliced(data)
        if len(data) < size:
            raise BadArchive(Reason.TRUNCATED, f"{len(data)} of {size} bytes are there")

    return Entry(Member(name=name, size=size, method="stored"), lambda _passwords: chunks(), at)


def read_sparse(source: Source) -> Iterator[Entry]:
    """The image: chunks that are stored, filled or left out. Fills of anything but zero are told apart."""
    view = source.view
    header, chunk_header = number(view, 8, 2), number(view, 10, 2)
    block, blocks, count = number(view, 12, 4), number(view, 16, 4), number(view, 20, 4)
    if header < 28 or chunk_header < 12 or not 512 <= block <= 16 * MiB or block % 4:
        raise BadArchive(Reason.CORRUPT, "the header does not hold")
    source.account.structure(0, 28)
    clusters = _chunks(source, header, chunk_header, block, min(count, _MOST_CHUNKS))
    yield disk_entry(source, clusters, block * blocks)


def _chunks(source: Source, at: int, chunk_header: int, block: int, count: int) -> Iterator[Cluster]:
    for _ in range(count):
        if at + chunk_header > len(source.view):
            raise BadArchive(Reason.TRUNCATED, "the image ends within its chunks")
        kind, blocks, total = struct.unpack_from("<HxxII", source.view, at)
        source.account.structure(at, 12)
        if kind == _RAW:
            yield Cluster(at + chunk_header, blocks * block)
        elif kind in (_FILL, _HOLE):
            yield Cluster(None, blocks * block)  # what it is filled with, four bytes, is left to the account
        elif kind != _CRC:
            raise BadArchive(Reason.CORRUPT, f"a chunk of kind {kind:#x} does not exist")
        at += max(total, chunk_header)


def _is_boot(view: memoryview, start: int) -> bool:
    return number(view, start + 40, 4) <= 4 and number(view, start + 8, 4) > 0


def _is_sparse(view: memoryview, start: int) -> bool:
    return number(view, start + 8, 2) >= 28 and number(view, start + 10, 2) >= 12


FORMATS = (
    Format("androidboot", read_boot, (Mark(b"ANDROID!"), Mark(b"VNDRBOOT")), _is_boot),
    Format("androidsparse", read_sparse, (Mark(b"\x3a\xff\x26\xed\x01\0"),), _is_sparse),
)
