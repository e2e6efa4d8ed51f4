"""Pictures that stand within page contents (ISO 32000-1, 8.9.7), where they are packed: their plain bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .damage import Damaged, Meter
from .filters import IMAGES, Sliced, chain_of, decoded, full_name
from .syntax import Name

_BEGINS = re.compile(rb"BI[\s/]([\s\S]{0,600}?)ID\s")
_FILTERS = re.compile(rb"/F(?:ilter)?\s*(\[[^\]]{0,400}\]|/[A-Za-z0-9]{1,20})")
_NAME = re.compile(rb"/([A-Za-z0-9]{1,20})")
_ENDS = re.compile(rb"\sEI(?=\s|\Z)")
_FREE_WORK = 1 << 20
_BINARY = (b"FlateDecode", b"LZWDecode", b"RunLengthDecode")


def inline(content: bytes, meter: Meter) -> Iterator[bytes]:
    """The plain bytes of each packed picture; those of image filters are media, and stay where they are."""
    work = 4 * len(content) + _FREE_WORK
    at = 0
    while work > 0 and (found := _BEGINS.search(content, at)) is not None:
        at = found.end()
        filters = _FILTERS.search(found[1])  # "BI" within another word has none
        names = [Name(name) for name in _NAME.findall(filters[1])] if filters else []
        if not names or all(full_name(name) in IMAGES for name in names):
            continue
        end = _ENDS.search(content, at)
        stop = end.start() if end and full_name(names[0]) not in _BINARY else len(content)
        source = Sliced(memoryview(content)[at:stop], meter)
        try:
            yield b"\n"
            for chunk in decoded(source, chain_of(names, None), meter):
                work -= len(chunk)
                yield chunk
        except Damaged:
            pass  # what is no picture, or a damaged one: page contents are searched as they are, too
        used = stop - at - source.left
        work -= used
        at += used if source.left else 0
