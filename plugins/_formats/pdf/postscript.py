"""Find what PostScript programs decode from themselves (Language Reference 3, 3.13), and the parts of EPS."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from .filters import Filter

BINARY_MARK = b"\xc5\xd0\xd3\xc6"
_FILTERS = re.compile(rb"(?:/([A-Za-z0-9]{2,20}Decode)\s[^/]{0,200}?\bfilter\b\s*)+")
_FILTER = re.compile(rb"/([A-Za-z0-9]{2,20}Decode)\b")
_KNOWN = frozenset((b"ASCII85Decode", b"ASCIIHexDecode", b"FlateDecode", b"LZWDecode", b"RunLengthDecode"))
_LINE = re.compile(rb"\r\n?|\n")
_LEAST_LOOK_BEHIND = 400
_A85 = re.compile(rb"<~([\x00-\x20\x21-\x75z]{16,})~>")
_MOST = 2_000


class Packed(NamedTuple):
    """Data that a program reads through filters: where it stands, and the filters in order."""

    start: int
    end: int
    chain: list[Filter]


def packed(view: memoryview) -> Iterator[Packed]:
    """Each run of data behind `currentfile … filter`, and each string in ASCII85; linear in the program."""
    past = 0
    for found in _FILTERS.finditer(view):
        names = [name for name in _FILTER.findall(found.group()) if name in _KNOWN]
        line = _LINE.search(view, found.end(), found.end() + _LEAST_LOOK_BEHIND)
        if names and line is not None and found.start() >= past:
            end = past = _end(view, line.end(), names[0])
            yield Packed(line.end(), end, [(name, {}) for name in names])
    for found in _A85.finditer(view):
        if found.start() >= past:
            yield Packed(found.start(1), found.end(1), [(b"ASCII85Decode", {})])


def _end(view: memoryview, start: int, first: bytes) -> int:
    """Text encodings say where they end; of others the decoder knows."""
    mark = {b"ASCII85Decode": b"~>", b"ASCIIHexDecode": b">"}.get(first)
    found = re.compile(mark).search(view, start) if mark else None
    return found.end() if found else len(view)


def parts(head: bytes, size: int) -> list[tuple[str, int, int]]:
    """Kind, offset and size of what is in a binary EPS (EPSF 3.0, 5.2); none for others."""
    if not head.startswith(BINARY_MARK) or len(head) < 30:
        return []
    numbers = struct.unpack_from("<6I", head, 4)
    found = zip(("ps", "wmf", "tiff"), numbers[::2], numbers[1::2], strict=True)
    return [(kind, at, min(length, size - at)) for kind, at, length in found if length and at < size]
