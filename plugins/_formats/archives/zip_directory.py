"""Where a zip's members are listed: end records, the directories they lead to, and the local headers.

PKWARE APPNOTE 6.3.10: 4.3.7 local header, 4.3.12 central header, 4.3.14 to 4.3.16 ends. Nothing is believed:
an archive may have several ends, an end may lead to two directories, and either may be read by a program.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from stoq_core.errors import Reason

from .declare import number
from .entry import CHUNK_BYTES, BadArchive, find
from .zip_records import CENTRAL, END, END64, END_WITHIN, LOCAL, LOCATOR64

_MAX32, _MAX16 = 0xFFFFFFFF, 0xFFFF
_END_BYTES, _LOCATOR_BYTES = 22, 20
_LOOK_BACK_BYTES = 4_096
_LOOK_WITHIN = END_WITHIN + _LOOK_BACK_BYTES
_MOST_ENDS = 16
_DESCRIPTOR = 8
_MARKS = frozenset({LOCAL[2:], CENTRAL[2:], END[2:], END64[2:]})
KNOWN_METHODS = frozenset({*range(20), *range(93, 100)})


class Record(NamedTuple):
    """A header's facts, from whichever of the two kinds it is; `header` is where the local one stands."""

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
    at: int
    comment: int = 0

    @property
    def encrypted(self) -> bool:
        """The flag, not the fact."""
        return bool(self.flags & 1)


class Directory(NamedTuple):
    """A central directory: its records, the ranges that it and its end record take, the problem with it."""

    records: list[Record]
    start: int
    stop: int
    end: int
    problem: BadArchive | None = None


def has_end(view: memoryview) -> bool:
    """True if an end record stands where programs look for one."""
    return END in bytes(view[-_LOOK_WITHIN:])


def directories(view: memoryview, most: int) -> list[Directory]:
    """Those that the end records near the view's end lead to, the one that most programs read first."""
    base = max(0, len(view) - _LOOK_WITHIN)
    tail, found = bytes(view[base:]), list[Directory]()
    at = tail.rfind(END)
    for _ in range(_MOST_ENDS):
        if at < 0:
            break
        found += led_to(view, base + at, most)
        at = tail.rfind(END, 0, at)
    return sorted(found, key=lambda directory: not directory.records)  # one of no members is not the first


def led_to(view: memoryview, end: int, most: int) -> list[Directory]:
    """The directories of one end record: what it says and what its zip64 record says may differ."""
    if end + _END_BYTES > len(view):
        return []
    count, size, offset = struct.unpack_from("<HII", view, end + 10)
    said = [(count, size, offset, end)]
    big = _end64(view, end)
    if big is not None:
        plain = count != _MAX16 and _MAX32 not in (size, offset)
        said = [*([said[0]] if plain and big[:3] != said[0][:3] else []), big]
    starts: dict[int, Directory] = {}
    for count, size, offset, behind in said:
        for start, shift in ((offset, 0), (behind - size, behind - size - offset)):
            if start not in starts and bytes(view[start : start + 4] if start >= 0 else b"") == CENTRAL:
                starts[start] = _directory(view, start, shift, count, end, most)
        if not count and not starts:
            starts[end] = Directory([], end, end, end)
    return list(starts.values())


def _end64(view: memoryview, end: int) -> tuple[int, int, int, int] | None:
    """Count, size and offset of the directory, and where the record itself stands."""
    locator = end - _LOCATOR_BYTES
    if locator < 0 or bytes(view[locator : locator + 4]) != LOCATOR64:
        return None
    (at,) = struct.unpack_from("<Q", view, locator + 8)
    if bytes(view[at : at + 4]) != END64:
        base = max(0, locator - _LOOK_BACK_BYTES)
        at = base + bytes(view[base:locator]).rfind(END64)
        if at < base:
            return None
    if at + 56 > len(view):
        return None
    count, size, offset = struct.unpack_from("<QQQ", view, at + 32)
    return count, size, offset, at


def _directory(view: memoryview, start: int, shift: int, count: int, end: int, most: int) -> Directory:
    """As many central headers as stand there, which may be more than the end record counts."""
    records, at = list[Record](), start
    while len(records) < most and bytes(view[at : at + 4]) == CENTRAL and at + 46 <= len(view):
        record = _central(view, at, shift)
        records.append(record)
        at += 46 + len(record.name) + len(record.extra) + record.comment
    problem = None
    if len(records) >= most:
        problem = BadArchive(Reason.TOO_MANY_PAYLOADS, f"only the first {most} members are read")
    elif len(records) < count and len(records) & _MAX16 != count:
        problem = BadArchive(Reason.CORRUPT, f"the central directory breaks off at offset {at}")
    return Directory(records, start, at, end, problem)


def _central(view: memoryview, at: int, shift: int) -> Record:
    made, flags, method, time, date, crc, packed, size, name, extra, comment, _, _, attributes, header = (
        struct.unpack_from("<H2x4H3I5HII", view, at + 4)
    )
    raw = bytes(view[at + 46 : at + 46 + name])
    more = bytes(view[at + 46 + name : at + 46 + name + extra])
    size, packed, header = _zip64_fields(more, size, packed, header)
    if shift and bytes(view[header + shift : header + shift + 4]) != LOCAL == bytes(
        view[header : header + 4]
    ):
        shift = 0  # counted from the file's start after all
    return Record(
        flags, method, time, date, crc, packed, size, raw, more, attributes, made >> 8, header + shift, at,
        comment,
    )  # fmt: skip


def local_record(view: memoryview, at: int) -> Record | None:
    """The local header at `at`, or None."""
    if at < 0 or at + 30 > len(view) or bytes(view[at : at + 4]) != LOCAL:
        return None
    flags, method, time, date, crc, packed, size, name, extra = struct.unpack_from("<2x4H3I2H", view, at + 4)
    raw = bytes(view[at + 30 : at + 30 + name])
    more = bytes(view[at + 30 + name : at + 30 + name + extra])
    size, packed, _ = _zip64_fields(more, size, packed, 0)
    return Record(flags, method, time, date, crc, packed, size, raw, more, 0, 0, at, at)


def data_start(view: memoryview, header: int) -> int:
    """Behind the local header, whose name and extra field have lengths of their own."""
    name, extra = struct.unpack_from("<HH", view, header + 26)
    return int(header + 30 + name + extra)


def _zip64_fields(extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
    """4.5.3: those of the three that are all ones stand in the extra field, in this order."""
    values = [size, packed, header]
    if _MAX32 not in values:
        return size, packed, header
    data, at = extra_field(extra, 1), 0
    for index in range(3):
        if values[index] == _MAX32 and at + 8 <= len(data):
            values[index] = int.from_bytes(data[at : at + 8], "little")
            at += 8
    return values[0], values[1], values[2]


def extra_field(extra: bytes, wanted: int) -> bytes:
    """The data of the first extra field of that kind."""
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        if kind == wanted:
            return extra[at + 4 : at + 4 + size]
        at += 4 + size
    return b""


def is_local(view: memoryview, at: int) -> bool:
    """A local header by more than its mark: a version, a method and a name that there are."""
    version, method, name = (number(view, at + place, 2) for place in (4, 8, 26))
    named = 0 < name <= 4_096 and number(view, at + 30, 1) >= 32
    return bytes(view[at : at + 4]) == LOCAL and version & 0xFF <= 63 and method in KNOWN_METHODS and named


def by_local_headers(view: memoryview, start: int, stop: int, most: int) -> Iterator[Record]:
    """From one local header to the next; where a size is not known, up to the next record of any kind."""
    at, left = _next_local(view, start, stop), most
    while at >= 0 and left > 0:
        record = local_record(view, at)
        if record is None:
            return
        begin = data_start(view, at)
        if record.flags & _DESCRIPTOR and not record.packed:
            record = record._replace(packed=_next_record(view, begin, stop) - begin)
        yield record
        left -= 1
        at = _next_local(view, max(begin, min(stop, begin + record.packed)), stop)


def _next_local(view: memoryview, at: int, stop: int) -> int:
    while (at := find(view[:stop], LOCAL, at)) >= 0:
        if is_local(view, at):
            return at
        at += 4
    return -1


def _next_record(view: memoryview, at: int, stop: int) -> int:
    """Where the next mark of a record stands, or `stop`: found in one pass, whatever kind it is."""
    while at < stop:
        chunk = bytes(view[at : min(stop, at + CHUNK_BYTES)])
        place = chunk.find(b"PK")
        while place >= 0:
            if bytes(view[at + place + 2 : at + place + 4]) in _MARKS:
                return at + place
            place = chunk.find(b"PK", place + 1)
        at += max(1, len(chunk) - 1)
    return stop
