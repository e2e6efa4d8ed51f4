"""What kind of file bytes are: one table of marks, then how text begins, then what decodes as a whole."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from plugins._formats.mail.recognise import begins_like_mail

from .decodes import LABELS as DECODED
from .decodes import by_decoding
from .table import TABLE
from .texts import MAIL, TEXT, TEXTS, by_text
from .types import Check, FileType, Like
from .zips import LABELS, zip_kind

if TYPE_CHECKING:
    from stoq_core.payload import Payload

__all__ = [
    "BROTLI",
    "EMPTY",
    "TEXT",
    "UNKNOWN",
    "FileType",
    "by_name",
    "has_mark",
    "identify",
    "kind_of",
    "labels",
]

_HEAD_BYTES = 4_096
_HEADERS_BYTES = 256 * 1024
_LONG = 4
_NEAR_BYTES = 8
EMPTY = FileType("application/x-empty", "empty", "", "empty")
UNKNOWN = FileType("application/octet-stream", "unknown", "", "unknown", 0.0)
BROTLI = FileType("application/x-brotli", "brotli", "br", "archive")
_TYPES = {row.type.label: row.type for row in TABLE}
_PDF_MARK = re.compile(rb"%PDF-\d\.\d")
_KOLY = b"koly\0\0\0\4\0\0\2\0"
_COOKIE = b"MEI\x0c\x0b\x0a\x0b\x0e"

# First four bytes → the marks to compare in full, longest first.
_PREFIXES: dict[bytes, list[tuple[bytes, Check | None, FileType]]] = {}
_SHORT: list[tuple[bytes, Check | None, FileType]] = []
_OFFSETS: list[tuple[int, bytes, Check | None, FileType]] = []
_PATTERNS: list[tuple[Like, FileType]] = []
for _row in TABLE:
    for _mark in _row.marks:
        if _mark.offset:
            _OFFSETS.append((_mark.offset, _mark.data, _mark.check, _row.type))
        elif len(_mark.data) < _LONG:
            _SHORT.append((_mark.data, _mark.check, _row.type))
        else:
            _PREFIXES.setdefault(_mark.data[:_LONG], []).append((_mark.data, _mark.check, _row.type))
    _PATTERNS += ((_like, _row.type) for _like in _row.patterns)
for _rows in _PREFIXES.values():
    _rows.sort(key=lambda row: -len(row[0]))

_SHORTEST = tuple(data for data, _, _ in _SHORT)
_NEAR = frozenset(
    (offset, data[:_LONG])
    for offset, data, _, _ in _OFFSETS
    if 0 < offset <= _NEAR_BYTES and len(data) >= _LONG
)

_LAST: dict[str, FileType] = {}


def labels() -> frozenset[str]:
    """Every label that a type can have."""
    texts = {kind.label for _, kind in TEXTS}
    single = {kind.label for kind in (EMPTY, UNKNOWN, BROTLI, MAIL, TEXT)}
    return frozenset(_TYPES) | LABELS | DECODED | texts | single


def kind_of(payload: Payload) -> FileType:
    """As `identify`. Dispatchers and workers ask in turn about the same bytes: the last answer is kept."""
    kind = _LAST.get(payload.sha256)
    if kind is None:
        kind = identify(payload.view())
        _LAST.clear()
        _LAST[payload.sha256] = kind
    return kind


def identify(view: memoryview) -> FileType:
    """The type of the bytes, from at most their first 4 KiB and the marks that stand further in."""
    if not len(view):
        return EMPTY
    head = bytes(view[:_HEAD_BYTES])
    kind = _by_prefix(head, view)
    if (kind is None or kind.group == "archive") and bytes(view[-512:-500]) == _KOLY:
        return _TYPES["dmg"]  # such an image begins with its first chunk, which may be a bzip2 or xz stream
    if (kind is None or kind.group == "archive") and _COOKIE in (
        bytes(view[-88:-80]),
        bytes(view[-24:-16]),
    ):
        return _TYPES["pyinstaller"]  # whose first entry is a zlib stream
    if kind is not None:
        return zip_kind(head, kind) if kind.label == "zip" else kind
    text = by_text(head)
    found = _by_offset(head, view) or (None if text else _by_pattern(head, view))
    if found is None:
        found = text if text not in (None, TEXT) else _mail(view) or text
    found = _late_pdf(head, found or UNKNOWN)
    return found if found is not UNKNOWN else by_decoding(view) or UNKNOWN


def _mail(view: memoryview) -> FileType | None:
    """A mail whose first header is longer than the head, or that holds bytes which text does not."""
    return MAIL if begins_like_mail(bytes(view[:_HEADERS_BYTES])) else None


def has_mark(head: bytes) -> bool:
    """True if a mark of a type stands at the start or just behind: a first question, 50 times as fast."""
    return (
        head[:_LONG] in _PREFIXES
        or head.startswith(_SHORTEST)
        or (4, head[4:8]) in _NEAR
        or (7, head[7:11]) in _NEAR
    )


def _late_pdf(head: bytes, kind: FileType) -> FileType:
    """Readers take a PDF whose mark stands anywhere in the first KiB; what is known to be else stays so."""
    return _TYPES["pdf"] if kind.label in ("unknown", "txt") and _PDF_MARK.search(head, 0, 1024) else kind


def _by_prefix(head: bytes, view: memoryview) -> FileType | None:
    for prefix, check, kind in _PREFIXES.get(head[:_LONG], ()):
        if head.startswith(prefix) and (check is None or check(head, view)):
            return kind
    for prefix, check, kind in _SHORT:
        if head.startswith(prefix) and (check is None or check(head, view)):
            return kind
    return None


def _by_offset(head: bytes, view: memoryview) -> FileType | None:
    size = len(view)
    for offset, data, check, kind in _OFFSETS:
        start = offset if offset >= 0 else size + offset
        if start < 0:
            continue
        there = (
            head[start : start + len(data)] if start < _HEAD_BYTES - 32 else view[start : start + len(data)]
        )
        if there == data and (check is None or check(head, view)):
            return kind
    return None


def _by_pattern(head: bytes, view: memoryview) -> FileType | None:
    for like, kind in _PATTERNS:
        if like.pattern.match(head) and (like.check is None or like.check(head, view)):
            return kind
    return None


def by_name(kind: FileType, name: str) -> FileType:
    """`kind`, unless nothing but the name tells: brotli has no mark of its own."""
    if kind.label in ("unknown", "txt") and name.lower().endswith(".br"):
        return BROTLI
    return kind
