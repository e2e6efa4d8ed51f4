"""tar in its ustar, GNU, pax and V7 forms (POSIX.1-2017, pax; GNU tar manual, *Basic Tar Format*)."""

from __future__ import annotations

from collections.abc import Iterator

from stoq_core.errors import Reason
from stoq_core.limits import KiB

from .declare import Format, Mark
from .entry import BadArchive, Entry, Member, name_of, sliced, timestamp, trailing

_BLOCK = 512
_MAX_EXTENSION_BYTES = 256 * KiB
_KINDS = {
    b"0": "file", b"\0": "file", b"7": "file", b"1": "hardlink", b"2": "symlink", b"3": "device",
    b"4": "device", b"5": "directory", b"6": "fifo", b"S": "file",
}  # fmt: skip


def read_tar(view: memoryview) -> Iterator[Entry]:
    """Every member; raises `BadArchive` where the structure ends too early or does not hold."""
    at, extension = 0, dict[str, bytes]()
    while at + _BLOCK <= len(view):
        block = bytes(view[at : at + _BLOCK])
        if not block.strip(b"\0"):
            yield from trailing(view, at)
            return
        if not _checksum_holds(block):
            raise BadArchive(Reason.CORRUPT, f"the header at offset {at} has a wrong checksum")
        size = _number(block[124:136])
        if "size" in extension:
            size = _decimal(extension["size"], size)
        start, kind = at + _BLOCK, block[156:157]
        if size < 0:
            raise BadArchive(Reason.CORRUPT, f"the header at offset {at} has a negative size")
        data = view[start : start + size]
        at = start + -(-size // _BLOCK) * _BLOCK
        if kind in b"LKxgX" and kind != b"":
            if len(data) < size:
                raise BadArchive(Reason.TRUNCATED, "the archive ends within an extended header")
            _extend(extension, kind, bytes(data[:_MAX_EXTENSION_BYTES]))
            continue
        yield _entry(block, kind, size, data, extension, start)
        extension = {}
        if len(data) < size:
            raise BadArchive(Reason.TRUNCATED, "the archive ends within a member")
    if at < len(view):
        raise BadArchive(Reason.TRUNCATED, "the archive ends within a header")


def _entry(
    block: bytes, kind: bytes, size: int, data: memoryview, extension: dict[str, bytes], offset: int
) -> Entry:
    raw = extension.get("path") or _ustar_name(block)
    what = _KINDS.get(kind, "file")
    member = Member(
        name=name_of(raw),
        size=size,
        kind="directory" if what == "file" and raw.endswith(b"/") else what,
        method="stored",
        modified=timestamp(_number(block[136:148])),
        mode=f"{_number(block[100:108]) & 0o7777:04o}",
    )
    if member.kind != "file":
        return Entry(member)
    return Entry(member, lambda _passwords: sliced(data), offset)


def _ustar_name(block: bytes) -> bytes:
    name = block[:100].partition(b"\0")[0]
    prefix = block[345:500].partition(b"\0")[0] if block[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _extend(extension: dict[str, bytes], kind: bytes, data: bytes) -> None:
    if kind == b"L":
        extension["path"] = data.partition(b"\0")[0]
    elif kind == b"x":
        extension.update({key: value for key, value in _pax(data) if key in ("path", "size")})


def _pax(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Records of the form LENGTH KEY=VALUE, each ended by a line feed."""
    at = 0
    while at < len(data):
        digits = data[at : at + 20].partition(b" ")[0]
        length = _decimal(digits, 0)
        if length <= len(digits) + 1 or at + length > len(data):
            return
        key, equals, value = data[at + len(digits) + 1 : at + length - 1].partition(b"=")
        if equals:
            yield key.decode("utf-8", "replace"), value
        at += length


def _checksum_holds(block: bytes) -> bool:
    return _number(block[148:156]) == sum(block[:148]) + 256 + sum(block[156:])


def _number(field: bytes) -> int:
    """Octal text, or base 256 where the first bit is set."""
    if field[:1] and field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (len(field) * 8 - 1)) - 1)
        return -1 if field[0] == 0xFF else value
    digits = field.partition(b"\0")[0].strip()
    try:
        return int(digits or b"0", 8)
    except ValueError:
        return -1


def _decimal(digits: bytes, otherwise: int) -> int:
    return int(digits) if digits.isdigit() and len(digits) < 20 else otherwise


def _begins(view: memoryview, offset: int) -> bool:
    """A header whose checksum holds."""
    block = bytes(view[offset : offset + _BLOCK])
    return len(block) == _BLOCK and bool(block[0]) and _checksum_holds(block)


FORMATS = (Format("tar", lambda source: read_tar(source.view), (Mark(b"ustar", 257),), _begins),)
