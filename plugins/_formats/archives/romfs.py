"""Small file systems of firmware: romfs (Linux, Documentation/filesystems/romfs.rst) and cramfs."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from stoq_core.errors import Reason
from stoq_core.limits import MiB

from .declare import Format, Mark, Source
from .entry import BadArchive, Chunks, Entry, Member, name_of
from .extents import Image

_MOST_FILES = 200_000
_KINDS = ("hardlink", "directory", "file", "symlink", "device", "device", "socket", "fifo")
_CRAM_LITTLE = b"\x45\x3d\xcd\x28"
_CRAM_PAGE = 4_096
_CRAM_SUPER, _CRAM_INODE = 76, 12
_DIRECTORY = 0o040000
_TYPE_BITS = 0o170000


def read_romfs(source: Source) -> Iterator[Entry]:
    """Every entry with bytes, whatever its kind; each header is walked once."""
    image = Image(source.view, source.account)
    _, at = _romfs_name(image, 16)
    source.account.structure(0, at)
    waiting, seen = [(at, "")], set[int]()
    while waiting:
        at, folder = waiting.pop()
        while at and at not in seen:
            seen.add(at)
            if len(seen) > _MOST_FILES:
                raise BadArchive(Reason.TOO_MANY_PAYLOADS, f"only {_MOST_FILES} entries are listed")
            following, info, size, _ = struct.unpack(">IIII", image.at(at, 16))
            name, data_at = _romfs_name(image, at + 16)
            source.account.structure(at, data_at - at)
            kind = _KINDS[following & 7]
            if kind == "directory":
                waiting.append((info & ~15, f"{folder}{name}/"))
            elif name not in (".", ".."):
                yield _romfs_entry(source, image, Member(name=folder + name, size=size, kind=kind), data_at)
            at = following & ~15


def _romfs_entry(source: Source, image: Image, member: Member, at: int) -> Entry:
    member.method = "stored"
    data = source.view[at : at + member.size]
    if not member.size:
        return Entry(member)
    source.account.child(at, len(data))
    return image.entry(member, [(at, member.size)])


def _romfs_name(image: Image, at: int) -> tuple[str, int]:
    """A name and where what follows it begins: at a multiple of sixteen."""
    raw = bytearray()
    while b"\0" not in raw:
        if len(raw) > 4096:
            raise BadArchive(Reason.CORRUPT, "a name does not end")
        raw += image.at(at + len(raw), 16)
    return name_of(bytes(raw).partition(b"\0")[0]), at + len(raw)


def read_cramfs(source: Source) -> Iterator[Entry]:
    """Every file (Linux, fs/cramfs/README and uapi/linux/cramfs_fs.h), pages inflated one by one."""
    image = Image(source.view, source.account)
    little = image.at(0, 4) == _CRAM_LITTLE
    flags = int.from_bytes(image.at(8, 4), "little" if little else "big")
    if flags & 0x0800:
        raise BadArchive(Reason.UNSUPPORTED_METHOD, "cramfs with pointers of the extended kind")
    source.account.structure(0, _CRAM_SUPER)
    root = _Inode(image.at(64, _CRAM_INODE), little=little)
    waiting, seen = [(root, "")], set[tuple[int, int]]()
    while waiting:
        folder, path = waiting.pop()
        key = (folder.offset, folder.size)
        if key in seen:
            continue
        seen.add(key)
        table = image.folder(folder.offset, folder.size) if folder.size else b""
        source.account.structure(folder.offset, len(table))
        for name, inode in _cram_names(table, little=little):
            if inode.mode & _TYPE_BITS == _DIRECTORY:
                waiting.append((inode, f"{path}{name}/"))
            else:
                yield _cram_entry(source, inode, path + name, little=little)


class _Inode:
    """Mode, size, offset in bytes and the length of the name behind it; fields are bits of three words."""

    def __init__(self, raw: bytes, *, little: bool) -> None:
        if little:
            first, second, third = struct.unpack("<III", raw)
            self.mode, self.size = first & 0xFFFF, second & 0xFFFFFF
            self.name_bytes, self.offset = (third & 63) * 4, (third >> 6) * 4
        else:
            first, second, third = struct.unpack(">III", raw)
            self.mode, self.size = first >> 16, second >> 8
            self.name_bytes, self.offset = (third >> 26) * 4, (third & 0x3FFFFFF) * 4


def _cram_names(table: bytes, *, little: bool) -> Iterator[tuple[str, _Inode]]:
    at = 0
    while at + _CRAM_INODE <= len(table):
        inode = _Inode(table[at : at + _CRAM_INODE], little=little)
        at += _CRAM_INODE
        yield name_of(table[at : at + inode.name_bytes].rstrip(b"\0")), inode
        at += inode.name_bytes


def _cram_entry(source: Source, inode: _Inode, name: str, *, little: bool) -> Entry:
    kind = {0o100000: "file", 0o120000: "symlink"}.get(inode.mode & _TYPE_BITS, "device")
    member = Member(name=name, size=inode.size, kind=kind, method="zlib", mode=oct(inode.mode))
    if not inode.size or not inode.offset:
        return Entry(member)
    pages = -(-inode.size // _CRAM_PAGE)
    order = "little" if little else "big"
    table = bytes(source.view[inode.offset : inode.offset + 4 * pages])
    ends = [int.from_bytes(table[n : n + 4], order) for n in range(0, len(table) & ~3, 4)]  # type: ignore[arg-type]
    start = inode.offset + 4 * pages
    if ends and ends[-1] > start:
        source.account.child(inode.offset, min(ends[-1], len(source.view)) - inode.offset)
    return Entry(member, lambda _passwords: _cram_pages(source.view, start, ends, inode.size), inode.offset)


def _cram_pages(view: memoryview, start: int, ends: list[int], size: int) -> Chunks:
    left = size
    for entry in ends:
        end = entry & 0x3FFFFFFF
        want = min(_CRAM_PAGE, left)
        if end <= start:
            yield bytes(want)
        else:
            try:
                yield zlib.decompressobj().decompress(view[start : min(end, start + 4 * _CRAM_PAGE)], want)
            except zlib.error as error:
                raise BadArchive(Reason.CORRUPT, f"a page is damaged: {error}") from None
            start = end
        left -= want
    if left > 0:
        raise BadArchive(Reason.TRUNCATED, f"{size - left} of {size} bytes are there")


def _is_romfs(view: memoryview, start: int) -> bool:
    size = int.from_bytes(view[start + 8 : start + 12])
    return 32 <= size <= len(view) - start + MiB


FORMATS = (
    Format("romfs", read_romfs, (Mark(b"-rom1fs-"),), _is_romfs),
    Format("cramfs", read_cramfs, (Mark(b"Compressed ROMFS", 16),)),
)
