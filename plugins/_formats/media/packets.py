"""Files without chunks: MPEG transport and program streams, portable pixmaps, Apple's CAF."""

from __future__ import annotations

import re
from collections.abc import Iterator

from plugins._formats.archives.declare import Format, Source
from plugins._formats.archives.entry import BadArchive, Entry
from stoq_core.errors import Reason

from .parts import free

_PACKET, _SYNC = 188, 0x47
_PACK, _END, _SYSTEM = 0xBA, 0xB9, 0xBB
_PIXMAP = re.compile(rb"P([456])(?:\s+(?:#[^\n]*\n\s*)*(\d{1,6}))(?:\s+(\d{1,6}))(?:\s+(\d{1,5}))?\s")


def read_transport(source: Source) -> Iterator[Entry]:
    """ISO 13818-1, 2.4.3: packets of 188 bytes, each with its sync byte, to the first without."""
    view, at = source.view, 0
    while at + _PACKET <= len(view) and view[at] == _SYNC:
        at += _PACKET
    source.account.media(0, at)
    yield from ()


def read_program(source: Source) -> Iterator[Entry]:
    """ISO 13818-1, 2.5.3: packs and packets with their lengths, to the end code or what is none."""
    view, at = source.view, 0
    while bytes(view[at : at + 3]) == b"\0\0\1" and at + 6 <= len(view):
        kind = view[at + 3]
        if kind == _END:
            source.account.structure(at, 4)
            return
        if kind == _PACK:
            size = 14 + (view[at + 13] & 7) if view[at + 4] >> 6 == 1 else 12
        elif kind >= _SYSTEM:
            size = 6 + int.from_bytes(view[at + 4 : at + 6])
        else:
            return
        if at + size > len(view):
            raise BadArchive(Reason.TRUNCATED, "the file ends within a packet")
        source.account.media(at, size)
        at += size
    yield from ()


def read_pixmap(source: Source) -> Iterator[Entry]:
    """PBM, PGM, PPM: a header of text, then pixels."""
    found = _PIXMAP.match(source.view[:4096])
    if not found:
        raise BadArchive(Reason.CORRUPT, "the header does not hold")
    width, height, depth = int(found[2]), int(found[3]), int(found[4] or 1)
    start = found.end() if found[1] != b"4" else found.end(3) + 1
    row = (
        (width + 7) // 8 if found[1] == b"4" else width * (3 if found[1] == b"6" else 1) * (1 + (depth > 255))
    )
    source.account.structure(0, start)
    source.account.media(start, row * height)
    yield from ()


def read_caf(source: Source) -> Iterator[Entry]:
    """Chunks behind a name and a size of eight bytes; -1 is to the end."""
    view, at = source.view, 8
    source.account.structure(0, 8)
    while at + 12 <= len(view) and bytes(view[at : at + 4]).isalnum():
        name, size = bytes(view[at : at + 4]), int.from_bytes(view[at + 4 : at + 12], signed=True)
        size = len(view) - at - 12 if size < 0 else size
        if at + 12 + size > len(view):
            raise BadArchive(Reason.TRUNCATED, "the file ends within a chunk")
        source.account.structure(at, 12)
        if name in (b"data", b"pakt"):
            source.account.media(at + 12, size)
        else:
            yield from free(source, name.decode(), at + 12, size)
        at += 12 + size


FORMATS = (
    Format("mpegts", read_transport), Format("mpegps", read_program), Format("pnm", read_pixmap),
    Format("caf", read_caf),
)  # fmt: skip
