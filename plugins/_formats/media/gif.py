"""GIF 87a and 89a: extensions with free bytes are children, images are media (CompuServe, GIF89a)."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from plugins._formats.archives.declare import Format, Source
from plugins._formats.archives.entry import BadArchive, Entry
from stoq_core.errors import Reason

from .parts import SHORT_BYTES, made

_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_PLAIN_TEXT, _COMMENT, _APPLICATION = 0x01, 0xFE, 0xFF


def read_gif(source: Source) -> Iterator[Entry]:
    """Comments, applications' data, plain texts; to the trailer."""
    view, end = source.view, len(source.view)
    source.account.structure(0, 13)
    at = 13
    if end > 10 and view[10] & 0x80:
        size = 3 << (view[10] & 7) + 1
        source.account.media(at, size)
        at += size
    while at < end:
        kind = view[at]
        if kind == _TRAILER:
            source.account.structure(at, 1)
            return
        if kind == _EXTENSION:
            at = yield from _extension(source, at)
        elif kind == _IMAGE and at + 11 <= end:
            at = _image(source, at)
        else:
            return  # what is no block is left to the account
    raise BadArchive(Reason.TRUNCATED, "the picture has no end")


def _image(source: Source, at: int) -> int:
    flags = source.view[at + 9]
    source.account.structure(at, 10)
    start = at + 10 + (3 << (flags & 7) + 1 if flags & 0x80 else 0) + 1
    source.account.media(at + 10, start - at - 10)
    stop = _skip(source.view, start)
    source.account.media(start, stop - start)
    return stop


def _skip(view: memoryview, at: int) -> int:
    """Behind the sub-blocks that begin here, or the end."""
    end = len(view)
    while at < end and view[at]:
        at += 1 + view[at]
    return min(at + 1, end)


def _extension(source: Source, at: int) -> Generator[Entry, None, int]:
    view = source.view
    kind = view[at + 1] if at + 1 < len(view) else 0
    stop = _skip(view, at + 2)
    data = _joined(view, at + 2, stop)
    if len(data) <= SHORT_BYTES:
        source.account.structure(at, stop - at)
    else:
        source.account.child(at, stop - at)
        if kind == _APPLICATION and data[:11] == b"XMP DataXMP":
            data = bytes(view[at + 14 : stop])  # its packet stands there without lengths
        name = {_COMMENT: "comment", _APPLICATION: "application", _PLAIN_TEXT: "text"}.get(kind, f"{kind:#x}")
        yield made(name, data[11:] if kind == _APPLICATION and data[:3] != b"XMP" else data, at=at)
    return stop


def _joined(view: memoryview, at: int, stop: int) -> bytes:
    parts = []
    while at < stop and view[at]:
        parts.append(bytes(view[at + 1 : at + 1 + view[at]]))
        at += 1 + view[at]
    return b"".join(parts)


FORMATS = (Format("gif", read_gif),)
