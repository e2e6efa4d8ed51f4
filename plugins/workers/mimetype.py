"""The content type, from the bytes and never from the name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Literal

import msgspec

from plugins._filetype import UNKNOWN, FileType, identify
from stoq_core.job import Job
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_LIBRARY_BYTES = 4_096


class MimetypeOptions(Options, frozen=True):
    """Who decides what the table does not know."""

    engine: Annotated[
        Literal["puremagic", "table"], about("puremagic asks the library where the table is silent")
    ] = "puremagic"


class MimetypeResult(msgspec.Struct, frozen=True):
    """`mimetype`, stoQ's short `label`, the usual `extension`, `group`, and `confidence` from 0 to 1."""

    mimetype: str
    label: str
    extension: str
    group: str
    confidence: float


class Mimetype(Worker[MimetypeOptions]):
    """A table of prefixes decides in under a microsecond; the library is asked about the rest."""

    libraries = {"puremagic": "puremagic (in requirements.txt)"}
    result = MimetypeResult

    def warm(self) -> None:
        """Read the library's table."""
        if self.options.engine == "puremagic":
            _marks()

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield one `MimetypeResult`."""
        kind = identify(payload.view())
        if kind is UNKNOWN and self.options.engine == "puremagic":
            kind = _by_library(payload.head(_LIBRARY_BYTES))
        yield MimetypeResult(*kind)


@cache
def _marks() -> re.Pattern[bytes]:
    """All marks that the library looks for from the start: it compares each in turn, 0.4 ms a payload."""
    from puremagic import main as library

    found: dict[int, set[bytes]] = {}
    for row in library.magic_header_array:
        if 0 <= row.offset < _LIBRARY_BYTES:
            found.setdefault(row.offset, set()).add(re.escape(row.byte_match))
    places = [b".{%d}(?:%b)" % (offset, b"|".join(sorted(marks))) for offset, marks in sorted(found.items())]
    return re.compile(b"|".join(places), re.DOTALL)


def _has_mark(head: bytes) -> bool:
    from puremagic import main as library

    return _marks().match(head) is not None or any(
        head.startswith(row.byte_match, len(head) + row.offset)
        for row in library.magic_footer_array
        if len(head) + row.offset >= 0
    )


def _by_library(head: bytes) -> FileType:
    import puremagic

    if not _has_mark(head):
        return UNKNOWN
    try:
        found = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError, IndexError, OSError):
        return UNKNOWN
    best = next((one for one in found if one.mime_type and one.confidence >= 0.5), None)
    if best is None:
        return UNKNOWN
    extension = best.extension.lstrip(".")
    return FileType(
        best.mime_type, extension or "unknown", extension, best.mime_type.partition("/")[0], best.confidence
    )
