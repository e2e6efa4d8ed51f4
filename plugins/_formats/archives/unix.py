"""cpio (newc, crc, odc and both binary forms) and ar (GNU and BSD names), as their man pages say."""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator

from stoq_core.account import Account
from stoq_core.errors import Reason
from stoq_core.limits import MiB

from .declare import Format, Mark, Source, number
from .entry import (
    MAX_NAME_BYTES,
    BadArchive,
    Entry,
    Member,
    behind_zeros,
    is_field,
    is_text,
    name_of,
    stored,
    timestamp,
)

_KINDS = {
    stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFCHR: "device",
    stat.S_IFBLK: "device", stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket", 0: "file",
}  # fmt: skip
_TRAILER = b"TRAILER!!!"
_AR_HEADER_BYTES = 60


def read_cpio(source: Source) -> Iterator[Entry]:
    """Every member with bytes, whatever its mode says; an archive that follows a trailer is read on."""
    view, account = source.view, source.account
    at, ended = 0, False
    while at < len(view) and not ended:
        mode, mtime, size, name_size, header, pad = cpio_header(view, at)
        name_at = at + header
        if not 0 < name_size <= MAX_NAME_BYTES:
            raise BadArchive(Reason.CORRUPT, f"the header at offset {at} has a name of {name_size} bytes")
        raw = bytes(view[name_at : name_at + name_size])
        if len(raw) < name_size:
            raise BadArchive(Reason.TRUNCATED, "the archive ends within a name")
        account.structure(at, header + (name_size if is_field(raw) else 0))
        raw = raw.partition(b"\0")[0]
        start = _up(name_at + name_size, pad)
        data = view[start : start + size]
        member = Member(
            name=name_of(raw),
            size=size,
            kind=_KINDS.get(stat.S_IFMT(mode), "unknown type"),
            method="stored",
            modified=timestamp(mtime),
            mode=f"{stat.S_IMODE(mode):04o}",
        )
        if raw != _TRAILER or size:
            yield stored(member, data, start) if size or member.kind == "file" else Entry(member)
        if len(data) < size:
            raise BadArchive(Reason.TRUNCATED, "the archive ends within a member")
        at = _up(start + size, pad)
        if raw == _TRAILER:  # an initramfs goes on behind it, plain or compressed
            at = behind_zeros(view, at)
            ended = not _cpio_begins(view, at)
    if not ended:
        raise BadArchive(Reason.TRUNCATED, "the archive has no trailer")


def cpio_header(view: memoryview, at: int) -> tuple[int, int, int, int, int, int]:
    """mode, mtime, size, name size, header bytes, alignment."""
    magic = bytes(view[at : at + 6])
    try:
        if magic in (b"070701", b"070702"):
            fields = [int(bytes(view[at + 6 + 8 * n : at + 14 + 8 * n]), 16) for n in range(13)]
            return fields[1], fields[5], fields[6], fields[11], 110, 4
        if magic == b"070707":
            text = bytes(view[at : at + 76])
            return int(text[18:24], 8), int(text[48:59], 8), int(text[65:76], 8), int(text[59:65], 8), 76, 1
    except ValueError:
        raise BadArchive(Reason.CORRUPT, f"the header at offset {at} holds no numbers") from None
    order = {b"\xc7\x71": "little", b"\x71\xc7": "big"}.get(magic[:2])
    if order is None or at + 26 > len(view):
        reason = Reason.TRUNCATED if len(magic) < 6 or order else Reason.CORRUPT
        raise BadArchive(reason, f"there is no header at offset {at}")
    words = [int.from_bytes(view[at + 2 * n : at + 2 * n + 2], order) for n in range(13)]  # type: ignore[arg-type]
    return words[3], words[8] << 16 | words[9], words[11] << 16 | words[12], words[10], 26, 2


def _up(at: int, multiple: int) -> int:
    return -(-at // multiple) * multiple


def read_ar(source: Source) -> Iterator[Entry]:
    """Every member; tables of names and symbols only if they hold more than those."""
    view, account = source.view, source.account
    account.structure(0, 8)
    tables = _Tables(view, account)
    at = 8
    while at < len(view):
        header = bytes(view[at : at + _AR_HEADER_BYTES])
        if len(header) < _AR_HEADER_BYTES:
            raise BadArchive(Reason.TRUNCATED, "the archive ends within a header")
        digits = header[48:58].strip()
        if header[58:] != b"`\n" or not digits.isdigit():
            raise BadArchive(Reason.CORRUPT, f"there is no header at offset {at}")
        if is_field(header):
            account.structure(at, _AR_HEADER_BYTES)
        tables.members.add(at)
        size, start, raw = int(digits), at + _AR_HEADER_BYTES, header[:16].rstrip()
        data = view[start : start + size]
        at = start + size + (size & 1)
        modified = _ar_time(header)
        if raw in (b"/", b"/SYM64/"):
            tables.symbols.append((raw, start, data))
        elif raw == b"//":
            yield from tables.names(data, start)
        else:
            raw, data = tables.name(raw, data, start)
            member = Member(name=name_of(raw), size=len(data), method="stored", modified=modified)
            yield stored(member, data, start + size - len(data) if len(data) < size else start)
        if start + size > len(view):
            raise BadArchive(Reason.TRUNCATED, "the archive ends within a member")
    yield from tables.odd()


class _Tables:
    """What an ar's own members say about the others: long names, and where symbols are defined."""

    def __init__(self, view: memoryview, account: Account) -> None:
        self._account = account
        self._names = memoryview(b"")
        self.members: set[int] = set()
        self.symbols: list[tuple[bytes, int, memoryview]] = []

    def names(self, data: memoryview, start: int) -> Iterator[Entry]:
        """Text, a name a line, or something else that is a child."""
        self._names = data
        if is_text(bytes(data).replace(b"\0", b""), 64 * MiB):
            self._account.structure(start, len(data))
        else:
            yield stored(Member(name="//", size=len(data), kind="names", method="stored"), data, start)

    def name(self, raw: bytes, data: memoryview, start: int) -> tuple[bytes, memoryview]:
        """A member's name, and its data behind it."""
        if raw.startswith(b"#1/") and raw[3:].isdigit():  # BSD: the name stands before the data
            length = min(int(raw[3:]), len(data))
            long = bytes(data[:length])
            if is_field(long):
                self._account.structure(start, length)
            return long[:MAX_NAME_BYTES].rstrip(b"\0"), data[length:]
        if raw[:1] == b"/" and raw[1:].isdigit():  # GNU: the name stands in the // member
            at = int(raw[1:])
            return bytes(self._names[at : at + MAX_NAME_BYTES]).partition(b"\n")[0].rstrip(b"/"), data
        return raw.removesuffix(b"/"), data

    def odd(self) -> Iterator[Entry]:
        """Tables of symbols, as children where they hold more than members' places and symbols' names."""
        for raw, start, data in self.symbols:
            form = "Q" if raw == b"/SYM64/" else "I"
            if self._are_symbols(data, form) or self._are_sorted_symbols(data):
                self._account.structure(start, len(data))
            else:
                member = Member(name=name_of(raw), size=len(data), kind="symbols", method="stored")
                yield stored(member, data, start)

    def _are_symbols(self, data: memoryview, form: str) -> bool:
        """A count, that many places of members, that many names that end in zeros."""
        width = struct.calcsize(form)
        count = int.from_bytes(data[:width], "big")
        end = (count + 1) * width
        if end > len(data) or not _are_names(data[end:], count):
            return False
        return self.members.issuperset(struct.unpack(f">{count}{form}", data[width:end]))

    def _are_sorted_symbols(self, data: memoryview) -> bool:
        """Microsoft's second table (PE format, *Second Linker Member*): members, each symbol's number."""
        members = number(data, 0, 4)
        symbols = number(data, 4 + 4 * members, 4)
        names = 8 + 4 * members + 2 * symbols
        if not members or names > len(data) or not _are_names(data[names:], symbols):
            return False
        indices = struct.unpack(f"<{symbols}H", data[names - 2 * symbols : names])
        places = struct.unpack(f"<{members}I", data[4 : 4 + 4 * members])
        return self.members.issuperset(places) and max(indices, default=0) <= members


def _are_names(data: memoryview, count: int) -> bool:
    """So many texts that end in zeros."""
    names = bytes(data)
    return names.count(b"\0") >= count and is_text(names.replace(b"\0", b""), 64 * MiB)


def _ar_time(header: bytes) -> str | None:
    digits = header[16:28].strip()
    return timestamp(int(digits)) if digits.isdigit() else None


def _cpio_begins(view: memoryview, offset: int) -> bool:
    """A header of sane numbers, and a name that ends where it says."""
    try:
        mode, _, _, name_size, header, _ = cpio_header(view, offset)
    except BadArchive:
        return False
    name = bytes(view[offset + header : offset + header + name_size])
    return 1 < name_size <= MAX_NAME_BYTES and name.find(b"\0") == name_size - 1 and mode <= 0xFFFF


def _ar_begins(view: memoryview, offset: int) -> bool:
    """The first member's header, or none at all."""
    head = bytes(view[offset + 8 : offset + 68])
    return not head or (head[58:] == b"`\n" and head[48:58].strip().isdigit())


def _deb_begins(view: memoryview, offset: int) -> bool:
    return _ar_begins(view, offset) and bytes(view[offset + 8 : offset + 21]) == b"debian-binary"


_CPIO_MARKS = (b"070701", b"070702", b"070707", b"\xc7\x71", b"\x71\xc7")
FORMATS = (
    Format("cpio", read_cpio, tuple(map(Mark, _CPIO_MARKS)), _cpio_begins),
    Format("ar", read_ar, (Mark(b"!<arch>\n"),), _ar_begins),
    Format("deb", read_ar, (Mark(b"!<arch>\ndebian-binary"),), _deb_begins),
)
