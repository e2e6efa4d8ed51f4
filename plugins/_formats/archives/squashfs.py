"""SquashFS 4.0: its files, with zlib, LZMA, xz, lz4 and zstd (kernel documentation, *SquashFS 4.0*)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from stoq_core.account import Account
from stoq_core.errors import Reason
from stoq_core.limits import MiB

from .by_tool import read_by_7z
from .declare import Format, Mark, Source, number
from .entry import BadArchive, Chunks, Entry, Member, name_of, timestamp
from .extents import zeros
from .folders import Folder, walk
from .singles import inflated
from .stream import decompressed

_COMPRESSORS = {1: "zlib", 2: "lzma", 4: "xz", 5: "lz4", 6: "zstd"}
_META_BYTES = 8192
_MAX_META_BYTES = 128 * MiB
_MAX_READ_BYTES = 512 * MiB
"""Of metadata altogether: many entries may name the same large inode or folder."""
_MAX_FOLDERS = 50_000
_SUPERBLOCK_BYTES = 96
_HAS_OPTIONS = 0x400
_NO_FRAGMENT = 0xFFFFFFFF
_RAW_BLOCK = 1 << 24
_KINDS = {1: "directory", 2: "file", 3: "symlink", 4: "device", 5: "device", 6: "fifo", 7: "socket"}


class _Inode(NamedTuple):
    """What is known of a file or a folder; `blocks` are a file's compressed sizes."""

    kind: str
    mode: int
    mtime: int
    size: int
    start: int
    offset: int = 0
    fragment: int = _NO_FRAGMENT
    blocks: tuple[int, ...] = ()


def squashfs_method(view: memoryview) -> str | None:
    """The compression's name, or None where it or the version is not read here."""
    if len(view) < 96 or bytes(view[:4]) != b"hsqs":
        return None
    method, _, _, _, major = struct.unpack_from("<5H", view, 20)
    return _COMPRESSORS.get(method) if major == 4 else None


def read_squashfs(source: Source, method: str) -> Iterator[Entry]:
    """Every file, folder, link and device below the root."""
    view = source.view
    if len(view) < _SUPERBLOCK_BYTES:
        raise BadArchive(Reason.TRUNCATED, "the image ends within the superblock")
    image = _Squashfs(view, method, source.account)
    (root,) = struct.unpack_from("<Q", view, 32)

    def content(folder: Folder[int]) -> Iterator[Entry | Folder[int]]:
        for name, child in image.folder(image.inode(folder.key)):
            inode = image.inode(child)
            yield image.entry(folder.path + name, inode)
            if inode.kind == "directory":
                yield Folder(f"{folder.path}{name}/", child)

    yield from walk(root, content, _MAX_FOLDERS)
    yield from image.tables()


class _Squashfs:
    """The image's tables; every metadata block is decompressed once, up to 128 MiB altogether."""

    def __init__(self, view: memoryview, method: str, account: Account) -> None:
        self._view, self._method = view, method
        (self._block,) = struct.unpack_from("<I", view, 12)
        (self._fragments,) = struct.unpack_from("<I", view, 16)
        self._account = account
        account.structure(0, _SUPERBLOCK_BYTES)
        self._inodes, self._folders, self._fragment_table = struct.unpack_from("<QQQ", view, 64)
        self._meta: dict[int, tuple[bytes, int]] = {}
        self._meta_left = _MAX_META_BYTES
        self._read_left = _MAX_READ_BYTES
        self._recent: dict[int, bytes] = {}
        if not 4096 <= self._block <= MiB:
            raise BadArchive(Reason.CORRUPT, f"blocks of {self._block} bytes do not exist")

    def _decode(self, data: memoryview, most: int) -> bytes:
        """One block, at most `most` bytes."""
        if self._method == "lz4":
            import lz4.block

            try:
                plain: bytes = lz4.block.decompress(data, uncompressed_size=most)
            except lz4.block.LZ4BlockError as error:
                raise BadArchive(Reason.CORRUPT, f"a block is damaged: {error}") from None
            return plain
        chunks = inflated(data) if self._method == "zlib" else decompressed(data, self._method)
        out = bytearray()
        for chunk in chunks:
            out += chunk
            if len(out) > most:
                raise BadArchive(Reason.CORRUPT, f"a block is larger than {most} bytes")
        return bytes(out)

    def _meta_block(self, at: int) -> tuple[bytes, int]:
        """The metadata block at a place of the image, and where the next one begins."""
        if at not in self._meta:
            raw = bytes(self._view[at : at + 2])
            word = int.from_bytes(raw, "little")
            data = self._view[at + 2 : at + 2 + (word & 0x7FFF)]
            if len(raw) < 2 or len(data) < word & 0x7FFF or not len(data):
                raise BadArchive(Reason.TRUNCATED, f"there is no metadata block at offset {at}")
            plain = bytes(data) if word & 0x8000 else self._decode(data, _META_BYTES)
            self._meta_left -= len(plain)
            if self._meta_left < 0:
                raise BadArchive(Reason.TOO_MANY_BYTES, "the image has more metadata than is read")
            self._meta[at] = plain, at + 2 + len(data)
            self._account.structure(at, 2 + len(data))
        return self._meta[at]

    def _meta_bytes(self, at: int, offset: int, size: int) -> bytes:
        """Metadata from `offset` in the block at `at` on, across blocks."""
        self._read_left -= size
        if self._read_left < 0:
            raise BadArchive(Reason.TOO_MANY_BYTES, "the image has more metadata than is read")
        out = bytearray()
        while len(out) < size:
            plain, at = self._meta_block(at)
            part = plain[offset : offset + size - len(out)]
            if not part:
                raise BadArchive(Reason.CORRUPT, "metadata end before they should")
            out += part
            offset = 0
        return bytes(out)

    def inode(self, reference: int) -> _Inode:
        """The inode of a reference: its block's place in the table, and the offset in the block."""
        at, offset = self._inodes + (reference >> 16), reference & 0xFFFF
        kind, mode, _, _, mtime, _ = struct.unpack("<4HII", self._meta_bytes(at, offset, 16))
        name = _KINDS.get(kind if kind < 8 else kind - 7)
        if name is None:
            raise BadArchive(Reason.CORRUPT, f"an inode of kind {kind} does not exist")
        if name == "directory":
            form, size = ("<IIHHI", 16) if kind == 1 else ("<IIIIHHI", 24)
            fields = struct.unpack(form, self._meta_bytes(at, offset, 16 + size)[16:])
            start, length, skip = (fields[0], fields[2], fields[3]) if kind == 1 else (
                fields[2], fields[1], fields[5])  # fmt: skip
            return _Inode(name, mode, mtime, length, start, skip)
        if name != "file":
            return _Inode(name, mode, mtime, 0, 0)
        form, head = ("<IIII", 16) if kind == 2 else ("<QQQIIII", 40)
        fields = struct.unpack(form, self._meta_bytes(at, offset, 16 + head)[16:])
        start, size, fragment, skip = (fields[0], fields[3], fields[1], fields[2]) if kind == 2 else (
            fields[0], fields[1], fields[4], fields[5])  # fmt: skip
        whole = size // self._block if fragment != _NO_FRAGMENT else -(-size // self._block)
        if whole * 4 > _MAX_META_BYTES:
            raise BadArchive(Reason.CORRUPT, f"a file claims {size} bytes")
        listed = self._meta_bytes(at, offset, 16 + head + 4 * whole)[16 + head :]
        return _Inode(name, mode, mtime, size, start, skip, fragment, struct.unpack(f"<{whole}I", listed))

    def folder(self, inode: _Inode) -> Iterator[tuple[str, int]]:
        """Names and inode references; the listed size is three bytes too much."""
        if inode.kind != "directory":
            raise BadArchive(Reason.CORRUPT, "the root is no folder")
        data = self._meta_bytes(self._folders + inode.start, inode.offset, max(0, inode.size - 3))
        at = 0
        while at + 12 <= len(data):
            count, start = struct.unpack_from("<II", data, at)
            at += 12
            for _ in range(min(count, 256) + 1):
                if at + 8 > len(data):
                    raise BadArchive(Reason.CORRUPT, "a folder breaks off")
                offset, _, _, length = struct.unpack_from("<HhHH", data, at)
                name = data[at + 8 : at + 9 + length]
                at += 9 + length
                yield name_of(name), start << 16 | offset

    def entry(self, path: str, inode: _Inode) -> Entry:
        """The member of an inode."""
        member = Member(
            name=path,
            size=inode.size if inode.kind == "file" else 0,
            kind=inode.kind,
            method=self._method if inode.kind == "file" else "",
            modified=timestamp(inode.mtime),
            mode=f"{inode.mode & 0o7777:04o}",
        )
        return Entry(member, (lambda _passwords: self._file(inode)) if inode.kind == "file" else None)

    def tables(self) -> Iterator[Entry]:
        """Claim what the folders do not lead to (superblock, 24 to 96); extended attributes are a member."""
        flags, ids = struct.unpack_from("<HH", self._view, 24)
        id_at, xattr_at = struct.unpack_from("<QQ", self._view, 48)
        (exports_at,) = struct.unpack_from("<Q", self._view, 88)
        (inodes,) = struct.unpack_from("<I", self._view, 4)
        if flags & _HAS_OPTIONS:
            self._meta_block(_SUPERBLOCK_BYTES)
        for at, size in (
            (id_at, 4 * ids),
            (exports_at, 8 * inodes),
            (self._fragment_table, 16 * self._fragments),
        ):
            if at < len(self._view):
                self._table(at, size)
        if xattr_at + 16 <= len(self._view):
            start, count = struct.unpack_from("<QI", self._view, xattr_at)
            self._account.structure(xattr_at, 16)
            first = self._table(xattr_at + 16, 16 * count)
            pairs = b"".join(self._blocks(start, first))
            yield Entry(
                Member(name="xattrs", size=len(pairs), kind="xattrs"), lambda _passwords: iter((pairs,))
            )

    def _table(self, at: int, size: int) -> int:
        """Claim a table's list of blocks and each of them; where the first one is."""
        count = -(-size // _META_BYTES)
        starts = struct.unpack(f"<{count}Q", bytes(self._view[at : at + 8 * count]))
        self._account.structure(at, 8 * count)
        for start in starts:
            self._meta_block(start)
        return min(starts, default=at)

    def _blocks(self, at: int, end: int) -> Iterator[bytes]:
        while at < end:
            plain, at = self._meta_block(at)
            yield plain

    def _file(self, inode: _Inode) -> Chunks:
        at, left, done = inode.start, inode.size, 0
        try:
            for word in inode.blocks:
                size, expected = word & (_RAW_BLOCK - 1), min(self._block, left)
                if size:
                    yield self._data_block(at, word, expected)
                    at += size
                else:
                    yield from zeros(expected)
                left, done = left - expected, done + 1
        finally:  # damaged, or more than is wanted: what is left is not read
            self._account.unread(at, sum(word & (_RAW_BLOCK - 1) for word in inode.blocks[done:]))
        if left:
            tail = self._fragment(inode.fragment)[inode.offset : inode.offset + left]
            yield tail
            if len(tail) < left:
                raise BadArchive(Reason.CORRUPT, "a file's tail is not where it should be")

    def _data_block(self, at: int, word: int, expected: int) -> bytes:
        size = word & (_RAW_BLOCK - 1)
        data = self._view[at : at + size]
        if len(data) < size:
            raise BadArchive(Reason.TRUNCATED, "the image ends within a file")
        plain = bytes(data) if word & _RAW_BLOCK else self._decode(data, self._block)
        if len(plain) != expected:
            raise BadArchive(Reason.CORRUPT, f"a block of {expected} bytes gives {len(plain)}")
        self._account.child(at, size)
        return plain

    def _fragment(self, index: int) -> bytes:
        """A block of many files' tails; the last few stay decompressed."""
        if index not in self._recent:
            if index >= self._fragments:
                raise BadArchive(Reason.CORRUPT, f"there is no fragment {index}")
            raw = bytes(self._view[self._fragment_table + index // 512 * 8 :][:8])
            row = self._meta_bytes(int.from_bytes(raw, "little"), index % 512 * 16, 16)
            start, word = struct.unpack_from("<QI", row)
            size = word & (_RAW_BLOCK - 1)
            data = self._view[start : start + size]
            if len(data) < size:
                raise BadArchive(Reason.TRUNCATED, "the image ends within a fragment")
            self._account.child(start, size)
            while len(self._recent) >= 8:
                del self._recent[next(iter(self._recent))]
            self._recent[index] = bytes(data) if word & _RAW_BLOCK else self._decode(data, self._block)
        return self._recent[index]


def _read(source: Source) -> Iterator[Entry]:
    """In process but for old versions and LZO, which 7-Zip reads."""
    method = squashfs_method(source.view)
    if method is None:
        return read_by_7z(source.job, source.payload, "squashfs", source.passwords)
    return read_squashfs(source, method)


def _begins(view: memoryview, offset: int) -> bool:
    """Version 1 to 4, in the order of bytes that the mark tells."""
    major = bytes(view[offset + 28 : offset + 30])
    if bytes(view[offset : offset + 1]) == b"s":
        major = major[::-1]
    return len(major) == 2 and 1 <= major[0] <= 4 and not major[1]


def _end(view: memoryview, offset: int) -> int | None:
    """`bytes_used` of version 4."""
    if bytes(view[offset : offset + 4]) != b"hsqs" or number(view, offset + 28, 2) != 4:
        return None
    return min(len(view), offset + max(96, number(view, offset + 40, 8)))


FORMATS = (Format("squashfs", _read, (Mark(b"hsqs"), Mark(b"sqsh")), _begins, _end),)
