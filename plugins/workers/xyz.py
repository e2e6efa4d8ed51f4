"""Zip forensics: both records of each member side by side, what they disagree on, and bytes of no record."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from plugins._formats.archives.zip_records import (
    LOCAL,
    CentralRecord,
    EndRecord,
    Header,
    LocalRecord,
    Span,
    after_data,
    central_at,
    central_record,
    end_of,
    ends,
    local_at,
    local_record,
    text_of,
)
from stoq_core.job import Job
from stoq_core.limits import Limits
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_MOST_RECORDS = 100_000
_MOST_GAPS = 256
_LISTED_BYTES = 400_000  # of JSON: a result may have a megabyte
_STEP_BYTES = 1 << 20
_APK_SIGNATURES = b"APK Sig Block 42"
_WITH_DESCRIPTOR = 8
# A local header by more than its mark: a version and a method that exist, and a name below 4 KiB.
_LOCAL_MARK = re.compile(
    rb"PK\x03\x04(?=[\x00-\x3f].{3}[\x00-\x14\x5d-\x63]\x00.{16}(?!\x00\x00).[\x00-\x0f])", re.DOTALL
)


class XyzOptions(Options, frozen=True):
    """How much to list."""

    max_members: Annotated[int, about("members listed with both records", ge=0)] = 100


class XyzFile(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A member's `central` and `local` record; `deltas` names the fields in which they differ."""

    central: CentralRecord | None = None
    local: LocalRecord | None = None
    deltas: list[str] = []


class XyzGap(msgspec.Struct, frozen=True):
    """Bytes of no record: `kind` is leading, gap, trailing or apk_signatures."""

    kind: str
    offset: int
    size: int


class XyzResult(msgspec.Struct, omit_defaults=True, kw_only=True):
    """`count` of members, `files` as listed, `ends`, `gaps`; `deltas` counts members by differing field.

    `prepended` bytes stand before the archive, `overlaps` counts records that share bytes, `missing`
    central records without a local one, `orphans` local ones without a central one.
    """

    count: int
    files: list[XyzFile]
    ends: list[EndRecord]
    gaps: list[XyzGap]
    deltas: dict[str, int] = {}
    prepended: int = 0
    overlaps: int = 0
    missing: int = 0
    orphans: int = 0


class Xyz(Worker[XyzOptions]):
    """The records side by side, and the places of bytes that no record accounts for.

    Nothing is unpacked, and those bytes are no children: both is decompress's work, whose account has them.
    Fields that differ for good reason (sizes that a descriptor follows) are no deltas.
    """

    essential = False
    limits = Limits(children=0)
    result = XyzResult
    errors = {
        "no_end": "there is no end record; members are those of the local headers",
        "too_many_records": "more than 100,000 records; gaps were not looked for",
        "short_directory": "the directory breaks off before the number of entries that the end record names",
    }
    findings = {
        "zip_records_differ": (
            250,
            "A zip whose two records of a member differ in name or method: readers see different files",
            ("T1036",),
        ),
    }

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield one `XyzResult`; nothing for what is no zip."""
        view = payload.view()
        archive = _Archive(view, job)
        result = XyzResult(count=0, files=[], ends=archive.ends, gaps=[])
        confused = self._list(archive.members(), result)
        if not result.count:
            if archive.ends:
                yield result
            return
        result.prepended = archive.shift
        result.gaps = archive.gaps()[:_MOST_GAPS]
        result.overlaps = archive.overlaps
        if confused:
            yield self.finding("zip_records_differ", confused)
        yield result

    def _list(self, members: Iterator[_Pair], result: XyzResult) -> str:
        """Fill the result's list and counts; what the first member with a grave difference is."""
        room, confused = _LISTED_BYTES, ""
        for central, local in members:
            result.count += 1
            names = _deltas(central, local)
            for name in names:
                result.deltas[name] = result.deltas.get(name, 0) + 1
            if not confused and {"name", "method"} & set(names):
                confused = _told(central, local)
            result.missing += local is None
            result.orphans += central is None
            if len(result.files) < self.options.max_members and room > 0:
                file = XyzFile(
                    central=central_record(central) if central else None,
                    local=local_record(local) if local else None,
                    deltas=names,
                )
                room -= len(msgspec.json.encode(file))
                result.files += [file] if room > 0 else []
        return confused


_Pair = tuple[Header | None, Header | None]
"""A member's central and local header."""


class _Archive:
    """The records of a zip and the bytes that they account for."""

    def __init__(self, view: memoryview, job: Job) -> None:
        self._view = view
        self._job = job
        self._spans: list[Span] = []
        self._complete = True
        self.shift = 0
        self.overlaps = 0
        self.ends = ends(view)

    def members(self) -> Iterator[_Pair]:
        """Each member's headers, one after the other: names and extra fields are not all held at once."""
        if self.ends:
            yield from self._by_directory(next(one for one in self.ends if one.in_use and not one.zip64))
        elif bytes(self._view[:4]) == LOCAL:
            self._job.error("no_end", "there is no end record; the members are those of the local headers")
        else:
            return
        if self._complete:
            yield from self._orphans()

    def _by_directory(self, end: EndRecord) -> Iterator[_Pair]:
        big = next((one for one in self.ends if one.in_use and one.zip64), None)
        begin = big.offset if big else end.offset
        self._spans.append(Span(begin, end_of(self._view, end)))
        facts = big or end
        at = facts.directory_offset
        if central_at(self._view, at) is None:  # bytes stand before the archive
            self.shift = begin - facts.directory_size - at
            at += self.shift
        first = at
        for number in range(facts.entries):
            header = central_at(self._view, at)
            if number >= _MOST_RECORDS:
                self._too_many()
                break
            if header is None:
                message = f"the directory has {number} of {facts.entries} entries"
                self._job.error("short_directory", message, observed=number, allowed=facts.entries)
                break
            local = local_at(self._view, header.header + self.shift)
            if local is not None:
                after = after_data(self._view, local.end, header.packed, header.fields[2])
                self._spans.append(Span(local.at, after))
            yield header, local
            at = header.end
        if at > first >= 0:
            self._spans.append(Span(first, min(at, len(self._view))))

    def _too_many(self) -> None:
        self._complete = False
        self._job.error("too_many_records", f"more than {_MOST_RECORDS} records", allowed=_MOST_RECORDS)

    def _orphans(self) -> Iterator[_Pair]:
        """Local headers in bytes that no record accounts for so far."""
        count = 0
        for gap in self._free():
            after = gap.start
            for mark in _LOCAL_MARK.finditer(self._view, gap.start, gap.end):
                header = local_at(self._view, mark.start()) if mark.start() >= after else None
                if header is None:
                    continue
                count += 1
                if count > _MOST_RECORDS:
                    self._too_many()
                    return
                after = min(after_data(self._view, header.end, header.packed, header.fields[1]), gap.end)
                self._spans.append(Span(header.at, after))
                yield None, header

    def _free(self) -> list[Span]:
        """What lies between the spans; counts overlaps on the way."""
        found, reached, self.overlaps = [], 0, 0
        for span in sorted(self._spans):
            if span.start > reached:
                found.append(Span(reached, span.start))
            self.overlaps += span.start < reached
            reached = max(reached, span.end)
        if reached < len(self._view):
            found.append(Span(reached, len(self._view)))
        return found

    def gaps(self) -> list[XyzGap]:
        """The gaps, named by where they are."""
        if not self._complete:
            return []
        last = max((span.end for span in self._spans), default=0)
        return [XyzGap(self._kind(gap, last), gap.start, gap.end - gap.start) for gap in self._free()]

    def _kind(self, gap: Span, last: int) -> str:
        if not gap.start:
            return "leading"
        if gap.start >= last:
            return "trailing"
        return "apk_signatures" if bytes(self._view[gap.end - 16 : gap.end]) == _APK_SIGNATURES else "gap"


def _any(view: memoryview) -> bool:
    """True if any byte is not zero."""
    return any(bytes(view[at : at + _STEP_BYTES]).strip(b"\0") for at in range(0, len(view), _STEP_BYTES))


def _deltas(central: Header | None, local: Header | None) -> list[str]:
    """The fields in which two records of a member differ, by name."""
    if central is None or local is None:
        return []
    names = ("version_needed", "flags", "method", "time", "date", "crc32")
    ours = {
        **dict(zip(names, central.fields[1:7], strict=True)),
        "packed": central.packed,
        "size": central.size,
    }
    theirs = {**dict(zip(names, local.fields, strict=True)), "packed": local.packed, "size": local.size}
    if local.fields[1] & _WITH_DESCRIPTOR:
        for name in ("crc32", "packed", "size"):
            if not theirs[name]:
                del theirs[name]
    found = [name for name, value in theirs.items() if ours[name] != value]
    return ["name", *found] if central.name != local.name else found


def _told(central: Header | None, local: Header | None) -> str:
    """A member by both its names and methods."""
    parts = []
    for what, header, at in (("central", central, 3), ("local", local, 2)):
        if header is not None:
            parts.append(f"{what}: {text_of(header.name, 0)[:100]!r}, method {header.fields[at]}")
    return "; ".join(parts)
