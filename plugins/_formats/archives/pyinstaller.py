"""PyInstaller's archives: the one behind its programs, told by a cookie at its end, and the PYZ of modules.

Layout: PyInstaller, *Advanced Topics* (The CArchive Format, The ZlibArchive Format) and its bootloader's
`pyi_archive.h`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Any

from stoq_core.errors import Reason
from stoq_core.limits import MiB

from .declare import Format, Mark, Source, number
from .entry import BadArchive, Chunks, Entry, Member, name_of, refuse, sliced
from .marshalled import Marshalled
from .singles import inflated

COOKIE = b"MEI\x0c\x0b\x0a\x0b\x0e"
_COOKIES = (struct.Struct(">8sIIII64s"), struct.Struct(">8sIIII"))
_ROW = struct.Struct(">IIIIBc")
_PYZ_HEADER_BYTES = 12
_CODE = b"sMm"  # marshalled code without a header: scripts, packages, modules
_MODULE, _PACKAGE, _NAMESPACE = 0, 1, 3
_PYC_FLAGS = bytes(12)  # flags, time, size: PEP 552
_UNKNOWN_MAGIC = b"\0\0\r\n"


def bounds(view: memoryview, cookie_at: int) -> tuple[int, int] | None:
    """Where the archive whose cookie stands there begins and ends, or None for a cookie without sense."""
    for form in _COOKIES:
        end = cookie_at + form.size
        if end > len(view):
            continue
        _, size, table_at, table_bytes, version = form.unpack_from(view, cookie_at)[:5]
        start = end - size
        fits = table_at + table_bytes + form.size <= size
        if start >= 0 and fits and table_bytes >= _ROW.size and 20 <= version < 1000:
            return start, end
    return None


def end_of_carchive(view: memoryview, start: int) -> int | None:
    """Behind the cookie that says that its archive begins there."""
    for mark in re.compile(re.escape(COOKIE)).finditer(view, start):
        found = bounds(view, mark.start())
        if found is not None and found[0] == start:
            return found[1]
    return None


def read_carchive(source: Source) -> Iterator[Entry]:
    """Every entry, inflated; scripts get the header that makes a `.pyc` of them."""
    view = source.view
    cookie_at = bytes(view[-_COOKIES[0].size :]).rfind(COOKIE) + max(0, len(view) - _COOKIES[0].size)
    found = bounds(view, cookie_at)
    if found is None:
        raise BadArchive(Reason.CORRUPT, "the cookie at the end does not hold")
    start, end = found
    table_at, table_bytes = struct.unpack_from(">II", view, cookie_at + 12)
    source.account.structure(cookie_at, end - cookie_at)
    source.account.structure(start + table_at, table_bytes)
    rows = list(_rows(view[start + table_at : start + table_at + table_bytes]))
    magic = _magic(view, start, rows)
    budget = [2 * len(view) + MiB]
    for at, packed, size, is_packed, kind, name in rows:
        member = Member(name=name_of(name), size=size, method="deflate" if is_packed else "stored")
        yield _entry(source, member, (start + at, packed), budget, header=magic if kind in _CODE else b"")


def _rows(table: memoryview) -> Iterator[tuple[int, int, int, int, bytes, bytes]]:
    at = 0
    while at + _ROW.size <= len(table):
        length, place, packed, size, is_packed, kind = _ROW.unpack_from(table, at)
        if length < _ROW.size:
            raise BadArchive(Reason.CORRUPT, f"the table of contents breaks off at its byte {at}")
        yield place, packed, size, is_packed, kind, bytes(table[at + _ROW.size : at + length]).rstrip(b"\0")
        at += length


def _magic(view: memoryview, start: int, rows: list[tuple[int, int, int, int, bytes, bytes]]) -> bytes:
    """The header of `.pyc` files, with the interpreter's number from the PYZ."""
    for at, _, _, _, kind, _ in rows:
        if kind in b"zZ" and bytes(view[start + at : start + at + 4]) == b"PYZ\0":
            return bytes(view[start + at + 4 : start + at + 8]) + _PYC_FLAGS
    return _UNKNOWN_MAGIC + _PYC_FLAGS


def _entry(
    source: Source, member: Member, place: tuple[int, int], budget: list[int], *, header: bytes
) -> Entry:
    """An entry at an offset with so many packed bytes; what overlaps too often is refused."""
    at, packed = place
    budget[0] -= packed
    if budget[0] < 0:
        message = "the entries are together larger than the archive"
        return Entry(member, lambda _passwords: refuse(Reason.RATIO, message))
    data = source.view[at : at + packed]
    source.account.child(at, len(data))
    if header:
        member.name += ".pyc"
    is_packed = member.method == "deflate"
    return Entry(member, lambda _passwords: _opened(data, packed, header, is_packed=is_packed), at)


def _opened(data: memoryview, packed: int, header: bytes, *, is_packed: bool) -> Chunks:
    if header:
        yield header
    yield from inflated(data) if is_packed else sliced(data)
    if len(data) < packed:
        raise BadArchive(Reason.TRUNCATED, f"{len(data)} of {packed} bytes are there")


def read_pyz(source: Source) -> Iterator[Entry]:
    """Every module as a `.pyc`; old archives keep them encrypted, which does not inflate."""
    view = source.view
    table_at = int.from_bytes(view[8:_PYZ_HEADER_BYTES], "big")
    try:
        table = Marshalled(view, table_at).value()
    except (ValueError, IndexError, RecursionError) as error:
        raise BadArchive(Reason.CORRUPT, f"the table of contents does not hold: {error}") from None
    source.account.structure(0, _PYZ_HEADER_BYTES)
    source.account.structure(table_at, len(view) - table_at)
    header = bytes(view[4:8]) + _PYC_FLAGS
    budget = [2 * len(view) + MiB]
    for name, kind, at, size in _modules(table):
        member = Member(name=name_of(name), method="deflate")
        if kind != _NAMESPACE:
            code = kind in (_MODULE, _PACKAGE)
            yield _entry(source, member, (at, size), budget, header=header if code else b"")


def _modules(table: Any) -> Iterator[tuple[bytes, int, int, int]]:
    """Name, kind, offset, size of each row that has them."""
    for row in table if isinstance(table, list) else ():
        match row:
            case [bytes(name), [int(kind), int(at), int(size)]] if at >= 0 and size >= 0:
                yield name, kind, at, size
            case _:
                raise BadArchive(Reason.CORRUPT, "a row of the table of contents does not hold")


def _is_pyz(view: memoryview, offset: int) -> bool:
    """An interpreter's number, and a table that lies within."""
    magic, table_at = (
        bytes(view[offset + 6 : offset + 8]),
        int.from_bytes(view[offset + 8 : offset + 12], "big"),
    )
    return (
        magic == b"\r\n"
        and _PYZ_HEADER_BYTES <= table_at < len(view) - offset
        and bool(number(view, offset + 4, 2))
    )


FORMATS = (
    Format("pyinstaller", read_carchive),
    Format("pyz", read_pyz, (Mark(b"PYZ\0"),), _is_pyz),
)
