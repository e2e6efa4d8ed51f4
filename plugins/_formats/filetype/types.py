"""What a file type is, and how the table of them states its marks."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

Check = Callable[[bytes, memoryview], bool]
"""Of the first 4 KiB and of all bytes: whether the header holds what its format says."""


class FileType(NamedTuple):
    """A content type, stoQ's short label for it, the usual extension, its group, and who said so."""

    mimetype: str
    label: str
    extension: str
    group: str
    confidence: float = 1.0


class Mark(NamedTuple):
    """Bytes at an offset; `check` looks at what else the header must hold where they are few."""

    data: bytes
    offset: int = 0
    check: Check | None = None


class Like(NamedTuple):
    """A pattern that matches at the start, for marks that stand among bytes of any value."""

    pattern: re.Pattern[bytes]
    check: Check | None = None


class Row(NamedTuple):
    """A type and its marks, any of which is enough."""

    type: FileType
    marks: tuple[Mark, ...]
    patterns: tuple[Like, ...]


def row(label: str, mimetype: str, group: str, *marks: bytes | Mark | Like, ext: str | None = None) -> Row:
    """A row of the table; bare bytes stand at the start, the extension is the label if none is given."""
    plain = (Mark(mark) if isinstance(mark, bytes) else mark for mark in marks)
    given = tuple(plain)
    return Row(
        FileType(mimetype, label, label if ext is None else ext, group),
        tuple(mark for mark in given if isinstance(mark, Mark)),
        tuple(mark for mark in given if isinstance(mark, Like)),
    )


def at(offset: int, data: bytes, check: Check | None = None) -> Mark:
    """A mark that stands further in."""
    return Mark(data, offset, check)


def like(pattern: bytes, check: Check | None = None) -> Like:
    """A pattern at the start; a dot is any byte."""
    return Like(re.compile(pattern, re.DOTALL), check)
