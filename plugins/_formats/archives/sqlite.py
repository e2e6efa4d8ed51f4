"""SQLite databases: blobs, and values that spill over pages, put together (SQLite file format, 1.6, 2.1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from stoq_core.errors import Reason

from .declare import Format, Mark, Source
from .entry import BadArchive, Chunks, Entry, Member

_MARK = b"SQLite format 3\0"
_LEAF_INDEX, _LEAF_TABLE, _INNER_INDEX, _INNER_TABLE = 0x0A, 0x0D, 0x02, 0x05
_KINDS = frozenset((_LEAF_INDEX, _LEAF_TABLE, _INNER_INDEX, _INNER_TABLE))
_MIN_BLOB_BYTES = 64
_SIZES = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0)


class _Cell(NamedTuple):
    """A record: where its first part stands, how much of it, all of it, and the first page of the rest."""

    at: int
    local: int
    size: int
    overflow: int


def read_sqlite(source: Source) -> Iterator[Entry]:
    """Every page is looked at in turn, whether a tree still holds it or not."""
    work = _Database(source)
    yield from work.read()


class _Database:
    """Page size and usable bytes; counts what chains of pages name."""

    def __init__(self, source: Source) -> None:
        self.source, self.view = source, source.view
        raw = int.from_bytes(source.view[16:18])
        self.page = 65_536 if raw == 1 else raw
        if self.page < 512 or self.page & self.page - 1:
            raise BadArchive(Reason.CORRUPT, f"pages of {self.page} bytes do not exist")
        self.usable = self.page - source.view[20]
        self._left = 2 * (len(source.view) // self.page) + 64

    def read(self) -> Iterator[Entry]:
        """Pages of trees are structure, searched as they stand; pages that are none are left."""
        for start in range(0, len(self.view), self.page):
            head = start + (100 if start == 0 else 0)
            if head + 12 > len(self.view):
                return
            kind = self.view[head]
            if kind not in _KINDS or self.view[head + 7] > 60:
                if start == 0:
                    self.source.account.structure(0, 100)
                continue
            self.source.account.structure(start, self.page)
            if kind != _INNER_TABLE:
                yield from self._page(start, head, kind)

    def _page(self, start: int, head: int, kind: int) -> Iterator[Entry]:
        count = int.from_bytes(self.view[head + 3 : head + 5])
        table = head + (12 if kind == _INNER_INDEX else 8)
        for place in range(min(count, self.page // 4)):
            offset = int.from_bytes(self.view[table + 2 * place : table + 2 * place + 2])
            if not 8 <= offset < self.page:
                continue
            cell = self._cell(start + offset, start + self.page, kind)
            if cell is not None:
                yield from self._values(cell)

    def _cell(self, at: int, end: int, kind: int) -> _Cell | None:
        """1.6: sizes as the format computes what stays on the page."""
        at += 4 if kind == _INNER_INDEX else 0
        size, at = self._number(at)
        if kind == _LEAF_TABLE:
            _, at = self._number(at)
        most = self.usable - 35 if kind == _LEAF_TABLE else (self.usable - 12) * 64 // 255 - 23
        least = (self.usable - 12) * 32 // 255 - 23
        if size <= most:
            return _Cell(at, size, size, 0) if at + size <= end else None
        local = least + (size - least) % (self.usable - 4)
        local = least if local > most else local
        if at + local + 4 > end:
            return None
        return _Cell(at, local, size, int.from_bytes(self.view[at + local : at + local + 4]))

    def _number(self, at: int) -> tuple[int, int]:
        """A varint of up to nine bytes."""
        value = 0
        for n in range(9):
            byte = self.view[at + n]
            if n == 8:
                return value << 8 | byte, at + 9
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value, at + n + 1
        return value, at + 9

    def _values(self, cell: _Cell) -> Iterator[Entry]:
        """2.1: a header of types, then the values; blobs, and texts that spill over, become children."""
        header, at = self._number(cell.at)
        end = min(cell.at + header, cell.at + cell.local)
        offset, wanted = header, list[tuple[int, int, str]]()
        while at < end:
            kind, at = self._number(at)
            size = _SIZES[kind] if kind < 12 else (kind - 12) // 2
            if kind >= 12 and size >= _MIN_BLOB_BYTES:
                if not kind & 1:
                    wanted.append((offset, size, "blob"))
                elif offset + size > cell.local:
                    wanted.append((offset, size, "text"))
            offset += size
        pages = self._pages(cell) if wanted and cell.overflow else []
        for begin, size, name in wanted:
            member = Member(name=f"{name}-{cell.at:x}-{begin}", size=size, method="stored")
            yield Entry(
                member,
                lambda _passwords, b=begin, s=size: self._bytes(cell, pages, b, s),  # type: ignore[misc]
                cell.at + begin if begin < cell.local else None,
            )

    def _pages(self, cell: _Cell) -> list[int]:
        """The chain of overflow pages, each used once."""
        pages, number, seen = list[int](), cell.overflow, set[int]()
        left = cell.size - cell.local
        while number and left > 0 and number not in seen:
            start = (number - 1) * self.page
            self._left -= 1
            if start + self.page > len(self.view) or self._left < 0:
                break
            seen.add(number)
            pages.append(start)
            self.source.account.child(start, self.page)
            left -= self.usable - 4
            number = int.from_bytes(self.view[start : start + 4])
        return pages

    def _bytes(self, cell: _Cell, pages: list[int], begin: int, size: int) -> Chunks:
        """A range of a record, over the page and its chain."""
        pieces = [(cell.at, cell.local), *((start + 4, self.usable - 4) for start in pages)]
        left = size
        for at, length in pieces:
            if begin < length and left > 0:
                part = self.view[at + begin : at + min(length, begin + left)]
                left -= len(part)
                yield part
            begin = max(0, begin - length)
        if left:
            raise BadArchive(Reason.TRUNCATED, f"{size - left} of {size} bytes of a value are there")


def _is_database(view: memoryview, start: int) -> bool:
    """Fractions of the payload are constants."""
    return bytes(view[start + 21 : start + 24]) == b"\x40\x20\x20"


FORMATS = (Format("sqlite", read_sqlite, (Mark(_MARK),), _is_database),)
