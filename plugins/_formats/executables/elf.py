"""What of an ELF file its own tables account for (System V ABI, chapters 4 and 5), read within bounds."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

_MAGIC = b"\x7fELF"
_NOBITS, _NULL = 8, 0
_MOST_ROWS = 65_536


class Span(NamedTuple):
    """A range of the file: its offset and size in bytes."""

    offset: int
    size: int


class _Layout(NamedTuple):
    """Where the fields are: the header behind `e_ident`, one segment's row, one section's."""

    header: str
    segment: str
    section: str


# header: type, machine, version, entry, phoff, shoff, flags, ehsize, phentsize, phnum, shentsize, shnum
# segment: offset, filesz; section: type, offset, size
_LAYOUTS = {
    1: _Layout("HHIIIIIHHHHH", "4xI8xI12x", "4xI8xII16x"),
    2: _Layout("HHIQQQIHHHHH", "8xQ16xQ16x", "4xI16xQQ24x"),
}


def is_elf(view: memoryview, at: int) -> bool:
    """Whether an ELF header that makes sense begins there."""
    ident = bytes(view[at : at + 16])
    if ident[:4] != _MAGIC or ident[4:5] not in (b"\1", b"\2") or ident[5:6] not in (b"\1", b"\2"):
        return False
    header = _header(view, at)
    return header is not None and ident[6] == 1 == header[2] and header[7] in (52, 64) and header[0] != 0


def _header(view: memoryview, at: int) -> tuple[int, ...] | None:
    layout = _LAYOUTS.get(view[at + 4])
    if layout is None:
        return None
    form = struct.Struct(_order(view, at) + layout.header)
    return form.unpack_from(view, at + 16) if at + 16 + form.size <= len(view) else None


def _order(view: memoryview, at: int) -> str:
    return ">" if view[at + 5] == 2 else "<"


def spans(view: memoryview, at: int = 0) -> Iterator[Span]:
    """Headers, tables, segments and sections of the ELF file that begins at `at`; offsets count from there.

    A range is cut at the end of the bytes; nothing is yielded where there is no header.
    """
    header = _header(view, at) if len(view) >= at + 16 else None
    if header is None:
        return
    layout, order = _LAYOUTS[view[at + 4]], _order(view, at)
    (
        _,
        _,
        _,
        _,
        segments_at,
        sections_at,
        _,
        header_bytes,
        segment_bytes,
        segments,
        section_bytes,
        sections,
    ) = header
    yield Span(0, max(header_bytes, 16 + struct.calcsize(order + layout.header)))
    for offset, size in _rows(view, at, (segments_at, segment_bytes, segments), order + layout.segment):
        yield Span(offset, size)
    if sections_at and not sections:  # the count stands in the first row
        first = next(_rows(view, at, (sections_at, section_bytes, 1), order + layout.section), (0, 0, 0))
        sections = min(first[2], _MOST_ROWS)
    for kind, offset, size in _rows(view, at, (sections_at, section_bytes, sections), order + layout.section):
        if kind not in (_NOBITS, _NULL):
            yield Span(offset, size)
    yield Span(segments_at, segment_bytes * segments)
    yield Span(sections_at, section_bytes * sections)


def _rows(view: memoryview, at: int, table: tuple[int, int, int], form: str) -> Iterator[tuple[int, ...]]:
    """The rows of a table (offset, bytes a row, count) as far as they are there."""
    start, width, count = table
    row = struct.Struct(form)
    if not start or width < row.size:
        return
    for number in range(min(count, _MOST_ROWS)):
        where = at + start + number * width
        if where + row.size > len(view):
            return
        yield row.unpack_from(view, where)


def end_of_elf(view: memoryview, at: int) -> int:
    """Behind the last of its ranges."""
    end = max((one.offset + one.size for one in spans(view, at) if at + one.offset < len(view)), default=52)
    return min(len(view), at + end)
