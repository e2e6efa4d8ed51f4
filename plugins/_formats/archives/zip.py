"""zip (PKWARE APPNOTE 6.3.10): the central directory, or the local headers where it is damaged."""

from __future__ import annotations

import calendar
import functools
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from stoq_core.errors import Reason

from .declare import Format, Mark, number
from .entry import CHUNK_BYTES, BadArchive, Chunks, Entry, Member, WrongPassword, name_of, sliced, timestamp
from .zip_methods import METHODS, checked, decompressed
from .zipcrypt import aes, traditional

_LOCAL, _CENTRAL, _END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_END64_LOCATOR, _END64 = b"PK\x06\x07", b"PK\x06\x06"
_END_WITHIN = 22 + 65_535 + 4_096
_MAX32, _MAX16 = 0xFFFFFFFF, 0xFFFF
_MIN_GAP = 32  # a data descriptor has at most 24 bytes
_ENCRYPTED, _DESCRIPTOR, _STRONG, _UTF8, _HIDDEN = 1, 8, 64, 2048, 8192


class _Record(NamedTuple):
    """A header's facts, from whichever of the two kinds it is; `start` is where the data begins."""

    flags: int
    method: int
    time: int
    date: int
    crc: int
    packed: int
    size: int
    name: bytes
    extra: bytes
    attributes: int
    system: int
    header: int


class ZipFile(NamedTuple):
    """The records, where the first one and the end stand, and what was wrong with the directory.

    `gaps` are places (start, end) between them that no record and no structure accounts for.
    """

    records: list[_Record]
    first: int
    end: int
    problem: BadArchive | None
    gaps: Sequence[tuple[int, int]] = ()


def open_zip(view: memoryview, most: int) -> ZipFile:
    """Read the directory, at most `most` records; falls back to the local headers."""
    try:
        return _by_directory(view, most)
    except (BadArchive, struct.error, IndexError) as error:
        message = str(error) or "the central directory is damaged"
        records, end = _by_local_headers(view, most)
        if not records:
            raise BadArchive(Reason.CORRUPT, message) from None
        cut = bytes(view[-_END_WITHIN:]).rfind(_END) < 0
        problem = BadArchive(Reason.TRUNCATED if cut else Reason.CORRUPT, message)
        return ZipFile(records, records[0].header, end, problem)


def _by_directory(view: memoryview, most: int) -> ZipFile:
    base = max(0, len(view) - _END_WITHIN)
    at = bytes(view[base:]).rfind(_END)
    if at < 0:
        raise BadArchive(Reason.TRUNCATED, "the archive has no end of central directory")
    end = base + at
    count, size, offset, comment = struct.unpack_from("<HIIH", view, end + 10)
    if count == _MAX16 or _MAX32 in (size, offset):
        count, size, offset = _zip64_end(view, end, (count, size, offset))
    directory = end - size if bytes(view[end - 20 : end - 16]) != _END64_LOCATOR else None
    shift = 0
    start = offset
    if bytes(view[start : start + 4]) != _CENTRAL and directory is not None and count:
        start, shift = directory, directory - offset  # bytes stand before the archive
    records = []
    at = start
    for _ in range(min(count, most)):
        record, at = _central(view, at, shift)
        records.append(record)
    until = min(len(view), end + 22 + comment)
    if not records:  # whatever stands before an empty directory is no part of this archive
        return ZipFile(records, end, until, None)
    first = min(one.header for one in records)
    if count > most:
        message = f"only the first {most} of {count} members are read"
        return ZipFile(records, first, until, BadArchive(Reason.TOO_MANY_PAYLOADS, message))
    return ZipFile(records, first, until, None, _gaps(view, records, start, at, end))


def _gaps(
    view: memoryview, records: Sequence[_Record], start: int, stop: int, end: int
) -> list[tuple[int, int]]:
    """What stands between members, directory (`start` to `stop`) and end record.

    It is hidden from whoever goes by the directory; an APK's signature stands in such a place.
    """
    spans = [(one.header, _data_start(view, one) + one.packed) for one in records]
    spans.append((start, stop))
    locator = end - 20
    if locator >= stop and bytes(view[locator : locator + 4]) == _END64_LOCATOR:
        at = bytes(view[max(stop, locator - 4096) : locator]).rfind(_END64)
        spans.append((max(stop, locator - 4096) + at if at >= 0 else locator, end))
    spans.append((end, end))
    gaps, reached = [], min(one for one, _ in spans)
    for begin, stop_at in sorted(spans):
        if begin - reached >= _MIN_GAP and _any(view[reached:begin]):
            gaps.append((reached, begin))
        reached = max(reached, min(stop_at, end))
    return gaps


def _data_start(view: memoryview, record: _Record) -> int:
    """Behind the local header, whose name and extra field have lengths of their own."""
    at = record.header
    if at < 0 or at + 30 > len(view):
        return at
    name, extra = struct.unpack_from("<HH", view, at + 26)
    return int(at + 30 + name + extra)


def _any(view: memoryview) -> bool:
    """True if it is not all zeros."""
    return any(bytes(chunk).strip(b"\0") for chunk in sliced(view))


def _zip64_end(view: memoryview, end: int, plain: tuple[int, int, int]) -> tuple[int, int, int]:
    """4.3.14: the locator stands right before the end record."""
    locator = end - 20
    if locator < 0 or bytes(view[locator : locator + 4]) != _END64_LOCATOR:
        return plain
    (at,) = struct.unpack_from("<Q", view, locator + 8)
    if bytes(view[at : at + 4]) != _END64:
        at = bytes(view[max(0, locator - 4096) : locator]).rfind(_END64)
        if at < 0:
            raise BadArchive(Reason.CORRUPT, "the zip64 end of central directory is missing")
        at += max(0, locator - 4096)
    count, size, offset = struct.unpack_from("<QQQ", view, at + 32)
    return count, size, offset


def _central(view: memoryview, at: int, shift: int) -> tuple[_Record, int]:
    if bytes(view[at : at + 4]) != _CENTRAL:
        raise BadArchive(Reason.CORRUPT, f"the central directory breaks off at offset {at}")
    made, flags, method, time, date, crc, packed, size, name, extra, comment, _, _, attributes, header = (
        struct.unpack_from("<H2x4H3I5HII", view, at + 4)
    )
    end = at + 46 + name + extra
    raw = bytes(view[at + 46 : at + 46 + name])
    more = bytes(view[at + 46 + name : end])
    size, packed, header = _zip64_fields(more, size, packed, header)
    return _Record(
        flags, method, time, date, crc, packed, size, raw, more, attributes, made >> 8, header + shift
    ), end + comment


def _zip64_fields(extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
    """4.5.3: those of the three that are all ones stand in the extra field, in this order."""
    data, at, values = _extra_field(extra, 1), 0, [size, packed, header]
    for index in range(3):
        if values[index] == _MAX32 and at + 8 <= len(data):
            values[index] = int.from_bytes(data[at : at + 8], "little")
            at += 8
    return values[0], values[1], values[2]


def _extra_field(extra: bytes, wanted: int) -> bytes:
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        if kind == wanted:
            return extra[at + 4 : at + 4 + size]
        at += 4 + size
    return b""


def _by_local_headers(view: memoryview, most: int) -> tuple[list[_Record], int]:
    """Follow local headers from one to the next; where a size is not known, look for what comes next."""
    records: list[_Record] = []
    at, end = _find(view, _LOCAL, 0), 0
    while at >= 0 and at + 30 <= len(view) and len(records) < most:
        flags, method, time, date, crc, packed, size, name, extra = struct.unpack_from(
            "<2x4H3I2H", view, at + 4
        )
        raw = bytes(view[at + 30 : at + 30 + name])
        more = bytes(view[at + 30 + name : at + 30 + name + extra])
        size, packed, _ = _zip64_fields(more, size, packed, 0)
        start = at + 30 + name + extra
        after = start + packed
        if flags & _DESCRIPTOR and not packed:
            after = min(
                (one for one in (_find(view, mark, start) for mark in (_LOCAL, _CENTRAL)) if one >= 0),
                default=len(view),
            )
            packed = after - start
        records.append(_Record(flags, method, time, date, crc, packed, size, raw, more, 0, 0, at))
        end = min(after, len(view))
        at = _find(view, _LOCAL, after)
    return records, end


def _find(view: memoryview, mark: bytes, start: int) -> int:
    """Where `mark` next stands; searched chunk by chunk, so that nothing large is copied."""
    step = CHUNK_BYTES * 4
    for base in range(start, len(view), step):
        at = bytes(view[base : base + step + len(mark) - 1]).find(mark)
        if at >= 0:
            return base + at
    return -1


def read_zip(view: memoryview, zipped: ZipFile) -> Iterator[Entry]:
    """Every member, then what stands in gaps; data that overlaps another member's is refused with `ratio`."""
    overlapping = _overlaps(zipped.records, len(view))
    for index, record in enumerate(zipped.records):
        member = _member(record)
        if member.kind != "file":
            yield Entry(member)
        elif index in overlapping:
            yield Entry(member, _refuse(Reason.RATIO, f"{member.name}: its data overlaps another member's"))
        else:
            yield Entry(member, _opener(view, record, member), record.header)
    for start, end in zipped.gaps:
        yield _gap(view[start:end], start)


def _gap(view: memoryview, offset: int) -> Entry:
    return Entry(Member(name="gap", size=len(view), method="stored"), lambda _passwords: sliced(view), offset)


def _overlaps(records: Sequence[_Record], length: int) -> set[int]:
    """Members whose compressed data another one's header or data stands in (Fifield's bomb)."""
    order = sorted(range(len(records)), key=lambda n: records[n].header)
    found, reached = set(), 0
    for index in order:
        record = records[index]
        if record.header < reached:
            found.add(index)
        else:
            reached = min(length, record.header + 30 + len(record.name) + record.packed)
    return found


def _refuse(reason: Reason, message: str) -> Callable[[Sequence[str]], Chunks]:
    def chunks(_passwords: Sequence[str]) -> Chunks:
        raise BadArchive(reason, message)
        yield b""

    return chunks


def _member(record: _Record) -> Member:
    name = name_of(record.name, "utf-8" if record.flags & _UTF8 or _is_utf8(record.name) else "cp437")
    mode = record.attributes >> 16 if record.system == 3 else 0
    kind = "file"
    if name.endswith(("/", "\\")) and not record.size:
        kind = "directory"
    elif mode & 0o170000 == 0o120000:
        kind = "symlink"
    method = record.method
    aes_field = _extra_field(record.extra, 0x9901)
    if method == 99 and len(aes_field) >= 7:
        method = int.from_bytes(aes_field[5:7], "little")
    return Member(
        name=name,
        size=record.size,
        kind=kind,
        encrypted=bool(record.flags & _ENCRYPTED),
        method=METHODS.get(method, f"method {method}"),
        modified=_dos_time(record.date, record.time),
        mode=f"{mode & 0o7777:04o}" if mode else None,
    )


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


@functools.lru_cache(maxsize=1_024)
def _dos_time(date: int, time: int) -> str | None:
    """4.4.6; local time of whoever made it, given as if it were UTC."""
    fields = ((date >> 9) + 1980, date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, (time & 31) * 2)
    if not (1 <= fields[1] <= 12 and 1 <= fields[2] <= 31):
        return None
    return timestamp(calendar.timegm(fields))


def _opener(view: memoryview, record: _Record, member: Member) -> Callable[[Sequence[str]], Chunks]:
    def chunks(passwords: Sequence[str]) -> Chunks:
        data = _data(view, record, member)
        if not member.encrypted:
            return checked(decompressed(sliced(data), record.method), record.crc, record.size)
        if record.flags & (_STRONG | _HIDDEN):
            raise BadArchive(Reason.ENCRYPTED_ARCHIVE, f"{member.name}: PKWARE's strong encryption")
        return _decrypted(data, record, member, passwords)

    return chunks


def _data(view: memoryview, record: _Record, member: Member) -> memoryview:
    at = record.header
    if at < 0 or bytes(view[at : at + 4]) != _LOCAL:
        raise BadArchive(Reason.CORRUPT, f"{member.name}: there is no local header at offset {at}")
    start = _data_start(view, record)
    data = view[start : start + record.packed]
    if len(data) < record.packed and member.encrypted:
        raise BadArchive(Reason.TRUNCATED, f"{member.name}: the archive ends within it")
    return data


def _decrypted(data: memoryview, record: _Record, member: Member, passwords: Sequence[str]) -> Chunks:
    """With the first password that fits to the last byte: a wrong one must not yield a single byte."""
    aes_field = _extra_field(record.extra, 0x9901)
    for password in passwords:
        for raw in dict.fromkeys((password.encode("utf-8", "replace"), password.encode("cp437", "replace"))):
            if record.method == 99 and len(aes_field) >= 7:
                plain = aes(data, raw, aes_field[4])
                if plain is not None:
                    member.method += " (aes)"
                    member.password = password
                    method = int.from_bytes(aes_field[5:7], "little")
                    check = record.crc if aes_field[0] == 1 else None
                    return checked(decompressed(plain, method), check, record.size)
                continue
            byte = record.time >> 8 if record.flags & _DESCRIPTOR else record.crc >> 24
            if _fits(data, raw, byte, record):
                again = traditional(data, raw, byte)
                if again is not None:
                    member.password = password
                    return checked(decompressed(again, record.method), record.crc, record.size)
    raise WrongPassword(member.name, len(passwords))


def _fits(data: memoryview, password: bytes, byte: int, record: _Record) -> bool:
    plain = traditional(data, password, byte)
    if plain is None:
        return False
    try:
        for _ in checked(decompressed(plain, record.method), record.crc, record.size):
            pass
    except BadArchive as error:
        return error.reason is Reason.UNSUPPORTED_METHOD
    return True


_MOST_RECORDS = 200_000
_MOST_ENDS = 64


def _begins(view: memoryview, offset: int) -> bool:
    """A local header of a version, a method and a name that there are; or the end of an empty archive."""
    if bytes(view[offset : offset + 4]) == _END:
        return number(view, offset + 4, 2) == 0 == number(view, offset + 10, 2)
    version, method, name = (number(view, offset + at, 2) for at in (4, 8, 26))
    first = number(view, offset + 30, 1)
    return version & 0xFF <= 63 and method in _KNOWN_METHODS and 0 < name <= 1024 and first >= 32


def _end(view: memoryview, offset: int) -> int | None:
    """Behind the first end record whose directory stands right before it, counted from here."""
    at, tried = offset, 0
    while (at := _find(view, _END, at)) >= 0 and tried < _MOST_ENDS:
        size, start = number(view, at + 12, 4), number(view, at + 16, 4)
        if offset + start + size == at:
            return min(len(view), at + 22 + number(view, at + 20, 2))
        at, tried = at + 4, tried + 1
    return None


_KNOWN_METHODS = frozenset({*range(20), *range(93, 100)})
FORMATS = (
    Format(
        "zip",
        lambda source: read_zip(source.view, open_zip(source.view, _MOST_RECORDS)),
        (Mark(_LOCAL), Mark(b"PK\x07\x08PK\x03\x04"), Mark(b"PK00PK\x03\x04")),
        _begins,
        _end,
    ),
)
