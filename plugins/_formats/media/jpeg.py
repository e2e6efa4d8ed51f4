"""JPEG: segments for applications and comments are children, scans are media (ITU T.81, annex B)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from plugins._formats.archives.declare import Format, Source
from plugins._formats.archives.entry import BadArchive, Entry
from stoq_core.errors import Reason

from .parts import free, made, part

_EOI, _SOS, _COMMENT = 0xD9, 0xDA, 0xFE
_HUFFMAN, _QUANTISERS = 0xC4, 0xDB
_MARKER = re.compile(rb"\xff+[^\0\xff\xd0-\xd7]")
_TABLES = frozenset(
    {0xC4, 0xDB, 0xDD, 0xDC, 0xCC, *range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xD0)}
)
_MOST_SEGMENTS = 100_000
_MOST_TABLE_BYTES = 4_200
_PREFIXES = (
    b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"Photoshop 3.0\0", b"ICC_PROFILE\0", b"MPF\0",
    b"http://ns.adobe.com/xmp/extension/\0", b"FPXR\0", b"JFXX\0",
)  # fmt: skip
_ICC = b"ICC_PROFILE\0"
_SETTINGS = (b"JFIF\0", b"Adobe\0", b"Ducky\0", b"AROT")


def read_jpeg(source: Source) -> Iterator[Entry]:
    """Segments to the end of the image; what they hold of Exif, XMP, profiles and resources by itself."""
    view, at, end = source.view, 2, len(source.view)
    source.account.structure(0, 2)
    profile: list[bytes] = []
    for _ in range(_MOST_SEGMENTS):
        while at + 1 < end and view[at] == 0xFF and view[at + 1] == 0xFF:
            source.account.structure(at, 1)
            at += 1
        if at + 2 > end or view[at] != 0xFF:
            break
        kind = view[at + 1]
        if kind == _EOI:
            source.account.structure(at, 2)
            yield from _profile(profile)
            return
        size = int.from_bytes(view[at + 2 : at + 4])
        if size < 2 or at + 2 + size > end:
            break
        yield from _segment(source, kind, at, size, profile)
        at += 2 + size
        if kind == _SOS:
            at = _scan(source, at)
    yield from _profile(profile)
    raise BadArchive(Reason.TRUNCATED, "the picture has no end")


def _scan(source: Source, at: int) -> int:
    found = _MARKER.search(source.view, at)
    stop = found.start() if found else len(source.view)
    source.account.media(at, stop - at)
    return stop


def _segment(source: Source, kind: int, at: int, size: int, profile: list[bytes]) -> Iterator[Entry]:
    data_at, size = at + 4, size - 2
    head = bytes(source.view[data_at : data_at + min(size, 64)])
    source.account.structure(at, 4)
    table = kind == _SOS or (kind in _TABLES and size <= _MOST_TABLE_BYTES)
    if kind in (_QUANTISERS, _HUFFMAN):
        table = _holds(source.view[data_at : data_at + size], kind)
    if table or (head.startswith(_SETTINGS) and size <= 64):
        source.account.structure(data_at, size)
    elif head.startswith(_ICC):
        source.account.child(data_at, size)
        profile.append(bytes(source.view[data_at + 14 : data_at + size]))
    elif kind == _COMMENT:
        yield from free(source, "comment", data_at, size)
    elif 0xE0 <= kind <= 0xEF:
        prefix = next((mark for mark in _PREFIXES if head.startswith(mark)), b"")
        source.account.structure(data_at, len(prefix))
        if prefix.startswith(b"Photoshop"):
            yield from read_resources(source, data_at + len(prefix), data_at + size)
        elif size > len(prefix):
            name = prefix.partition(b"\0")[0].rpartition(b"/")[0].decode() or prefix[:4].decode().strip("\0")
            yield from free(source, name or f"app{kind & 15}", data_at + len(prefix), size - len(prefix))


def _holds(data: memoryview, kind: int) -> bool:
    """B.2.4.1 and B.2.4.2: tables of 64 numbers of one or two bytes; of counts and as many values."""
    at = 0
    while at < len(data):
        if kind == _QUANTISERS:
            if data[at] >> 4 > 1 or data[at] & 15 > 3:
                return False
            at += 1 + (64 << (data[at] >> 4))
        else:
            count = sum(data[at + 1 : at + 17])
            if data[at] >> 4 > 1 or data[at] & 15 > 3 or count > 256:
                return False
            at += 17 + count
    return at == len(data)


def _profile(parts: list[bytes]) -> Iterator[Entry]:
    if parts:
        yield made("profile.icc", b"".join(parts))


def read_resources(source: Source, at: int, end: int) -> Iterator[Entry]:
    """Photoshop's image resources (Adobe Photoshop File Formats, *Image Resource Blocks*)."""
    view = source.view
    while at + 12 <= end and bytes(view[at : at + 4]) in (b"8BIM", b"8B64", b"MeSa", b"PHUT", b"DCSR"):
        number = int.from_bytes(view[at + 4 : at + 6])
        name_bytes = (view[at + 6] | 1) + 1
        size_at = at + 6 + name_bytes
        size = int.from_bytes(view[size_at : size_at + 4])
        data_at = size_at + 4
        if data_at + size > end:
            return  # what is left is left to the account
        source.account.structure(at, 6)
        yield from free(source, f"resource-{number:#x}-name", at + 6, name_bytes)
        source.account.structure(size_at, 4)
        thumbnail = 28 if number in (0x0409, 0x040C) and size > 28 else 0
        source.account.structure(data_at, thumbnail)
        if thumbnail:
            yield part(source, "thumbnail.jpg", data_at + thumbnail, size - thumbnail)
        else:
            yield from free(source, f"resource-{number:#x}", data_at, size)
        at = data_at + size + (size & 1)


FORMATS = (Format("jpeg", read_jpeg),)
