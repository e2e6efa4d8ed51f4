"""Find Windows executables that stand inside other bytes, and take each out.

Layout: Microsoft, *PE Format*: MS-DOS stub (`e_lfanew` at 0x3C) and Signature.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, NamedTuple

from plugins._formats.executables.pe.extent import end_of_pe
from plugins._formats.filetype import identify
from stoq_core.job import Job
from stoq_core.limits import MiB
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_SMALLEST_PE = 97  # what Windows still starts; the headers overlap in it
_DOS_BYTES, _COFF_BYTES = 64, 24
_E_LFANEW, _SIGNATURE = 0x3C, int.from_bytes(b"PE\0\0", "little")
_PE = re.compile(rb"PE\x00\x00")
_U32 = struct.Struct("<I")
_NOT_A_WRAPPING = {"executable", "archive", "unknown", "data", "empty"}


class PecarveOptions(Options, frozen=True):
    """What is worth taking out."""

    min_bytes: Annotated[int, about("shortest executable to take out, bytes", ge=1)] = _SMALLEST_PE


class _Found(NamedTuple):
    """Where an executable begins, where its PE signature stands, and where it ends."""

    at: int
    pe: int
    end: int


class Pecarve(Worker[PecarveOptions]):
    r"""Each executable is a child with its `offset`; there is no result.

    Where `carve` has found some already, those are taken out and no others are looked for. `MZ` is
    confirmed by `e_lfanew` and `PE\0\0`. A child ends where its section table, its symbols and its
    certificates end, and at the payload's end at the latest. The search goes on behind it, so no byte is
    taken out twice, and what stands inside an executable comes out of that child. A payload that is an
    executable itself is not its own child.
    """

    findings = {
        "pe_in_document": (
            200,
            "a Windows executable stands inside a document, image, sound, mail, text or script",
            ("T1027.009",),
        ),
    }

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield a child an executable, and the finding where it stands in what is no program."""
        view = payload.view()
        group = ""
        known = [at for meta in job.dispatch_meta for at in meta.get("offsets", ())]
        for found in _at(view, known) if known else _executables(view):
            if found.end - found.at < self.options.min_bytes:
                continue
            if not group:
                group = identify(view).group
                if group not in _NOT_A_WRAPPING:
                    yield self.finding("pe_in_document", f"at offset {found.at} of a {group}")
            yield job.child(_chunks(view, found.at, found.end), offset=found.at)


def _chunks(view: memoryview, start: int, end: int) -> Iterator[memoryview]:
    for at in range(start, end, MiB):
        yield view[at : min(at + MiB, end)]


def _at(view: memoryview, offsets: list[int]) -> Iterator[_Found]:
    """The executables that begin at these places."""
    for at in sorted(set(offsets)):
        pe = at + _U32.unpack_from(view, at + _E_LFANEW)[0]
        yield _Found(at, pe, end_of_pe(view, at, pe))


@cache
def _marks(highest: int) -> re.Pattern[bytes]:
    """`MZ` whose `e_lfanew` has a top byte up to this: the others point behind every end."""
    return re.compile(rb"MZ(?=[\x00-\xff]{61}[\x00-" + re.escape(bytes([highest])) + rb"])")


def _executables(view: memoryview) -> Iterator[_Found]:
    """Each executable but the payload itself, none within another; one pass over the bytes."""
    size = len(view)
    last_pe = size - _COFF_BYTES
    header, word = -1, _U32.unpack_from
    if size >= _DOS_BYTES and bytes(view[:2]) == b"MZ":
        header = int(word(view, _E_LFANEW)[0])
    if _PE.search(view) is None:  # far cheaper than asking each `MZ`, of which a file may be full
        return
    ends = 1
    for mark in _marks(min(size >> 24, 0xFF)).finditer(view, 1):
        at = mark.start()
        if at < ends:
            continue
        pe = at + word(view, at + _E_LFANEW)[0]
        if pe > last_pe or word(view, pe)[0] != _SIGNATURE or pe in (header, at):
            continue
        found = _Found(at, pe, end_of_pe(view, at, pe))
        ends = found.end
        yield found
