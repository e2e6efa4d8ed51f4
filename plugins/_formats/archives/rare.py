"""Rare archives that a program reads: help files and firmware volumes by 7-Zip, old archives by unar."""

from __future__ import annotations

from collections.abc import Iterator

from stoq_core.errors import Reason

from .android import stored
from .by_tool import read_by_7z
from .declare import Format, Mark, Reader, Source, number
from .entry import BadArchive, Entry, Member, sliced

_ARC_MARK, _JMOD_BYTES = 0x1A, 4


def _by_7z(kind: str) -> Reader:
    return lambda source: read_by_7z(source.job, source.payload, kind, source.passwords)


def read_by_unar(source: Source) -> Iterator[Entry]:
    """All members' bytes one after the other, which is how unar writes them, as one member."""
    run = source.job.tool("unar", "unpack", source.payload.body, output_bytes=source.job.total_left)
    body = run.stdout
    if not run.code:
        source.account.child(0, _end(source.view))
    if body.size:
        member = Member(name="members", size=body.size)
        yield Entry(member, lambda _passwords: sliced(body.view()))
    if run.code or not body.size:
        raise BadArchive(Reason.CORRUPT, "unar cannot read all of the archive")


def read_jmod(source: Source) -> Iterator[Entry]:
    """Java's module files are zips behind a mark and a version of four bytes (JEP 261)."""
    source.account.structure(0, _JMOD_BYTES)
    yield stored(source, "module.zip", _JMOD_BYTES, len(source.view) - _JMOD_BYTES)


def _end(view: memoryview) -> int:
    """Where an ARC ends, by its members' sizes; of the others nobody here knows: unar reads what it can."""
    at = 0
    while number(view, at, 1) == _ARC_MARK and number(view, at + 1, 1):
        at += (25 if number(view, at + 1, 1) == 1 else 29) + number(view, at + 15, 4)
    return min(at + 2, len(view)) if at else len(view)


def _is_chm(view: memoryview, start: int) -> bool:
    """Version 3, a header of 96 bytes."""
    return number(view, start + 4, 4) in (2, 3) and number(view, start + 8, 4) in (88, 96)


FORMATS = (
    Format("chm", _by_7z("chm"), (Mark(b"ITSF"),), _is_chm),
    Format("lit", _by_7z("hxs"), (Mark(b"ITOLITLS"),)),
    Format("jmod", read_jmod, (Mark(b"JM\1\0PK\3\4"),), container=False),
    Format("uefi", _by_7z("uefif")),
    *(Format(label, read_by_unar) for label in ("arc", "zoo", "stuffit", "alz", "dms")),
)
