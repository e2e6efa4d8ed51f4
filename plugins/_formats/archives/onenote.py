"""OneNote sections: files and pictures kept in them ([MS-ONESTORE] 2.6.13, FileDataStoreObject)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stoq_core.errors import Reason

from .android import stored
from .declare import Format, Mark, Source, number
from .entry import BadArchive, Entry

_HEADER = bytes.fromhex("e716e3bd65261145a4c48d4d0b7a9eac")
_HEAD_BYTES = 36
_SECTION = bytes.fromhex("e4525c7b8cd8a74daeb15378d02996d3")
_NOTEBOOK = bytes.fromhex("a12fff43d9ef764c9ee210ea5722765f")
_PACKAGED = bytes.fromhex("3fdd9a101b91f549a5d01791edc8aed8")


def read_onenote(source: Source) -> Iterator[Entry]:
    """Each object in full; texts and tables around them are left to the account, as pieces of their own."""
    view, end = source.view, 0
    source.account.structure(0, 16)
    for found in re.finditer(re.escape(_HEADER), view):
        at = found.start()
        size = number(view, at + 16, 8)
        if at < end:
            continue
        if at + _HEAD_BYTES + size > len(view):
            if size < 1 << 40 and at + _HEAD_BYTES < len(view):
                yield stored(source, f"object-{at:x}", at + _HEAD_BYTES, len(view) - at - _HEAD_BYTES)
            raise BadArchive(Reason.TRUNCATED, f"the object at offset {at} is longer than the file")
        source.account.structure(at, _HEAD_BYTES)
        if size:
            yield stored(source, f"object-{at:x}", at + _HEAD_BYTES, size)
        end = at + _HEAD_BYTES + size


FORMATS = (Format("onenote", read_onenote, (Mark(_SECTION), Mark(_NOTEBOOK), Mark(_PACKAGED))),)
