"""Pictures whose headers say where their pixels are: BMP, icons, TIFF and Exif, Photoshop, metafiles."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Literal

from plugins._formats.archives.declare import Format, Source, number
from plugins._formats.archives.entry import BadArchive, Entry
from stoq_core.errors import Reason

from .jpeg import read_resources
from .parts import free, inflate, messages, part

_MOST_DIRECTORIES = 2_000
_MOST_STRIPS = 1_000_000
_MOST_RECORDS = 2_000_000
_SIZES = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8)
_STRIP_AT, _STRIP_SIZE, _TILE_AT, _TILE_SIZE, _COMPRESSION = 273, 279, 324, 325, 259
_JPEG_AT, _JPEG_SIZE = 513, 514
_DIRECTORIES = frozenset((330, 34665, 34853, 40965))
_NUMBERS = frozenset((273, 279, 324, 325, 258, 277, 282, 283, 320, 318, 319, 529, 532, 519, 520, 521, 33550))
_NONE, _DEFLATED = 1, (8, 32946)
_MOST_INFLATED = 1 << 20
_Order = Literal["little", "big"]


def read_bmp(source: Source) -> Iterator[Entry]:
    """Header, colours, pixels; what stands between or behind them is left to the account."""
    view = source.view
    start, header = number(view, 10, 4), number(view, 14, 4)
    source.account.structure(0, 14 + header)
    for at, size in _dib(view, 14, start):
        source.account.media(at, size)
    yield from ()


def _dib(view: memoryview, at: int, pixels: int, *, icon: bool = False) -> Iterator[tuple[int, int]]:
    """The places of colours and pixels of a bitmap whose header stands at `at`."""
    header = number(view, at, 4)
    if header == 12:
        width, height = number(view, at + 4, 2), number(view, at + 6, 2)
        bits, packed, size, used, each = number(view, at + 10, 2), 0, 0, 0, 3
    else:
        width, height = struct.unpack("<ii", bytes(view[at + 4 : at + 12]).ljust(8, b"\0"))
        bits, packed, size, used = (number(view, at + n, m) for n, m in ((14, 2), (16, 4), (20, 4), (32, 4)))
        each = 4
    colours = (used if 0 < used <= 256 else 1 << bits) if bits <= 8 else 0
    masks = 12 if header == 40 and packed == 3 else 0
    yield at + header, masks + each * colours
    rows = abs(height) // 2 if icon else abs(height)
    plain = (abs(width) * bits + 31) // 32 * 4 * rows
    if icon:
        plain += (abs(width) + 31) // 32 * 4 * rows
        pixels = at + header + masks + each * colours
    yield pixels, plain if packed in (0, 3, 6) else size


def read_icon(source: Source) -> Iterator[Entry]:
    """Each picture of an icon or a pointer: PNG as a child, bitmaps as media."""
    view, count = source.view, number(source.view, 4, 2)
    source.account.structure(0, 6 + 16 * count)
    for place in range(count):
        size, at = number(view, 14 + 16 * place, 4), number(view, 18 + 16 * place, 4)
        if at + size > len(view):
            raise BadArchive(Reason.TRUNCATED, "the icon ends within a picture")
        if bytes(view[at : at + 4]) == b"\x89PNG":
            yield part(source, f"{place}.png", at, size)
            continue
        source.account.structure(at, min(size, number(view, at, 4)))
        for start, length in _dib(view, at, 0, icon=True):
            source.account.media(start, max(0, min(length, at + size - start)))


def read_tiff(source: Source) -> Iterator[Entry]:
    """Every directory that another one names: strips and tiles are media, thumbnails, long values free."""
    work = _Tiff(source)
    yield from work.read()


class _Tiff:
    """One file (TIFF 6.0; BigTIFF): its byte order and the directories that were read."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.view = source.view
        self.order: _Order = "little" if bytes(source.view[:2]) == b"II" else "big"
        self.big = bytes(source.view[2:4]) in (b"+\0", b"\0+")
        self._seen: set[int] = set()
        self._strips = 0
        self._inflate_left = _MOST_INFLATED

    def _number(self, at: int, size: int) -> int:
        return int.from_bytes(self.view[at : at + size], self.order)

    def read(self) -> Iterator[Entry]:
        """From the first directory on, those within and those behind."""
        self.source.account.structure(0, 16 if self.big else 8)
        waiting = [self._number(8, 8) if self.big else self._number(4, 4)]
        while waiting and len(self._seen) < _MOST_DIRECTORIES:
            at = waiting.pop()
            if not at or at in self._seen or at + 2 > len(self.view):
                continue
            self._seen.add(at)
            yield from self._directory(at, waiting)

    def _directory(self, at: int, waiting: list[int]) -> Iterator[Entry]:
        head, row, field = (8, 20, 8) if self.big else (2, 12, 4)
        count = min(self._number(at, head), (len(self.view) - at) // row)
        size = head + count * row + field
        self.source.account.structure(at, size)
        values: dict[int, list[int]] = {}
        for place in range(count):
            start = at + head + row * place
            yield from self._tag(start, field, values, waiting)
        waiting.append(self._number(at + head + count * row, field))
        yield from self._pictures(values)

    def _tag(
        self, start: int, field: int, values: dict[int, list[int]], waiting: list[int]
    ) -> Iterator[Entry]:
        tag, kind, count = self._number(start, 2), self._number(start + 2, 2), self._number(start + 4, field)
        each = _SIZES[kind] if kind < len(_SIZES) else 0
        size = each * count
        place = start + 4 + field
        if size > field:
            place = self._number(place, field)
        if place + size > len(self.view) or not size:
            return
        if tag in _DIRECTORIES and kind in (4, 13, 18):
            waiting += (self._number(place + each * n, each) for n in range(min(count, _MOST_DIRECTORIES)))
        if tag in (_STRIP_AT, _STRIP_SIZE, _TILE_AT, _TILE_SIZE, _COMPRESSION, _JPEG_AT, _JPEG_SIZE):
            self._strips += count
            if self._strips > 4 * _MOST_STRIPS:
                raise BadArchive(Reason.TOO_MANY_PAYLOADS, "more strips than are read")
            values[tag] = [self._number(place + each * n, each) for n in range(count)]
        if size > field:
            if tag in _NUMBERS:
                self.source.account.structure(place, size)
            else:
                yield from free(self.source, f"tag-{tag}", place, size)

    def _pictures(self, values: dict[int, list[int]]) -> Iterator[Entry]:
        packed = values.get(_COMPRESSION, [_NONE])[:1] or [_NONE]
        for where, sizes in ((_STRIP_AT, _STRIP_SIZE), (_TILE_AT, _TILE_SIZE)):
            for at, size in zip(values.get(where, ()), values.get(sizes, ()), strict=False):
                self.source.account.media(at, size)
                if packed[0] in _DEFLATED and size <= self._inflate_left:
                    self._inflate_left -= size
                    yield from self._strip(at, size)
        if _JPEG_AT in values and _JPEG_SIZE in values and packed[0] in (_NONE, 6, 7):
            at, size = values[_JPEG_AT][0], values[_JPEG_SIZE][0]
            if at + size <= len(self.view) and size:
                yield part(self.source, "thumbnail.jpg", at, size)

    def _strip(self, at: int, size: int) -> Iterator[Entry]:
        """What a deflated strip holds is looked through for text and files."""
        try:
            plain, _ = inflate(self.view[at : at + size], _MOST_INFLATED)
        except BadArchive:
            yield part(self.source, f"strip-{at:x}", at, size)
            return
        yield from messages(plain, f"strip-{at:x}")


def read_psd(source: Source) -> Iterator[Entry]:
    """Colours, resources (children), layers and pixels (Adobe Photoshop File Formats)."""
    view, big = source.view, bytes(source.view[4:6]) == b"\0\2"
    source.account.structure(0, 26)
    at = 26
    size = int.from_bytes(view[at : at + 4])
    source.account.structure(at, 4)
    source.account.media(at + 4, min(size, 1 << 16))
    at += 4 + size
    size = int.from_bytes(view[at : at + 4])
    source.account.structure(at, 4)
    yield from read_resources(source, at + 4, at + 4 + size)
    at += 4 + size
    wide = 8 if big else 4
    size = int.from_bytes(view[at : at + wide])
    source.account.structure(at, wide)
    source.account.media(at + wide, size)
    at += wide + size
    if at + 2 > len(view):
        raise BadArchive(Reason.TRUNCATED, "the picture ends within its layers")
    source.account.media(at, _psd_pixels(view, at, big=big))


def _psd_pixels(view: memoryview, at: int, *, big: bool) -> int:
    """Bytes of the merged picture: plain, or as its table of packed rows says; else all that is left."""
    channels, bits = (int.from_bytes(view[n : n + 2]) for n in (12, 22))
    height, width = (int.from_bytes(view[n : n + 4]) for n in (14, 18))
    packed = int.from_bytes(view[at : at + 2])
    rows, each = channels * height, 4 if big else 2
    if packed == 0:
        return 2 + rows * ((width * bits + 7) // 8)
    if packed == 1:
        table = bytes(view[at + 2 : at + 2 + each * rows])
        return 2 + len(table) + sum(int.from_bytes(table[n : n + each]) for n in range(0, len(table), each))
    return len(view) - at


def read_emf(source: Source) -> Iterator[Entry]:
    """[MS-EMF] 2.3: records to the last; comments and descriptions are free, what they draw is media."""
    view, at = source.view, 0
    for _ in range(_MOST_RECORDS):
        kind, size = number(view, at, 4), number(view, at + 4, 4)
        if size < 8 or size % 4 or at + size > len(view):
            raise BadArchive(Reason.TRUNCATED, "the picture ends within its records")
        source.account.structure(at, 8)
        if kind == 70 and size > 12:
            source.account.structure(at, 12)
            yield from free(source, "comment", at + 12, size - 12)
        elif kind == 1:
            source.account.structure(at, min(size, 108))
            yield from free(source, "description", at + 108, size - 108) if size > 108 else ()
        else:
            source.account.media(at + 8, size - 8)
        at += size
        if kind == 14:
            return


def read_wmf(source: Source) -> Iterator[Entry]:
    """[MS-WMF] 2.3: records in words; escapes are free."""
    view = source.view
    at = 22 if bytes(view[:4]) == b"\xd7\xcd\xc6\x9a" else 0
    source.account.structure(0, at + 18)
    at += 18
    for _ in range(_MOST_RECORDS):
        size, kind = 2 * number(view, at, 4), number(view, at + 4, 2)
        if size < 6 or at + size > len(view):
            raise BadArchive(Reason.TRUNCATED, "the picture ends within its records")
        source.account.structure(at, 6)
        if kind == 0x0626 and size > 10:
            source.account.structure(at, 10)
            yield from free(source, "escape", at + 10, size - 10)
        else:
            source.account.media(at + 6, size - 6)
        at += size
        if kind == 0:
            return


_PROFILE_KNOWN = frozenset((
    b"mft1", b"mft2", b"mAB ", b"mBA ", b"curv", b"para", b"XYZ ", b"sf32", b"meas", b"view", b"sig ",
    b"chrm",
    b"dtim", b"ncl2", b"ui08", b"ui16", b"ui32", b"clrt", b"pseq", b"vcgt", b"mmod", b"gbd ", b"mpet",
    b"bfd ",
))  # fmt: skip


def read_profile(source: Source) -> Iterator[Entry]:
    """A colour profile (ICC.1, 7.2 and 7.3): curves and tables are media, texts free."""
    view, count = source.view, int.from_bytes(source.view[128:132])
    count = min(count, 1_000)
    source.account.structure(0, 132 + 12 * count)
    for place in range(count):
        at, size = (int.from_bytes(view[n : n + 4]) for n in (136 + 12 * place, 140 + 12 * place))
        kind = bytes(view[at : at + 4])
        count = int.from_bytes(view[at + 8 : at + 12])
        if kind == b"curv" and not 0 <= size - 12 - 2 * count <= 3:
            source.account.structure(at, 12)
        elif kind in _PROFILE_KNOWN:
            source.account.media(at, size)
        elif kind in (b"desc", b"mluc", b"text") and size <= 1_024:
            source.account.structure(at, size)
        elif size and at < len(view):
            yield from free(source, kind.decode("latin-1").strip() or "tag", at, size)


FORMATS = (
    Format("bmp", read_bmp), Format("ico", read_icon), Format("tiff", read_tiff), Format("psd", read_psd),
    Format("emf", read_emf), Format("wmf", read_wmf), Format("icc", read_profile),
)  # fmt: skip
