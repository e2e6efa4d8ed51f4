"""cpio (newc, crc, odc and both binary forms) and ar (GNU and BSD names), as their man pages say."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Sequence

from stoq_core.errors import Reason

from .declare import Format, Mark
from .entry import MAX_NAME_BYTES, BadArchive, Chunks, Entry, Member, name_of, sliced, timestamp, trailing

_KINDS = {
    stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFCHR: "device",
    stat.S_IFBLK: "device", stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket", 0: "file",
}  # fmt: skip


def read_cpio(view: memoryview) -> Iterator[Entry]:
    """Every member up to the trailer."""
    at = 0
    while at < len(view):
        mode, mtime, size, name_size, header, pad = _cpio_header(view, at)
        name_at = at + header
        if not 0 < name_size <= MAX_NAME_BYTES:
            raise BadArchive(Reason.CORRUPT, f"the header at offset {at} has a name of {name_size} bytes")
        raw = bytes(view[name_at : name_at + name_size])
        if len(raw) < name_size:
            raise BadArchive(Reason.TRUNCATED, "the archive ends within a name")
        raw = raw.partition(b"\0")[0]
        if raw == b"TRAILER!!!":  # an initramfs goes on behind it, often compressed
            yield from trailing(view, _up(name_at + name_size, pad))
            return
        start = _up(name_at + name_size, pad)
        data = view[start : start + size]
        member = Member(
            name=name_of(raw),
            size=size,
            kind=_KINDS.get(stat.S_IFMT(mode), "device"),
            method="stored",
            modified=timestamp(mtime),
            mode=f"{stat.S_IMODE(mode):04o}",
        )
        opens = _reading(data) if member.kind == "file" else None
        yield Entry(member, opens, start)
        if len(data) < size:
            raise BadArchive(Reason.TRUNCATED, "the archive ends within a member")
        at = _up(start + size, pad)
    raise BadArchive(Reason.TRUNCATED, "the archive has no trailer")


def _cpio_header(view: memoryview, at: int) -> tuple[int, int, int, int, int, int]:
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


def read_ar(view: memoryview) -> Iterator[Entry]:
    """Every member but the symbol tables."""
    at, long_names = 8, b""
    while at < len(view):
        header = bytes(view[at : at + 60])
        if len(header) < 60:
            raise BadArchive(Reason.TRUNCATED, "the archive ends within a header")
        digits = header[48:58].strip()
        if header[58:] != b"`\n" or not digits.isdigit():
            raise BadArchive(Reason.CORRUPT, f"there is no header at offset {at}")
        size, start, raw = int(digits), at + 60, header[:16].rstrip()
        data = view[start : start + size]
        at = start + size + (size & 1)
        if raw == b"//":
            long_names = bytes(data[: 1024 * 1024])
        elif raw in (b"/", b"/SYM64/", b"__.SYMDEF"):
            pass
        else:
            raw, data = _ar_name(raw, data, long_names)
            member = Member(name=name_of(raw), size=len(data), method="stored", modified=_ar_time(header))
            yield Entry(member, _reading(data), start)
        if start + size > len(view):
            raise BadArchive(Reason.TRUNCATED, "the archive ends within a member")


def _reading(data: memoryview) -> Callable[[Sequence[str]], Chunks]:
    return lambda _passwords: sliced(data)


def _ar_name(raw: bytes, data: memoryview, long_names: bytes) -> tuple[bytes, memoryview]:
    if raw.startswith(b"#1/") and raw[3:].isdigit():  # BSD: the name stands before the data
        length = min(int(raw[3:]), MAX_NAME_BYTES)
        return bytes(data[:length]).rstrip(b"\0"), data[length:]
    if raw[:1] == b"/" and raw[1:].isdigit():  # GNU: the name stands in the // member
        at = int(raw[1:])
        return long_names[at : at + MAX_NAME_BYTES].partition(b"/\n")[0], data
    return raw.removesuffix(b"/"), data


def _ar_time(header: bytes) -> str | None:
    digits = header[16:28].strip()
    return timestamp(int(digits)) if digits.isdigit() else None


def _cpio_begins(view: memoryview, offset: int) -> bool:
    """A header of sane numbers, and a name that ends where it says."""
    try:
        mode, _, _, name_size, header, _ = _cpio_header(view, offset)
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
    Format("cpio", lambda source: read_cpio(source.view), tuple(map(Mark, _CPIO_MARKS)), _cpio_begins),
    Format("ar", lambda source: read_ar(source.view), (Mark(b"!<arch>\n"),), _ar_begins),
    Format("deb", lambda source: read_ar(source.view), (Mark(b"!<arch>\ndebian-binary"),), _deb_begins),
)
