"""Raw disk images: the partitions of an MBR or a GPT (UEFI 2.10, 5), each as an image of its own."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from stoq_core.errors import Reason

from .declare import Format, Source
from .entry import BadArchive, Entry, Member
from .extents import Image

_EXTENDED = frozenset({0x05, 0x0F, 0x85})
_PROTECTIVE = 0xEE
_MAX_PARTITIONS = 256
_MAX_LOGICAL = 64


def read_disk(source: Source) -> Iterator[Entry]:
    """A member a partition, named by its number and type; one past the end is `truncated`.

    Boot code and what stands between partitions is left to the account.
    """
    view, image = source.view, Image(source.view, source.account)
    for sector in (512, 4096):
        if bytes(view[sector : sector + 8]) == b"EFI PART":
            yield from _gpt(image, sector)
            return
    yield from _mbr(image)


def _gpt(image: Image, sector: int) -> Iterator[Entry]:
    header = image.at(sector, 92)
    image.account.structure(sector, 92)
    image.account.structure(0x1BE, 66)
    table_at, count, size = struct.unpack_from("<QII", header, 72)
    if not 128 <= size <= 4096:
        raise BadArchive(Reason.CORRUPT, f"partition entries of {size} bytes do not exist")
    for n in range(min(count, _MAX_PARTITIONS)):
        row = image.at(table_at * sector + n * size, 128)
        image.account.structure(table_at * sector + n * size, 128)
        first, last = struct.unpack_from("<QQ", row, 32)
        if any(row[:16]) and last >= first:
            name = row[56:128].decode("utf-16-le", "replace").partition("\0")[0]
            yield _partition(image, n + 1, name, first * sector, (last - first + 1) * sector)


def _mbr(image: Image) -> Iterator[Entry]:
    number = 0
    for kind, start, size in _rows(image, 0):
        if kind in _EXTENDED:
            yield from _logical(image, start)
        elif kind != _PROTECTIVE:
            number += 1
            yield _partition(image, number, f"type {kind:#04x}", start * 512, size * 512)


def _rows(image: Image, sector: int) -> list[tuple[int, int, int]]:
    raw = image.at(sector * 512, 512)
    image.account.structure(sector * 512 + 446, 66)
    rows = (struct.unpack_from("<4xB3xII", raw, 446 + 16 * n) for n in range(4))
    return [(kind, start, size) for kind, start, size in rows if kind and size]


def _logical(image: Image, base: int) -> Iterator[Entry]:
    """The chain of extended boot records; each is relative to the first, its partition to itself."""
    at, seen = base, set[int]()
    while at not in seen and len(seen) < _MAX_LOGICAL:
        seen.add(at)
        following = None
        for kind, start, size in _rows(image, at):
            if kind in _EXTENDED:
                following = base + start
            else:
                yield _partition(image, 4 + len(seen), f"type {kind:#04x}", (at + start) * 512, size * 512)
        if following is None:
            return
        at = following


def _partition(image: Image, number: int, name: str, start: int, size: int) -> Entry:
    title = f"{number} {name}".strip()
    return image.entry(Member(name=f"{title}.img", size=size, method="stored"), [(start, size)])


FORMATS = (Format("disk", read_disk),)
