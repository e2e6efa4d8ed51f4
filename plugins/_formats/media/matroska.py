"""Matroska and WebM: elements within elements (RFC 8794, RFC 9559); attachments are children."""

from __future__ import annotations

from collections.abc import Iterator

from plugins._formats.archives.declare import Format, Source
from plugins._formats.archives.entry import BadArchive, Entry
from stoq_core.errors import Reason

from .parts import SHORT_BYTES, free, part

_FOLDERS = frozenset((
    0x1A45DFA3, 0x18538067, 0x114D9B74, 0x4DBB, 0x1549A966, 0x1F43B675, 0xA0, 0x1654AE6B, 0xAE, 0xE0, 0xE1,
    0x6D80,
    0x6240, 0x5034, 0x5035, 0x1C53BB6B, 0xBB, 0xB7, 0x1941A469, 0x61A7, 0x1043A770, 0x45B9, 0xB6, 0x80,
    0x1254C367,
    0x7373, 0x63C0, 0x67C8, 0x75A1, 0xA6, 0x8E, 0xE8, 0x55B0, 0x55D0, 0x7670, 0x8F, 0x69C2, 0x6924, 0xDB,
    0x6944, 0x6911,
))  # fmt: skip
_AT_TOP = frozenset((0x1A45DFA3, 0x18538067, 0xEC, 0xBF))
_MEDIA = frozenset((0xA3, 0xA1, 0xAF, 0xA5))
_VOIDS = frozenset((0xEC, 0xBF))
_FILE_DATA, _FILE_NAME = 0x465C, 0x466E
_SHORT_NUMBERS = 8
_MOST_ELEMENTS = 2_000_000
_MOST_DEPTH = 12


def read_matroska(source: Source) -> Iterator[Entry]:
    """Elements in order, without recursion; a master of unknown size goes to its parent's end."""
    waiting = [(0, len(source.view))]
    names, ended = ["attachment"], 0
    for _ in range(_MOST_ELEMENTS):
        if not waiting:
            return
        at, end = waiting.pop()
        head = _head(source.view, at, end)
        if head is None:
            continue  # what is no element is left to the account
        kind, body, size = head
        stop = end if size < 0 else body + size
        if not waiting and kind not in _AT_TOP and at >= ended:
            return
        if stop > end:
            raise BadArchive(Reason.TRUNCATED, "the file ends within an element")
        source.account.structure(at, body - at)
        if kind in _AT_TOP:
            ended = max(ended, stop)
        if stop < end:
            waiting.append((stop, end))
        if kind not in _FOLDERS or len(waiting) > 4 * _MOST_DEPTH:
            yield from _leaf(source, kind, body, stop - body, names)
        elif stop > body:
            waiting.append((body, stop))


def _leaf(source: Source, kind: int, body: int, size: int, names: list[str]) -> Iterator[Entry]:
    """One element; `names` ends with the last name of an attachment."""
    if kind in _MEDIA:
        source.account.media(body, size)
    elif kind == _FILE_DATA:
        yield part(source, names[-1], body, size)
    elif size <= _SHORT_NUMBERS:
        source.account.structure(body, size)
    elif kind not in _VOIDS:  # these are left to the account
        if kind == _FILE_NAME and size <= SHORT_BYTES:
            name = bytes(source.view[body : body + size]).decode("utf-8", "replace").strip("\0")
            names[:] = [name or names[-1]]
        yield from free(source, f"element-{kind:x}", body, size)


def _head(view: memoryview, at: int, end: int) -> tuple[int, int, int] | None:
    """Id, where the body begins, its size (-1 for unknown); None where none stands."""
    if at >= end or not view[at] or view[at] < 0x10:
        return None
    id_bytes = 9 - view[at].bit_length()
    place = at + id_bytes
    if place >= end or not view[place]:
        return None
    size_bytes = 9 - view[place].bit_length()
    body = place + size_bytes
    if body > end:
        return None
    raw = int.from_bytes(view[place:body]) & (1 << 7 * size_bytes) - 1
    size = -1 if raw == (1 << 7 * size_bytes) - 1 else raw
    return int.from_bytes(view[at:place]), body, size


FORMATS = (Format("mkv", read_matroska),)
