"""LHA archives, `.lzh` and `.lha`: headers of level 0 to 3, methods lh0, lh4 to lh7, lz4 and lhd."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from stoq_core.errors import Reason

from .checks import checked, crc16
from .declare import Format, Mark, Source
from .dostime import dos_time, filetime
from .entry import (
    FREE_BYTES,
    BadArchive,
    Chunks,
    Entry,
    Member,
    counted,
    is_field,
    name_of,
    refuse,
    sliced,
    timestamp,
)
from .lzhuf import lzhuf

_STORED = frozenset({"-lh0-", "-lz4-", "-pm0-"})
# window, distance codes, bits of their count
_CODED = {"-lh4-": (1 << 12, 14, 4), "-lh5-": (1 << 13, 14, 4), "-lh6-": (1 << 15, 16, 5),
          "-lh7-": (1 << 16, 17, 5), "-lhx-": (1 << 20, 21, 5)}  # fmt: skip
_DIRECTORY = "-lhd-"
_S_IFLNK, _S_IFMT = 0o120000, 0o170000
_MAX_HEADER_BYTES = 65_536


class _Header:
    """One member's header, whatever its level."""

    def __init__(self, view: memoryview, at: int) -> None:
        if at + 21 > len(view):
            raise BadArchive(Reason.TRUNCATED, "the archive ends within a header")
        self.name = self.folder = b""
        self.odd: list[tuple[int, int]] = []
        self.mode: int | None = None
        self.modified: str | None = None
        self.method = bytes(view[at + 2 : at + 7]).decode("latin-1")
        self.packed, self.size = struct.unpack_from("<II", view, at + 7)
        self.level = view[at + 20]
        if self.level > 3 or self.method[0] + self.method[4] != "--":
            raise BadArchive(Reason.CORRUPT, f"there is no header at offset {at}")
        try:
            self.start = self._old(view, at) if self.level < 2 else self._new(view, at)
        except struct.error:
            raise BadArchive(Reason.TRUNCATED, "the archive ends within a header") from None

    def _old(self, view: memoryview, at: int) -> int:
        """Level 0 and 1: a checksum, the name inside, a DOS time; level 1 has extensions behind."""
        size = view[at]
        end = at + 2 + size
        if end > len(view):
            raise BadArchive(Reason.TRUNCATED, "the archive ends within a header")
        if sum(view[at + 2 : end]) & 0xFF != view[at + 1]:
            raise BadArchive(Reason.CORRUPT, f"the header at offset {at} has a wrong checksum")
        time, date = struct.unpack_from("<HH", view, at + 15)
        self.modified = dos_time(date, time)
        length = view[at + 21]
        self.name = bytes(view[at + 22 : at + 22 + length])
        if not is_field(self.name):
            self.odd.append((at + 22, length))
        (self.crc,) = struct.unpack_from("<H", view, at + 22 + length)
        begun = at + 24 + length
        if self.level == 0:
            if end - begun > FREE_BYTES:
                self.odd.append((begun, end - begun))
            return end
        (following,) = struct.unpack_from("<H", view, end - 2)
        after = self._extensions(view, end, following, 2)
        self.packed -= after - end
        if self.packed < 0:
            raise BadArchive(Reason.CORRUPT, f"the header at offset {at} is longer than its member")
        return after

    def _new(self, view: memoryview, at: int) -> int:
        """Level 2 and 3: a Unix time, everything else in extensions; its size is given."""
        wide = self.level == 3
        (seconds,) = struct.unpack_from("<I", view, at + 15)
        self.modified = timestamp(seconds)
        (self.crc,) = struct.unpack_from("<H", view, at + 21)
        (total,) = struct.unpack_from("<I" if wide else "<H", view, at + 24 if wide else at)
        (following,) = struct.unpack_from("<I" if wide else "<H", view, at + 28 if wide else at + 24)
        after = self._extensions(view, at + (32 if wide else 26), following, 4 if wide else 2)
        if not after <= at + total <= len(view):
            reason = Reason.TRUNCATED if at + total > len(view) else Reason.CORRUPT
            raise BadArchive(reason, f"the header at offset {at} claims {total} bytes")
        return at + int(total)

    def _extensions(self, view: memoryview, at: int, size: int, width: int) -> int:
        """Each holds its kind, its data and the size of the next; 0 ends them."""
        begun = at
        while size:
            if size <= width or at + size > len(view) or at + size - begun > _MAX_HEADER_BYTES:
                raise BadArchive(Reason.TRUNCATED, "the archive ends within a header")
            data = bytes(view[at + 1 : at + size - width])
            if len(data) > FREE_BYTES and not is_field(data.replace(b"\xff", b"/")):
                self.odd.append((at + 1, len(data)))
            self._extension(view[at], data)
            at += size
            size = int.from_bytes(view[at - width : at], "little")
        return at

    def _extension(self, kind: int, data: bytes) -> None:
        if kind == 0x01:
            self.name = data
        elif kind == 0x02:
            self.folder = data
        elif kind == 0x50 and len(data) >= 2:
            self.mode = int.from_bytes(data[:2], "little")
        elif kind == 0x54 and len(data) >= 4:
            self.modified = timestamp(int.from_bytes(data[:4], "little"))
        elif kind == 0x41 and len(data) >= 24:
            self.modified = filetime(int.from_bytes(data[8:16], "little")) or self.modified

    def known(self, at: int) -> Iterator[tuple[int, int]]:
        """Ranges of the header that begins at `at` without what is longer than a name."""
        reached = at
        for start, size in self.odd:
            yield reached, start - reached
            reached = start + size
        yield reached, self.start - reached

    @property
    def path(self) -> bytes:
        """Folder and name; LHA writes FF for the separator."""
        folder = self.folder
        if folder and folder[-1:] not in (b"\xff", b"/", b"\\"):
            folder += b"\xff"
        return (folder + self.name.partition(b"\0")[0]).replace(b"\xff", b"/").replace(b"\\", b"/")


def read_lzh(source: Source) -> Iterator[Entry]:
    """Every member with bytes up to the byte that ends the archive."""
    view, account = source.view, source.account
    at = 0
    while at < len(view) and view[at]:
        header = _Header(view, at)
        for start, size in header.known(at):
            account.structure(start, size)
        data = view[header.start : header.start + header.packed]
        yield _entry(header, data)
        if len(data) < header.packed:
            raise BadArchive(Reason.TRUNCATED, "the archive ends within a member")
        at = header.start + header.packed
    account.structure(at, 1)


def _entry(header: _Header, data: memoryview) -> Entry:
    member, taken = _member(header), list[int]()
    if member.kind != "file" and not len(data):
        return Entry(member)
    return Entry(member, lambda _passwords: _opened(data, header, taken), header.start, len(data), taken)


def _member(header: _Header) -> Member:
    mode, path = header.mode, header.path
    kind = "file"
    if header.method == _DIRECTORY:
        kind = "directory"
        if mode is not None and mode & _S_IFMT == _S_IFLNK:
            kind, path = "symlink", path.partition(b"|")[0]
    return Member(
        name=name_of(path, "utf-8"),
        size=header.size,
        kind=kind,
        method=header.method.strip("-"),
        modified=header.modified,
        mode=None if mode is None else f"{mode & 0o7777:04o}",
    )


def _opened(data: memoryview, header: _Header, taken: list[int]) -> Chunks:
    if header.method == _DIRECTORY:
        return sliced(data)
    if header.method in _STORED:
        chunks = sliced(data)
    elif header.method in _CODED:
        window, slots, slot_bits = _CODED[header.method]
        decoding = lzhuf(data, header.size, window=window, slots=slots, slot_bits=slot_bits)
        chunks = counted(decoding, taken)
    else:
        return refuse(Reason.UNSUPPORTED_METHOD, f"the method {header.method} is not read")
    return checked(chunks, crc16, header.crc, header.size)


_METHOD = re.compile(rb"-(?:lh[0-9dx]|lz[45s]|pm[0-2s])-")


def _begins(view: memoryview, offset: int) -> bool:
    """A known method, and a header that can be read; that of the old levels has a checksum."""
    if _METHOD.fullmatch(bytes(view[offset + 2 : offset + 7])) is None:
        return False
    try:
        header = _Header(view, offset)
    except (BadArchive, IndexError, struct.error):
        return False
    return header.level < 2 or header.start <= len(view)


FORMATS = (
    Format(
        "lzh",
        read_lzh,
        (Mark(b"-lh", 2), Mark(b"-lz", 2), Mark(b"-pm", 2)),
        _begins,
    ),
)
