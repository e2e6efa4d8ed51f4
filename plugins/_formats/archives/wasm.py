"""WebAssembly: custom sections and segments of data are children (Core Specification 2.0, 5.5)."""

from __future__ import annotations

from collections.abc import Iterator

from plugins._text.density import is_dense
from stoq_core.errors import Reason

from .android import stored
from .declare import Format, Mark, Source
from .entry import BadArchive, Entry, name_of

_CUSTOM, _DATA, _LAST = 0, 11, 13
_MIN_BYTES = 16
_MOST_SEGMENTS = 100_000
_CONSTANTS = {0x41: "i32", 0x42: "i64", 0x23: "global"}


def read_wasm(source: Source) -> Iterator[Entry]:
    """Sections in order; code, types and tables are structure, what is no section is left."""
    view, at = source.view, 8
    source.account.structure(0, 8)
    while at < len(view):
        start, kind = at, view[at]
        size, body = _number(view, at + 1)
        end = body + size
        if kind > _LAST:
            return
        if end > len(view):
            raise BadArchive(Reason.TRUNCATED, "the module ends within a section")
        if kind == _CUSTOM:
            length, name_at = _number(view, body)
            content = name_at + length
            if content > end:
                return
            name = name_of(bytes(view[name_at:content]))
            source.account.structure(start, content - start if length <= 64 else name_at - start)
            if end > content:
                yield stored(source, name or "custom", content, end - content)
        elif kind == _DATA:
            yield from _segments(source, start, body, end)
        elif not is_dense(view[body:end]):  # which code and types are not
            source.account.structure(start, end - start)
        else:
            source.account.structure(start, body - start)
        at = end


def _segments(source: Source, start: int, at: int, end: int) -> Iterator[Entry]:
    """5.5.14: active ones with an offset that is computed, passive ones without."""
    count, at = _number(source.view, at)
    source.account.structure(start, at - start)
    for place in range(min(count, _MOST_SEGMENTS)):
        head = at
        flags, at = _number(source.view, at)
        if flags == 2:
            _, at = _number(source.view, at)
        if flags != 1:
            at = _expression(source.view, at, end)
        size, at = _number(source.view, at)
        if at + size > end:
            return
        source.account.structure(head, at - head)
        if size >= _MIN_BYTES:
            yield stored(source, f"data-{place}", at, size)
        else:
            source.account.structure(at, size)
        at += size


def _expression(view: memoryview, at: int, end: int) -> int:
    """Behind constants and their `end`."""
    while at < end and view[at] != 0x0B:
        _, at = _number(view, at + 1) if view[at] in _CONSTANTS else (0, at + 1)
    return at + 1


def _number(view: memoryview, at: int) -> tuple[int, int]:
    """LEB128 of up to ten bytes."""
    value = 0
    for n in range(10):
        byte = view[at + n]
        value |= (byte & 0x7F) << 7 * n
        if byte < 0x80:
            return value, at + n + 1
    raise BadArchive(Reason.CORRUPT, f"a number at offset {at} does not end")


FORMATS = (Format("wasm", read_wasm, (Mark(b"\0asm\1\0\0\0"),)),)
