"""Python's compiled modules: constants out of marshalled code, walked without recursion, never run.

Python's marshal.c; the header by PEP 3147, PEP 552 and the versions before.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from plugins._text.density import is_dense
from stoq_core.errors import Reason

from .declare import Format, Mark, Source
from .entry import BadArchive, Entry, Member, sliced

_MIN_BYTES = 16
"""Constants of bytes from here on are children; of text, which stands as it is, those of 4 KiB and more."""
_MIN_TEXT = 4_096
_MOST_OBJECTS = 5_000_000
_FLAG = 0x80
_FIXED = {
    b"i": 4, b"I": 8, b"g": 8, b"y": 16, b"r": 4, b"R": 4,
    b"0": 0, b"N": 0, b"F": 0, b"T": 0, b"S": 0, b".": 0,
}  # fmt: skip
_LONG_TEXT = frozenset((b"t", b"u", b"a", b"A"))
_SHORT_TEXT = frozenset((b"z", b"Z"))
_LISTS = frozenset((b"(", b")", b"[", b"<", b">"))


class _Layout(NamedTuple):
    """How many numbers a code object begins with, and the objects behind them; `i` is a number among them."""

    numbers: int
    objects: tuple[str, ...]


_NEW = _Layout(5, ("code", "o", "o", "o", "code", "o", "o", "o", "i", "code", "code"))  # 3.11 on
_OLD_OBJECTS = ("code", "o", "o", "o", "o", "o", "o", "o", "i", "code")
_LAYOUTS = (_NEW, _Layout(6, _OLD_OBJECTS), _Layout(5, _OLD_OBJECTS), _Layout(4, _OLD_OBJECTS))


class _String(NamedTuple):
    """Where a string of bytes or text stands, and whether it is a code object's own."""

    at: int
    size: int
    kind: str


def read_pyc(source: Source) -> Iterator[Entry]:
    """Constants of bytes and long texts; what stands behind the code is left to the account."""
    for start in (16, 12, 8):
        if start < len(source.view) and source.view[start] & ~_FLAG == ord("c"):
            source.account.structure(0, min(start, 8))
            if start > 8 and len(source.view) > start:
                source.account.structure(8, start - 8)
            yield from _objects(source, start)
            return
    raise BadArchive(Reason.CORRUPT, "there is no code behind the header")


def read_marshal(source: Source) -> Iterator[Entry]:
    """The same without a header, as `marshal.dumps` writes it."""
    yield from _objects(source, 0)


def _objects(source: Source, start: int) -> Iterator[Entry]:
    """By the layout of code objects that leads to an end."""
    problem = ""
    for layout in _LAYOUTS:
        try:
            strings, end = _walk(source.view, start, layout)
        except (ValueError, IndexError, struct.error) as error:
            problem = str(error)
            continue
        source.account.structure(start, end - start)
        for place, string in enumerate(strings):
            data = source.view[string.at : string.at + string.size]
            if _is_child(string, data):
                source.account.child(string.at, string.size)
                member = Member(name=f"constant-{place}", size=string.size, kind=string.kind)
                yield Entry(member, lambda _passwords, data=data: sliced(data), string.at)  # type: ignore[misc]
        return
    raise BadArchive(Reason.CORRUPT, f"the code does not hold: {problem}")


def _is_child(string: _String, data: memoryview) -> bool:
    if string.kind == "code":
        return is_dense(data)  # which no instructions are
    return string.size >= (_MIN_BYTES if string.kind == "bytes" else _MIN_TEXT)


def _walk(view: memoryview, at: int, layout: _Layout) -> tuple[list[_String], int]:
    """All strings, and where the object ends. The stack says what comes: objects, numbers, parts of code."""
    found: list[_String] = []
    waiting = ["o"]
    for _ in range(_MOST_OBJECTS):
        if not waiting:
            return found, at
        expected = waiting.pop()
        if expected == "i":
            at += 4
            continue
        kind, at = bytes((view[at] & ~_FLAG,)), at + 1
        if expected == "until" and kind != b"0":
            waiting.append("until")
        if kind in _FIXED:
            at += _FIXED[kind]
        elif kind == b"c":
            waiting += reversed((*["i"] * layout.numbers, *layout.objects))
        elif kind == b"{":
            waiting.append("until")
        elif kind in _LISTS:
            count, at = _count(view, at, short=kind == b")")
            waiting += ["o"] * min(count, len(view))
            _check(len(waiting) <= len(view) - at, f"{count} objects at offset {at}")
        else:
            at = _string(view, at, kind, expected, found)
    _check(holds=False, message="more objects than are read")
    return found, at


def _check(holds: bool, message: str) -> None:  # noqa: FBT001 - private
    if not holds:
        raise ValueError(message)


def _count(view: memoryview, at: int, *, short: bool) -> tuple[int, int]:
    if short:
        return view[at], at + 1
    count: int = struct.unpack_from("<i", view, at)[0]
    _check(count >= 0, f"{count} bytes or objects at offset {at}")
    return count, at + 4


def _string(view: memoryview, at: int, kind: bytes, expected: str, found: list[_String]) -> int:
    """Behind a string, or a number that is stored as one."""
    if kind == b"f":
        return at + 1 + view[at]
    if kind == b"x":
        at += 1 + view[at]
        return at + 1 + view[at]
    if kind == b"l":
        digits: int = struct.unpack_from("<i", view, at)[0]
        return at + 4 + 2 * abs(digits)
    _check(kind == b"s" or kind in _LONG_TEXT or kind in _SHORT_TEXT, f"no object is of the kind {kind!r}")
    size, at = _count(view, at, short=kind in _SHORT_TEXT)
    _check(at + size <= len(view), f"a string of {size} bytes at offset {at}")
    name = "code" if expected == "code" else "bytes" if kind == b"s" else "text"
    if size >= _MIN_BYTES:
        found.append(_String(at, size, name))
    return at + size


def _is_code(view: memoryview, offset: int) -> bool:
    """Behind five numbers, or six before 3.11, stands a string of code; runs of pixels have none there."""
    return any(
        bytes(view[offset + at : offset + at + 1]) in (b"s", b"\xf3") and not view[offset + at + 4]
        for at in (21, 25)
        if offset + at + 4 < len(view)
    )


FORMATS = (
    Format("pyc", read_pyc),
    Format("marshal", read_marshal, (Mark(b"\xe3" + bytes(8)),), _is_code),
)
