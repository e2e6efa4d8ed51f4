"""Apple's binary property lists: data values are children (CFBinaryPList.c); each object once."""

from __future__ import annotations

from collections.abc import Iterator

from stoq_core.errors import Reason

from .android import stored
from .declare import Format, Mark, Source
from .entry import BadArchive, Entry

_TRAILER = 32
_MOST_OBJECTS = 2_000_000
_MIN_BYTES = 16
_NUMBER, _REAL, _DATE, _DATA, _ASCII, _UTF16, _UTF8 = 1, 2, 3, 4, 5, 6, 7
_ARRAY, _ORDERED, _SET, _DICT = 10, 11, 12, 13


def read_plist(source: Source) -> Iterator[Entry]:
    """Objects as the table of offsets names them; what it does not name is left to the account."""
    view, end = source.view, len(source.view) - _TRAILER
    if end < 8:
        raise BadArchive(Reason.TRUNCATED, "the list has no trailer")
    width, refs = view[end + 6], view[end + 7]
    count, table = (int.from_bytes(view[end + n : end + n + 8]) for n in (8, 24))
    if not 1 <= width <= 8 or count > _MOST_OBJECTS or table + width * count > end:
        raise BadArchive(Reason.CORRUPT, "the table of objects does not hold")
    source.account.structure(0, 8)
    source.account.structure(table, width * count)
    source.account.structure(end, _TRAILER)
    seen: set[int] = set()
    for place in range(count):
        at = int.from_bytes(view[table + width * place : table + width * (place + 1)])
        if at in seen or not 8 <= at < table:
            continue
        seen.add(at)
        yield from _object(source, at, table, refs)


def _object(source: Source, at: int, table: int, refs: int) -> Iterator[Entry]:
    view = source.view
    kind, size, body = view[at] >> 4, view[at] & 15, at + 1
    if kind in (_NUMBER, _REAL, _DATE, 0, 8):
        length = {0: 0, _DATE: 8, 8: size + 1}.get(kind, 1 << size)
        source.account.structure(at, 1 + length if length <= 16 else 1)
        return
    if size == 15:
        bytes_ = 1 << (view[body] & 3)
        size, body = int.from_bytes(view[body + 1 : body + 1 + bytes_]), body + 1 + bytes_
    each = {_DATA: 1, _ASCII: 1, _UTF8: 1, _UTF16: 2, _DICT: 2 * refs}.get(kind, refs)
    length = size * each
    if body + length > table:
        raise BadArchive(Reason.CORRUPT, f"the object at offset {at} reaches behind the objects")
    source.account.structure(at, body - at)
    if kind == _DATA and size >= _MIN_BYTES:
        yield stored(source, f"data-{at:x}", body, length)
    else:
        source.account.structure(body, length)


FORMATS = (Format("bplist", read_plist, (Mark(b"bplist00"),)),)
