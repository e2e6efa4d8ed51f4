"""The records of a zip as they stand, believed in nothing: ends, central and local headers, extra fields.

PKWARE APPNOTE 6.3.10: 4.3.7 local header, 4.3.9 descriptor, 4.3.12 central header, 4.3.14 to 4.3.16 ends,
4.5 extra fields. Offsets are from the payload's start; `shift` is what stands before the archive.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

LOCAL, CENTRAL, DESCRIPTOR = b"PK\x03\x04", b"PK\x01\x02", b"PK\x07\x08"
END, END64, LOCATOR64, SIGNATURE = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x05\x05"
END_WITHIN = 22 + 65_535
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
_WITH_DESCRIPTOR, _UTF8 = 8, 2048
_TEXT, _DATA, _MOST_FIELDS = 512, 32, 16
_MOST_ENDS = 16
_FIELDS_READ = 64  # a header has room for 16,000, and a hostile zip 100,000 headers that share them

_LOCAL = struct.Struct("<4s5HIII2H")
_CENTRAL = struct.Struct("<4s6HIII5HII")
_END = struct.Struct("<4s4HIIH")
_END64 = struct.Struct("<4sQ2HII4Q")

_METHODS = {
    0: "stored", 1: "shrunk", 6: "imploded", 8: "deflate", 9: "deflate64", 12: "bzip2", 14: "lzma",
    93: "zstd", 95: "xz", 96: "jpeg", 97: "wavpack", 98: "ppmd", 99: "aes",
}  # fmt: skip
_SYSTEMS = {0: "fat", 3: "unix", 7: "macintosh", 10: "ntfs", 14: "vfat", 19: "darwin"}
_FIELDS = {
    0x0001: "zip64", 0x000A: "ntfs", 0x000D: "unix", 0x0017: "strong encryption", 0x5455: "unix times",
    0x5855: "unix (old)", 0x6375: "unicode comment", 0x7075: "unicode path", 0x7855: "unix ids (old)",
    0x7875: "unix ids", 0x9901: "aes", 0xA11E: "alignment (apache)", 0xCAFE: "jar",
    0xD935: "alignment (android)",
}  # fmt: skip


class ExtraField(msgspec.Struct, frozen=True):
    """One extra field: `id`, what it usually is, its `size`, and the first 32 bytes in hex."""

    id: str
    name: str
    size: int
    data: str


class LocalRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A local header as it stands; `crc32` in hex, `modified` in DOS's local time, the rest as in 4.4."""

    offset: int
    name: str
    version_needed: int
    flags: int
    method: str
    modified: str
    crc32: str
    packed: int
    size: int
    extra: list[ExtraField]


class CentralRecord(LocalRecord, frozen=True, kw_only=True):
    """A central header: what a local one has, and where it says that one stands."""

    version_made: int
    system: str
    disk: int
    internal_attributes: int
    external_attributes: int
    header_offset: int
    comment: str


class EndRecord(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An end of central directory: what it says of entries, size and offset, and its comment."""

    offset: int
    disk: int
    directory_disk: int
    entries_on_disk: int
    entries: int
    directory_size: int
    directory_offset: int
    comment: str = ""
    zip64: bool = False
    in_use: bool = False


class Span(NamedTuple):
    """Bytes that a record accounts for."""

    start: int
    end: int


class Header(NamedTuple):
    """A header's raw facts; `end` is where what it describes itself ends (behind names and extra fields)."""

    at: int
    end: int
    fields: tuple[int, ...]
    name: bytes
    extra: bytes
    comment: bytes
    packed: int
    size: int
    header: int


def local_at(view: memoryview, at: int) -> Header | None:
    """The local header at `at`, or None. Fields: version, flags, method, time, date, crc."""
    if at < 0 or at + _LOCAL.size > len(view):
        return None
    mark, *fields, crc, packed, size, name, extra = _LOCAL.unpack_from(view, at)
    if mark != LOCAL:
        return None
    begin = at + _LOCAL.size
    end = begin + name + extra
    raw, more = bytes(view[begin : begin + name]), bytes(view[begin + name : end])
    size, packed, _ = _zip64(more, size, packed, 0)
    return Header(at, end, (*fields, crc), raw, more, b"", packed, size, at)


def central_at(view: memoryview, at: int) -> Header | None:
    """The central header at `at`, or None.

    Fields: version made, version, flags, method, time, date, crc, disk, internal and external attributes.
    """
    if at < 0 or at + _CENTRAL.size > len(view):
        return None
    mark, *fields, crc, packed, size, name, extra, comment, disk, internal, external, header = (
        _CENTRAL.unpack_from(view, at)
    )
    if mark != CENTRAL:
        return None
    begin = at + _CENTRAL.size
    end = begin + name + extra + comment
    more = bytes(view[begin + name : begin + name + extra])
    size, packed, header = _zip64(more, size, packed, header)
    return Header(
        at, end, (*fields, crc, disk, internal, external),
        bytes(view[begin : begin + name]), more, bytes(view[begin + name + extra : end]),
        packed, size, header,
    )  # fmt: skip


def _zip64(extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
    """4.5.3: values that are all ones stand in the field instead, in this order."""
    data = next((data for kind, data in extra_fields(extra) if kind == 1), b"")
    values, at = [size, packed, header], 0
    for index, value in enumerate(values):
        if value == _MAX32 and at + 8 <= len(data):
            values[index] = int.from_bytes(data[at : at + 8], "little")
            at += 8
    return values[0], values[1], values[2]


def extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """The first 64 fields' ids and data; a last one that is cut short comes as it is."""
    at = 0
    for _ in range(_FIELDS_READ):
        if at + 4 > len(extra):
            return
        kind, size = struct.unpack_from("<HH", extra, at)
        yield kind, extra[at + 4 : at + 4 + size]
        at += 4 + size


def after_data(view: memoryview, begin: int, packed: int, flags: int) -> int:
    """Where a member ends whose data begin at `begin`: behind its descriptor, which may lack its mark."""
    end = begin + packed
    if flags & _WITH_DESCRIPTOR:
        marked = bytes(view[end : end + 4]) == DESCRIPTOR
        crc_at = end + 4 if marked else end
        sizes = 16 if _zip64_follows(view, crc_at) else 8
        if marked or bytes(view[crc_at + 4 : crc_at + 8]) == (packed & _MAX32).to_bytes(4, "little"):
            end = crc_at + 4 + sizes
    return min(end, len(view))


def _zip64_follows(view: memoryview, crc_at: int) -> bool:
    """With 8-byte sizes the next record's mark stands 20 bytes behind the CRC's start."""
    return bytes(view[crc_at + 20 : crc_at + 22]) == b"PK" and bytes(view[crc_at + 12 : crc_at + 14]) != b"PK"


def ends(view: memoryview) -> list[EndRecord]:
    """All end records near the end, zip64 ones too; `in_use` is the last that leads anywhere."""
    base = max(0, len(view) - END_WITHIN)
    tail = bytes(view[base:])
    found: list[EndRecord] = []
    at = tail.rfind(END)
    while at >= 0 and len(found) < _MOST_ENDS:
        if at + _END.size <= len(tail):
            _, disk, cd_disk, here, all_, size, offset, comment = _END.unpack_from(tail, at)
            text = tail[at + _END.size : at + _END.size + comment]
            found.append(
                EndRecord(
                    offset=base + at, disk=disk, directory_disk=cd_disk, entries_on_disk=here, entries=all_,
                    directory_size=size, directory_offset=offset, comment=text_of(text, 0)[:_TEXT],
                )
            )  # fmt: skip
            found += _end64(view, base + at)
        at = tail.rfind(END, 0, at)
    used = _used(view, found)
    return sorted(
        (msgspec.structs.replace(one, in_use=one in used) for one in found), key=lambda one: one.offset
    )


def _used(view: memoryview, found: list[EndRecord]) -> list[EndRecord]:
    """The last end record that leads to a directory (or is of an empty zip), with its zip64 one."""
    for index, one in enumerate(found):
        if one.zip64:
            continue
        big = found[index + 1] if index + 1 < len(found) and found[index + 1].zip64 else None
        facts, begin = big or one, (big or one).offset
        starts = (facts.directory_offset, begin - facts.directory_size)
        if not facts.entries or any(central_at(view, at) is not None for at in starts):
            return [one, *([big] if big else [])]
    return found[:1]


def end_of(view: memoryview, record: EndRecord) -> int:
    """Where an end record and its comment end."""
    (comment,) = struct.unpack_from("<H", view, record.offset + 20)
    return min(len(view), record.offset + _END.size + int(comment))


def _end64(view: memoryview, end: int) -> list[EndRecord]:
    """4.3.15: the locator stands right before the end record."""
    if end < 20 or bytes(view[end - 20 : end - 16]) != LOCATOR64:
        return []
    (at,) = struct.unpack_from("<Q", view, end - 12)
    if at + _END64.size > len(view) or bytes(view[at : at + 4]) != END64:
        at = end - 20 - _END64.size  # where it is when something stands before the archive
        if at < 0 or bytes(view[at : at + 4]) != END64:
            return []
    _, _, _, _, disk, cd_disk, here, all_, size, offset = _END64.unpack_from(view, at)
    return [
        EndRecord(
            offset=at, disk=disk, directory_disk=cd_disk, entries_on_disk=here, entries=all_,
            directory_size=size, directory_offset=offset, zip64=True,
        )
    ]  # fmt: skip


def text_of(raw: bytes, flags: int) -> str:
    """A name or comment as text: UTF-8 where it is that, else code page 437."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("utf-8" if flags & _UTF8 else "cp437", "replace")


def local_record(header: Header) -> LocalRecord:
    """A local header as the result shows it."""
    return LocalRecord(**_facts(header, header.fields))


def central_record(header: Header) -> CentralRecord:
    """A central header as the result shows it."""
    made, *_, disk, internal, external = header.fields
    return CentralRecord(
        **_facts(header, header.fields[1:7]),
        version_made=made & 0xFF,
        system=_SYSTEMS.get(made >> 8, str(made >> 8)),
        disk=disk,
        internal_attributes=internal,
        external_attributes=external,
        header_offset=header.header,
        comment=text_of(header.comment, header.fields[2])[:_TEXT],
    )


def _facts(header: Header, fields: tuple[int, ...]) -> dict[str, Any]:
    version, flags, method, time, date, crc = fields
    return {
        "offset": header.at,
        "name": text_of(header.name, flags)[:_TEXT],
        "version_needed": version,
        "flags": flags,
        "method": _METHODS.get(method, f"method {method}"),
        "modified": _dos_time(date, time),
        "crc32": f"{crc:08x}",
        "packed": header.packed,
        "size": header.size,
        "extra": _shown_fields(header.extra),
    }


def _shown_fields(extra: bytes) -> list[ExtraField]:
    shown: list[ExtraField] = []
    for kind, data in extra_fields(extra):
        if len(shown) >= _MOST_FIELDS:
            break
        shown.append(ExtraField(f"0x{kind:04x}", _FIELDS.get(kind, ""), len(data), data[:_DATA].hex()))
    return shown


def _dos_time(date: int, time: int) -> str:
    """4.4.6, as it stands: a month 15 or an hour 31 is shown, not mended."""
    return (
        f"{(date >> 9) + 1980}-{date >> 5 & 15:02}-{date & 31:02}T"
        f"{time >> 11:02}:{time >> 5 & 63:02}:{(time & 31) * 2:02}"
    )
