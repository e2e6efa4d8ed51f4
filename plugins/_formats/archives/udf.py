"""UDF (ECMA-167, OSTA UDF 1.02 to 2.60): the files of an image, with sparable and metadata partitions."""

from __future__ import annotations

import calendar
import struct
from collections.abc import Iterator
from typing import NamedTuple

from stoq_core.errors import Reason

from .declare import Format, Mark, Source
from .entry import MAX_NAME_BYTES, BadArchive, Entry, Member, timestamp
from .extents import Extent, Image
from .folders import Folder, walk

_PARTITION, _VOLUME, _TERMINATOR = 5, 6, 8
_FILE_SET, _FILE_ID, _CONTINUATION, _FILE, _EXTENDED_FILE = 256, 257, 258, 261, 266
_FOLDER_TYPE, _KINDS = 4, {6: "device", 7: "device", 9: "fifo", 10: "socket", 12: "symlink"}
_IS_FOLDER, _IS_DELETED, _IS_PARENT = 2, 4, 8
_MAX_FOLDERS = 20_000
_MAX_FOLDER_BYTES = 16 * 1024 * 1024
_MAX_DESCRIPTORS = 100_000
_SECTOR = 2048
_MOST_ATTRIBUTES = 512
_RECOGNITION = (b"BEA01", b"NSR02", b"NSR03", b"TEA01", b"BOOT2")
_BITMAP = 264
_OWN_TAGS = frozenset({*range(1, 10), 263, _BITMAP, 265})
_MOST_MIXED_BYTES = 64
_MAX_SEQUENCE = 256


class _Node(NamedTuple):
    """A file entry: its type, size, times and mode, and where its bytes lie or the bytes themselves."""

    kind: int
    size: int
    modified: str | None
    mode: int
    extents: list[Extent]


class _Place(NamedTuple):
    """A block within one of the volume's partitions."""

    partition: int
    block: int


def find_udf(image: Image) -> bool:
    """True where the volume recognition sequence names UDF (ECMA-167 2/9.1, 3/9.1)."""
    for sector in range(16, 64):
        mark = bytes(image.view[sector * 2048 + 1 : sector * 2048 + 6])
        if mark in (b"NSR02", b"NSR03"):
            return True
        if mark not in (b"BEA01", b"CD001", b"BOOT2", b"CDW02", b"TEA01"):
            return False
    return False


def read_udf(source: Source) -> Iterator[Entry]:
    """Every file of the volume."""
    image = Image(source.view, source.account)
    yield from read_udf_tree(image)


def read_udf_tree(image: Image) -> Iterator[Entry]:
    """Every file that no other tree of the image has named already."""
    volume = _Volume(image)
    root, _ = volume.root()

    def content(folder: Folder[_Place]) -> Iterator[Entry | Folder[_Place]]:
        for name, flags, child in volume.folder(folder.key):
            path = f"{folder.path}{name}"
            if flags & _IS_FOLDER:
                yield Folder(f"{path}/", child)
            else:
                yield from _file(image, volume.node(child), path)

    yield from walk(root, content, _MAX_FOLDERS)
    _claim_descriptors(image)


def _claim_descriptors(image: Image) -> None:
    """What is left of the volume's own: recognition, anchors, copies, maps of free space."""
    for gap in list(image.account.gaps(image.view)):
        for at in range(-(-gap.offset // _SECTOR) * _SECTOR, gap.offset + gap.size, _SECTOR):
            raw = bytes(image.view[at : at + 24])
            if raw[1:6] in _RECOGNITION:
                image.account.structure(at, 7)
            elif len(raw) == 24 and int.from_bytes(raw[:2], "little") in _OWN_TAGS and _tag_holds(raw):
                size = _described(raw, len(image.view))
                if int.from_bytes(raw[:2], "little") != _BITMAP or _is_bitmap(
                    image.view[at + 24 : at + size]
                ):
                    image.account.structure(at, size)


def _is_bitmap(data: memoryview) -> bool:
    """Runs of free and of used blocks: hardly a byte is neither."""
    return len(bytes(data).translate(None, b"\0\xff")) <= _MOST_MIXED_BYTES


def _described(raw: bytes, most: int) -> int:
    """How long a descriptor is: its checksum's range, and a bitmap's bytes (4/14.12)."""
    kind, size = int.from_bytes(raw[:2], "little"), 16 + int.from_bytes(raw[10:12], "little")
    return max(size, 24 + int.from_bytes(raw[20:24], "little")) if kind == _BITMAP else min(size, most)


def _file(image: Image, node: _Node, name: str) -> Iterator[Entry]:
    kind = _KINDS.get(node.kind, "file")
    member = Member(
        name=name,
        size=node.size,
        kind=kind,
        method="stored",
        modified=node.modified,
        mode=f"{node.mode:04o}",
    )
    if kind != "file" and not node.size:
        yield Entry(member)
    elif not image.seen(node.extents):
        yield image.entry(member, node.extents)


class _Volume:
    """One logical volume: its partitions, and how a block in one is found in the image."""

    def __init__(self, image: Image) -> None:
        """Raises `BadArchive` where there is no anchor or no volume."""
        self._image = image
        self._block = self._logical = 2048
        self._starts: dict[int, int] = {}
        self._maps: list[int] = []
        self._metadata: dict[int, list[Extent]] = {}
        self._left = _MAX_DESCRIPTORS
        self._read_sequence(*self._anchor())

    def _anchor(self) -> tuple[int, int]:
        """3/10.2: where the main volume descriptor sequence lies, in blocks of 2,048, 512 or 4,096 bytes."""
        for block in (2048, 512, 4096):
            raw = bytes(self._image.view[256 * block : 256 * block + 32])
            if len(raw) == 32 and raw[:2] == b"\x02\x00" and _tag_holds(raw):
                self._block = block
                size, start = struct.unpack_from("<II", raw, 16)
                self._image.account.structure(256 * block, 512)
                return start, min(_MAX_SEQUENCE, size // block)
        cut = len(self._image.view) < 257 * 2048
        raise BadArchive(
            Reason.TRUNCATED if cut else Reason.CORRUPT, "the image has no anchor descriptor at block 256"
        )

    def _read_sequence(self, start: int, count: int) -> None:
        volume = b""
        for n in range(count):
            raw = self._image.at((start + n) * self._block, min(self._block, 2048))
            self._image.account.structure((start + n) * self._block, _described(raw, len(raw)))
            kind = int.from_bytes(raw[:2], "little")
            if kind == _TERMINATOR:
                break
            if kind == _PARTITION:
                (number,) = struct.unpack_from("<H", raw, 22)
                (self._starts[number],) = struct.unpack_from("<I", raw, 188)
            elif kind == _VOLUME:
                volume = raw
        if not volume:
            raise BadArchive(Reason.CORRUPT, "the image has no logical volume")
        block, contents = struct.unpack_from("<I32x16s", volume, 212)
        if block not in (512, 1024, 2048, 4096):
            raise BadArchive(Reason.CORRUPT, f"a logical block of {block} bytes does not exist")
        self._logical = block
        self._contents = contents
        self._read_maps(volume)

    def _read_maps(self, volume: bytes) -> None:
        size, count = struct.unpack_from("<II", volume, 264)
        at, end = 440, min(440 + size, len(volume))
        for _ in range(min(count, 64)):
            if at + 6 > end or volume[at + 1] < 6:
                break
            raw = volume[at : at + volume[at + 1]]
            at += len(raw)
            if raw[0] == 1:
                self._maps.append(int.from_bytes(raw[4:6], "little"))
            elif len(raw) >= 64 and raw[5:23] == b"*UDF Sparable Part":
                self._maps.append(int.from_bytes(raw[38:40], "little"))
            elif len(raw) >= 64 and raw[5:23] == b"*UDF Metadata Part":
                number, where = struct.unpack_from("<HI", raw, 38)
                inner = next((n for n, one in enumerate(self._maps) if one == number), 0)
                self._maps.append(number)
                self._metadata[len(self._maps) - 1] = self.node(_Place(inner, where)).extents
            else:
                raise BadArchive(Reason.UNSUPPORTED_METHOD, f"a partition of kind {raw[5:28]!r}")

    def root(self) -> tuple[_Place, bytes]:
        """The root folder, as the file set says (4/14.1)."""
        file_set = self._tagged(_long(self._contents), _FILE_SET)
        self._image.account.structure(self._offset(_long(self._contents)), 512)
        return _long(file_set[400:416]), file_set

    def _offset(self, place: _Place) -> int:
        """Bytes from the image's start."""
        if place.partition in self._metadata:
            wanted: int = place.block * self._logical
            for start, size in self._metadata[place.partition]:
                if wanted < size and start is not None:
                    return start + wanted
                wanted -= size
            raise BadArchive(Reason.CORRUPT, "a block lies outside the metadata partition")
        if place.partition >= len(self._maps) or self._maps[place.partition] not in self._starts:
            raise BadArchive(Reason.CORRUPT, f"there is no partition {place.partition}")
        start = self._starts[self._maps[place.partition]] * self._block
        return start + int(place.block * self._logical)

    def _tagged(self, place: _Place, *kinds: int) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise BadArchive(Reason.TOO_MANY_PAYLOADS, "the image has too many entries")
        raw = self._image.at(self._offset(place), self._logical)
        if int.from_bytes(raw[:2], "little") not in kinds or not _tag_holds(raw):
            raise BadArchive(Reason.CORRUPT, f"block {place.block} is not what the volume says it is")
        return raw

    def node(self, place: _Place) -> _Node:
        """A file entry (4/14.9) or an extended one (4/14.17)."""
        raw = self._tagged(place, _FILE, _EXTENDED_FILE)
        begun = self._offset(place)
        extended = raw[:2] == b"\x0a\x01"
        kind = raw[16 + 11]
        (flags,) = struct.unpack_from("<H", raw, 16 + 18)
        (permissions,) = struct.unpack_from("<I", raw, 44)
        (size,) = struct.unpack_from("<Q", raw, 56)
        attributes, allocated = struct.unpack_from("<II", raw, 208 if extended else 168)
        at = (216 if extended else 176) + attributes
        known = attributes <= _MOST_ATTRIBUTES
        self._image.account.structure(begun, at if known else at - attributes)
        if at + allocated > len(raw):
            raise BadArchive(Reason.CORRUPT, "a file entry is longer than its block")
        if flags & 7 == 3:
            start = begun + at
            extents: list[Extent] = [(start, min(size, allocated))] if size else []
        else:
            self._image.account.structure(begun + at, allocated)
            extents = self._extents(raw[at : at + allocated], flags & 7, place.partition, size)
        return _Node(kind, size, _time(raw[92:104] if extended else raw[84:96]), _mode(permissions), extents)

    def _extents(self, raw: bytes, form: int, partition: int, size: int) -> list[Extent]:
        """4/14.14: short or long descriptors; those of type 3 say where more of them are."""
        if form not in (0, 1):
            raise BadArchive(Reason.UNSUPPORTED_METHOD, "extended allocation descriptors")
        extents: list[Extent] = []
        step, at, left = (8 if form == 0 else 16), 0, size
        while at + step <= len(raw) and left > 0:
            (word, block) = struct.unpack_from("<II", raw, at)
            where = partition if form == 0 else int.from_bytes(raw[at + 8 : at + 10], "little")
            length, kind = word & 0x3FFFFFFF, word >> 30
            at += step
            if not length:
                break
            if kind == 3:
                more = self._tagged(_Place(where, block), _CONTINUATION)
                self._image.account.structure(self._offset(_Place(where, block)), len(more))
                raw, at = more[24 : 24 + int.from_bytes(more[20:24], "little")], 0
                continue
            part = min(length, left)
            extents.append((self._offset(_Place(where, block)) if kind == 0 else None, part))
            left -= part
        return extents

    def folder(self, place: _Place) -> Iterator[tuple[str, int, _Place]]:
        """Names, flags and places of a folder's entries (4/14.4)."""
        node = self.node(place)
        if node.kind != _FOLDER_TYPE or node.size > _MAX_FOLDER_BYTES:
            raise BadArchive(Reason.CORRUPT, f"the folder at block {place.block} is none")
        data = b"".join(
            bytes(size) if start is None else self._image.folder(start, size) for start, size in node.extents
        )
        for start, size in node.extents:
            self._image.account.structure(start or 0, size if start is not None else 0)
        at = 0
        while at + 38 <= len(data):
            if data[at : at + 2] != b"\x01\x01":
                raise BadArchive(Reason.CORRUPT, f"the folder at block {place.block} breaks off")
            flags, length = data[at + 18], data[at + 19]
            (use,) = struct.unpack_from("<H", data, at + 36)
            raw = data[at + 38 + use : at + 38 + use + length]
            if not flags & (_IS_DELETED | _IS_PARENT):
                yield _text(raw), flags, _long(data[at + 20 : at + 36])
            at += (38 + use + length + 3) // 4 * 4


def _tag_holds(raw: bytes) -> bool:
    """3/7.2: the fifth byte makes the sum of the other fifteen."""
    return (sum(raw[:16]) - raw[4]) & 0xFF == raw[4]


def _long(raw: bytes) -> _Place:
    block, partition = struct.unpack_from("<IH", raw, 4)
    return _Place(partition, block)


def _text(raw: bytes) -> str:
    """OSTA compressed Unicode: 8 or 16 bits a character."""
    if raw[:1] == b"\x10":
        return raw[1 : MAX_NAME_BYTES + 1].decode("utf-16-be", "backslashreplace")
    return raw[1 : MAX_NAME_BYTES + 1].decode("latin-1")


def _time(raw: bytes) -> str | None:
    """1/7.3: twelve signed bits of minutes east of Greenwich, then year to second."""
    zone, year, month, day, hour, minute, second = struct.unpack_from("<HHBBBBB", raw)
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    east = (zone & 0xFFF) - (4096 if zone & 0x800 else 0)
    minutes = east if east != -2047 else 0
    return timestamp(calendar.timegm((year, month, day, hour, minute, second)) - minutes * 60)


def _mode(permissions: int) -> int:
    """4/14.9.5: five bits each for others, group and owner, of which the low three are x, w and r."""
    return sum((permissions >> shift & 7) << to for shift, to in ((0, 0), (5, 3), (10, 6)))


def _begins(view: memoryview, offset: int) -> bool:
    """The descriptor behind the first names UDF."""
    return bytes(view[offset + 0x8801 : offset + 0x8804]) == b"NSR"


FORMATS = (Format("udf", read_udf, (Mark(b"BEA01", 0x8001),), _begins),)
