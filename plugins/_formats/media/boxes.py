"""MP4, MOV, HEIF, JPEG 2000 and JPEG XL: boxes within boxes (ISO 14496-12); samples are media.

What the tables of samples do not name within `mdat`, and boxes that nobody knows, are left to the account.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from plugins._formats.archives.declare import Format, Source
from plugins._formats.archives.entry import BadArchive, Entry
from plugins._text.density import is_dense
from stoq_core.errors import Reason

from .parts import free, inflated, part

_FOLDERS = frozenset((
    b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"edts", b"mvex", b"moof", b"traf", b"mfra",
    b"udta",
    b"ilst", b"sinf", b"schi", b"tref", b"gmhd", b"iprp", b"ipco", b"tapt", b"cmov", b"jp2h", b"res ",
    b"clip",
))  # fmt: skip
_SETTINGS = frozenset((
    b"ftyp", b"styp", b"mvhd", b"tkhd", b"mdhd", b"hdlr", b"vmhd", b"smhd", b"nmhd", b"hmhd", b"dref",
    b"elst",
    b"stts", b"stsc", b"stsz", b"stz2", b"stco", b"co64", b"ctts", b"stss", b"sdtp", b"sbgp", b"sgpd",
    b"cslg",
    b"subs", b"mehd", b"trex", b"mfhd", b"tfhd", b"tfdt", b"trun", b"tfra", b"mfro", b"sidx", b"pdin",
    b"iloc",
    b"iinf", b"infe", b"iref", b"ipma", b"pitm", b"ispe", b"pixi", b"hvcC", b"av1C", b"irot", b"imir",
    b"clap",
    b"pasp", b"auxC", b"jP  ", b"ihdr", b"colr", b"bpcc", b"cdef", b"pclr", b"cmap", b"resc", b"resd",
    b"jxll",
    b"jxli", b"dcom", b"load", b"gmin", b"stps", b"saiz", b"saio", b"tenc", b"frma", b"schm", b"url ",
    b"chap",
    b"tmcd", b"clef", b"prof", b"enof", b"mean", b"JXL ", b"nclx", b"gama", b"wide", b"stsd", b"imda",
))  # fmt: skip
_MOST_SETTINGS_BYTES = 1 << 20
_FREE_SETTINGS_BYTES = 4096
_SAMPLES = frozenset((b"jp2c", b"jxlc", b"jxlp"))
_AT_TOP = frozenset((
    b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid", b"meta", b"moof",
        b"mfra",
    b"sidx", b"pdin", b"udta", b"imda", b"jP  ", b"jp2h", b"jp2c", b"jxlc", b"jxlp", b"JXL ", b"Exif",
        b"xml ",
))  # fmt: skip
_UNSAID = _SETTINGS | _SAMPLES | {b"mdat", b"idat", b"imda", b"free", b"skip"}
_FULL = frozenset((b"meta", b"iinf"))
_MOST_BOXES = 200_000
_MOST_DEPTH = 16
_MOST_ENTRIES = 4_000_000
_TABLES = frozenset(
    (b"stco", b"co64", b"stsz", b"stsc", b"stts", b"ctts", b"stss", b"trun", b"sdtp", b"iloc")
)


def read_boxes(source: Source) -> Iterator[Entry]:
    """All boxes; then the samples that the tables name."""
    work = _Boxes(source)
    yield from work.walk(0, len(source.view), 0)
    work.claim_samples()


class _Boxes:
    """One file: boxes counted, tables of samples kept until all are there."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.view = source.view
        self._left = _MOST_BOXES
        self._mdat: list[tuple[int, int]] = []
        self._tables: dict[bytes, tuple[int, int]] = {}
        self._tracks: list[dict[bytes, tuple[int, int]]] = []
        self._iloc: list[tuple[int, int]] = []
        self._fragmented = False

    def walk(self, at: int, end: int, depth: int) -> Iterator[Entry]:
        """Boxes one behind the other; what is none is left."""
        while at + 8 <= end and self._left > 0:
            self._left -= 1
            size, kind = struct.unpack_from(">I4s", self.view, at)
            head = 8
            if size == 1 and at + 16 <= end:
                (size,) = struct.unpack_from(">Q", self.view, at + 8)
                head = 16
            elif size == 0:
                size = end - at
            if size < head or not _is_name(kind):
                return
            if at + size > end:
                if not depth and kind not in _AT_TOP:
                    return
                self._claim(kind, at, head, end - at)
                raise BadArchive(Reason.TRUNCATED, f"the file ends within the box {kind!r}")
            yield from self._box(kind, at, head, size, depth)
            at += size

    def _box(self, kind: bytes, at: int, head: int, size: int, depth: int) -> Iterator[Entry]:
        account, body, length = self.source.account, at + head, size - head
        account.structure(at, head)
        if kind == b"trak":
            self._tables = {}
            self._tracks.append(self._tables)
        if (kind in _FOLDERS or kind in _FULL) and depth < _MOST_DEPTH:
            skip = _version_bytes(self.view, body) if kind in _FULL else 0
            skip += {b"iinf": 2}.get(kind, 0)
            account.structure(body, skip)
            yield from self.walk(body + skip, at + size, depth + 1)
        elif kind == b"data" and length > 8:
            account.structure(body, 8)
            yield from free(self.source, "data", body + 8, length - 8)
        elif kind == b"cmvd" and length > 4:
            account.structure(body, 4)
            yield from inflated(self.source, "moov", body + 4, length - 4)
        elif kind == b"uuid":
            account.structure(body, 16)
            yield from free(self.source, "uuid", body + 16, length - 16)
        elif kind[:1] == b"\xa9" or _is_list_item(kind):
            yield from self._item(kind, body, at + size, depth)
        else:
            yield from self._leaf(kind, at, head, size)

    def _item(self, kind: bytes, at: int, end: int, depth: int) -> Iterator[Entry]:
        """A tag: boxes of its own, or QuickTime's short text."""
        if bytes(self.view[at + 4 : at + 8]) in (b"data", b"mean", b"name"):
            yield from self.walk(at, end, depth + 1)
        else:
            yield from free(self.source, kind.decode("latin-1"), at, end - at)

    def _leaf(self, kind: bytes, at: int, head: int, size: int) -> Iterator[Entry]:
        body, length = at + head, size - head
        self._claim(kind, at, head, size)
        if kind in (b"Exif", b"xml ", b"bxml", b"covr", b"exif"):
            skip = 4 if kind in (b"Exif", b"xml ", b"bxml") else 0
            if length > skip:
                self.source.account.structure(body, skip)
                yield part(self.source, kind.decode().strip().lower(), body + skip, length - skip)
        elif kind not in _UNSAID and length:
            yield from free(self.source, kind.decode("latin-1"), body, length)

    def _claim(self, kind: bytes, at: int, head: int, size: int) -> None:
        account, body, length = self.source.account, at + head, size - head
        account.structure(at, head)
        if kind in _SAMPLES:
            account.media(body, length)
        elif kind in (b"mdat", b"idat", b"imda"):
            self._mdat.append((body, length))
        elif kind in _TABLES and length <= 64 * _MOST_SETTINGS_BYTES:
            if not is_dense(self.view[body : body + length]):
                account.structure(body, length)
            self._tables[kind] = (body, length)
            self._fragmented |= kind == b"trun"
            if kind == b"iloc":
                self._iloc.append((body, length))
        elif (
            kind in _SETTINGS
            and length <= _FREE_SETTINGS_BYTES
            and not is_dense(self.view[body : body + length])
        ):
            account.structure(body, length)

    def claim_samples(self) -> None:
        """Chunks of samples and items of pictures where the tables say; fragments run in order."""
        for at, size in self._mdat if self._fragmented else ():
            self.source.account.media(at, size)
        for tables in self._tracks:
            for at, size in self._chunks(tables):
                self.source.account.media(at, size)
        for at, size in self._iloc:
            for start, length in _items(self.view[at : at + size], self._mdat):
                self.source.account.media(start, length)

    def _chunks(self, tables: dict[bytes, tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Offset and bytes of each chunk of a track (8.7)."""
        wide = b"co64" in tables
        if not {b"stsz", b"stsc"} <= tables.keys() or not (wide or b"stco" in tables):
            return
        offsets = self._numbers(tables[b"co64" if wide else b"stco"], ">Q" if wide else ">I", 8)
        at, length = tables[b"stsz"]
        (same,) = struct.unpack_from(">I", self.view, at + 4) if length >= 12 else (0,)
        sizes = [] if same else self._numbers(tables[b"stsz"], ">I", 12)
        runs = self._numbers(tables[b"stsc"], ">III", 8)
        sample = run = 0
        for place, offset in enumerate(offsets):
            while 3 * (run + 1) < len(runs) and runs[3 * (run + 1)] <= place + 1:
                run += 1
            count = runs[3 * run + 1] if runs else 0
            yield offset, same * count if same else sum(sizes[sample : sample + count])
            sample += count

    def _numbers(self, table: tuple[int, int], layout: str, skip: int) -> list[int]:
        at, length = table
        raw = bytes(self.view[at + skip : at + length])[: 4 * _MOST_ENTRIES]
        step = struct.calcsize(layout)
        return [n for row in struct.iter_unpack(layout, raw[: len(raw) // step * step]) for n in row]


def _is_name(kind: bytes) -> bool:
    return all(32 <= byte < 127 or byte == 0xA9 for byte in kind)


def _is_list_item(kind: bytes) -> bool:
    return kind in (
        b"covr",
        b"trkn",
        b"disk",
        b"cpil",
        b"gnre",
        b"tmpo",
        b"----",
        b"aART",
        b"desc",
        b"rtng",
        b"stik",
    )


def _version_bytes(view: memoryview, at: int) -> int:
    """QuickTime's `meta` has no version: the first of its boxes stands at once."""
    return 0 if bytes(view[at + 4 : at + 8]) in (b"hdlr", b"mhdr", b"keys") else 4


def _items(table: memoryview, data: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Extents of the items of a HEIF picture (8.11.3), construction methods 0 (file) and 1 (`idat`)."""
    if len(table) < 8:
        return
    version, sizes = table[0], int.from_bytes(table[4:6])
    offset_bytes, length_bytes = sizes >> 12, sizes >> 8 & 15
    base_bytes, index_bytes = sizes >> 4 & 15, (sizes & 15 if version else 0)
    wide = 4 if version == 2 else 2
    at, end = 6 + wide, len(table)
    count = int.from_bytes(table[6:at])
    for _ in range(min(count, 65_536)):
        at += wide
        method = int.from_bytes(table[at : at + 2]) & 15 if version else 0
        at += (2 if version else 0) + 2
        base = int.from_bytes(table[at : at + base_bytes])
        at += base_bytes
        extents = int.from_bytes(table[at : at + 2])
        at += 2
        for _ in range(extents):
            if at + offset_bytes + length_bytes + index_bytes > end:
                return
            at += index_bytes
            start = base + int.from_bytes(table[at : at + offset_bytes])
            at += offset_bytes
            length = int.from_bytes(table[at : at + length_bytes])
            at += length_bytes
            if method == 0:
                yield start, length
            elif data:
                yield data[0][0] + start, length


FORMATS = tuple(Format(label, read_boxes) for label in ("mp4", "jp2", "jxl"))
