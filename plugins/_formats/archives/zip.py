"""zip (PKWARE APPNOTE 6.3.10): what the directory lists, what the local headers say, and what neither names.

Programs disagree on which of an archive's records count, so all are read. A member that one way of reading
gives and another does not is said to contradict the archive.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from stoq_core.account import Account, Gap
from stoq_core.errors import Reason

from .apk_signatures import claim_apk_signatures
from .declare import Format, Mark, Source, number
from .entry import FREE_BYTES, BadArchive, Entry, find, is_field, is_text
from .zip_directory import (
    Directory,
    Record,
    by_local_headers,
    data_start,
    directories,
    has_end,
    is_local,
    led_to,
    local_record,
)
from .zip_members import Members
from .zip_records import END, END64, LOCAL, LOCATOR64, after_data

_MOST_RECORDS = 200_000
_MOST_OVERLAPPING = 16
_MOST_ENDS = 64
_SPANNED = (b"PK\x07\x08", b"PK00")


def read_members(view: memoryview, most: int) -> list[Entry]:
    """The members of the directory alone, for those who look into a document. Raises `BadArchive`."""
    found = directories(view, most)
    if not found:
        raise BadArchive(Reason.TRUNCATED, "the archive has no end of central directory")
    members = Members(view)
    return [members.entry(record, index) for index, record in enumerate(found[0].records)]


def read_zip(source: Source) -> Iterator[Entry]:
    """Every member of every record; raises what is wrong with the directory at the end."""
    reading = _Reading(source)
    yield from reading.main()
    for gap in list(source.account.gaps(source.view)):
        yield from reading.hidden(gap)
    if reading.problem is not None:
        raise reading.problem


class _Reading:
    """One archive being read: which records were read already, and what they take."""

    def __init__(self, source: Source) -> None:
        self._view, self._account = source.view, source.account
        self._room = source.job.total_left
        self._members = Members(source.view, source)
        self._read: set[tuple[int, int, bool, int]] = set()
        self._overlapping = 0
        self.problem: BadArchive | None = None

    def main(self) -> Iterator[Entry]:
        """The members of the directories at the end, or of the local headers where there is none."""
        view = self._view
        if bytes(view[:4]) in _SPANNED and bytes(view[4:8]) == LOCAL:
            self._account.structure(0, 4)
        found = directories(view, _MOST_RECORDS)
        if not found:
            records = list(by_local_headers(view, 0, len(view), _MOST_RECORDS))
            cut = not has_end(view)
            message = "the archive has no end of central directory" if cut else "no end record leads anywhere"
            self.problem = BadArchive(Reason.TRUNCATED if cut else Reason.CORRUPT, message)
            if not records:
                raise self.problem
            yield from self._entries(records)
            return
        self.problem = found[0].problem
        yield from self._directory(found[0])
        for other in found[1:]:
            if self._is_within_member(other):
                continue
            if not other.records:
                self._claim_central(other)
                continue
            yield from self._directory(other, "a second directory names it")

    def _is_within_member(self, directory: Directory) -> bool:
        """An archive that is a member as it is has a directory of its own, which is opened with it."""
        gaps = self._account.gaps(self._view)
        return not any(gap.offset <= directory.end < gap.offset + gap.size for gap in gaps)

    def _directory(self, directory: Directory, contradicts: str = "") -> Iterator[Entry]:
        yield from self._entries(directory.records, contradicts)
        self._claim_central(directory)
        claim_apk_signatures(self._view, directory.start, self._account)

    def _entries(self, records: Sequence[Record], contradicts: str = "") -> Iterator[Entry]:
        """The cheap ones first where there is no room for all: a large one in front hides none behind it."""
        order = list(enumerate(records))
        if sum(record.size for record in records) > self._room:
            order.sort(key=lambda row: row[1].size)
        overlapping = _overlaps(records, len(self._view))
        for index, record in order:
            key = (record.header, record.method, record.encrypted, record.packed)
            if key in self._read:
                continue
            self._read.add(key)
            if index in overlapping:
                self._overlapping += 1
                if self._overlapping > _MOST_OVERLAPPING:
                    entry = self._members.entry(record, index)
                    yield _refused(entry, f"{entry.member.name}: its data overlaps another member's")
                    continue
            yield self._members.entry(record, index, contradicts=contradicts)
            yield from self._other_reading(record, index)

    def _other_reading(self, record: Record, index: int) -> Iterator[Entry]:
        """What a program that goes by the local header makes of the member, if that is something else."""
        local = local_record(self._view, record.header)
        if local is None:
            return
        packed, size = local.packed or record.packed, local.size or record.size
        begin = data_start(self._view, record.header)
        _claim_local(self._account, local, begin + packed, after_data(self._view, begin, packed, local.flags))
        same = (local.method, local.encrypted, packed) == (record.method, record.encrypted, record.packed)
        key = (record.header, local.method, local.encrypted, packed)
        if same or record.at == record.header or key in self._read:
            return
        self._read.add(key)
        other = record._replace(
            flags=local.flags, method=local.method, packed=packed, size=size, crc=local.crc or record.crc,
            extra=local.extra,
        )  # fmt: skip
        entry = self._members.entry(other, index)
        entry.contradicts = f"{entry.member.name}: its two headers tell of different data"
        yield entry

    def hidden(self, gap: Gap) -> Iterator[Entry]:
        """Members that no directory lists, in what is left; an archive of its own there stays a child."""
        start, stop = gap.offset, gap.offset + gap.size
        for directory in self._other_directories(start, stop):
            if any(start <= record.header < stop for record in directory.records):
                return
            yield from self._directory(directory, "a directory in a gap names it")
        at = find(self._view[:stop], LOCAL, start)
        if at < 0 or not is_local(self._view, at) or gap.name == "tail":
            return
        records = list(by_local_headers(self._view, at, stop, _MOST_RECORDS))
        yield from self._entries(records, "no directory lists it")

    def _other_directories(self, start: int, stop: int) -> Iterator[Directory]:
        at = start
        for _ in range(_MOST_ENDS):
            at = find(self._view[:stop], END, at)
            if at < 0:
                return
            yield from (found for found in led_to(self._view, at, _MOST_RECORDS) if found.records)
            at += 4

    def _claim_central(self, directory: Directory) -> None:
        """Headers, names that are text, extra fields that are short; comments are free."""
        account, view = self._account, self._view
        for record in directory.records:
            end = record.at + 46 + len(record.name)
            account.structure(record.at, 46 + (len(record.name) if is_text(record.name) else 0))
            if record.extra:
                _claim_extra(account, record.extra, end)
            comment = end + len(record.extra)
            if record.comment and is_text(view[comment : comment + record.comment]):
                account.structure(comment, record.comment)
        end = directory.end
        account.structure(end, 22)
        if is_field(bytes(view[end + 22 : end + 22 + number(view, end + 20, 2)])):
            account.structure(end + 22, number(view, end + 20, 2))
        locator = end - 20
        if bytes(view[max(0, locator) : locator + 4]) == LOCATOR64:
            account.structure(locator, 20)
            at = number(view, locator + 8, 8)
            if bytes(view[at : at + 4]) != END64:
                at = locator - 56
            account.structure(at, 56 if bytes(view[at : at + 4]) == END64 else 0)


def _refused(entry: Entry, message: str) -> Entry:
    def opened(_passwords: Sequence[str]) -> Iterator[bytes]:
        raise BadArchive(Reason.RATIO, message)
        yield b""

    entry.open = opened
    return entry


def _overlaps(records: Sequence[Record], length: int) -> set[int]:
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


def _claim_local(account: Account, local: Record, behind: int, after: int) -> None:
    """The header, and the descriptor that stands between the data's end and the member's."""
    name = len(local.name)
    account.structure(local.header, 30 + (name if is_text(local.name) else 0))
    if local.extra:
        _claim_extra(account, local.extra, local.header + 30 + name)
    if after > behind:
        account.structure(behind, after - behind)


def _claim_extra(account: Account, extra: bytes, at: int) -> None:
    """Each field's header, and its data if it is short or text (4.5); what is no field is padding."""
    place = 0
    while place + 4 <= len(extra):
        (size,) = struct.unpack_from("<H", extra, place + 2)
        data = extra[place + 4 : place + 4 + size]
        known = len(data) <= FREE_BYTES or is_text(data) or is_text(data[5:])
        account.structure(at + place, 4 + (len(data) if known else 0))
        place += 4 + size
    if len(extra) - place < 4:
        account.structure(at + place, len(extra) - place)


def _begins(view: memoryview, offset: int) -> bool:
    """A local header, or the end of an empty archive."""
    if bytes(view[offset : offset + 4]) == END:
        return number(view, offset + 4, 2) == 0 == number(view, offset + 10, 2)
    spanned = 4 if bytes(view[offset : offset + 4]) in _SPANNED else 0
    return is_local(view, offset + spanned)


def _end(view: memoryview, offset: int) -> int | None:
    """Behind the first end record whose directory stands right before it, counted from here."""
    at, tried = offset, 0
    while (at := find(view, END, at)) >= 0 and tried < _MOST_ENDS:
        size, start = number(view, at + 12, 4), number(view, at + 16, 4)
        if offset + start + size == at:
            return min(len(view), at + 22 + number(view, at + 20, 2))
        at, tried = at + 4, tried + 1
    return None


FORMATS = (
    Format(
        "zip",
        read_zip,
        (Mark(LOCAL), Mark(b"PK\x07\x08PK\x03\x04"), Mark(b"PK00PK\x03\x04")),
        _begins,
        _end,
    ),
)
