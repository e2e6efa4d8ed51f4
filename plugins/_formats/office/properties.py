"""Read the property sets of compound files (MS-OLEPS): title, author, times and the like, within bounds."""

from __future__ import annotations

import datetime as dt
import struct
from typing import Any

_SUMMARY = {
    2: "title", 3: "subject", 4: "author", 5: "keywords", 6: "comments", 7: "template", 8: "last_saved_by",
    9: "revision", 10: "edit_seconds", 11: "last_printed", 12: "created", 13: "last_saved", 14: "pages",
    15: "words", 16: "characters", 18: "application", 19: "security",
}  # fmt: skip
_DOCUMENT = {
    2: "category", 3: "presentation_target", 4: "bytes", 5: "lines", 6: "paragraphs", 7: "slides", 8: "notes",
    9: "hidden_slides", 14: "manager", 15: "company", 26: "content_type", 27: "content_status",
    28: "language", 29: "document_version",
}  # fmt: skip
_SETS = {
    bytes.fromhex("e0859ff2f94f6810ab9108002b27b3d9"): _SUMMARY,
    bytes.fromhex("02d5cdd59c2e1b10939708002b2cf9ae"): _DOCUMENT,
}
_MAX_PROPERTIES, _MAX_TEXT = 200, 4_096
_EPOCH = dt.datetime(1601, 1, 1, tzinfo=dt.UTC)
_NUMBERS = {
    2: "<h",
    3: "<i",
    4: "<f",
    5: "<d",
    16: "<b",
    17: "<B",
    18: "<H",
    19: "<I",
    20: "<q",
    21: "<Q",
    22: "<i",
    23: "<I",
}


def read(stream: bytes) -> dict[str, Any]:
    """The known properties of a stream's first two sets by name; what does not hold is left out."""
    found: dict[str, Any] = {}
    try:
        (count,) = struct.unpack_from("<I", stream, 24)
        for number in range(min(count, 2)):
            kind, at = struct.unpack_from("<16sI", stream, 28 + 20 * number)
            names = _SETS.get(kind)
            if names is not None:
                found |= _set(stream[at:], names)
    except struct.error:
        pass
    return found


def _set(data: bytes, names: dict[int, str]) -> dict[str, Any]:
    """One property set (2.20): its values by name."""
    (count,) = struct.unpack_from("<I", data, 4)
    rows = list(
        struct.iter_unpack("<II", data[8 : 8 + 8 * min(count, _MAX_PROPERTIES)][: len(data) // 8 * 8 or 0])
    )
    offsets = dict(rows[::-1])
    page = _value(data, offsets[1], "") if 1 in offsets else None
    codec = _codec(page)
    found: dict[str, Any] = {}
    for number, name in names.items():
        if number in offsets:
            value = _value(data, offsets[number], codec)
            if name == "edit_seconds" and isinstance(value, dt.datetime):
                value = int((value - _EPOCH).total_seconds())
            if value not in (None, ""):
                found[name] = value
    return found


def _codec(page: Any) -> str:
    if page in (1200, -535, 65001):
        return "utf-16-le" if page == 1200 else "utf-8"
    name = f"cp{page & 0xFFFF}" if isinstance(page, int) else "cp1252"
    try:
        "".encode(name)
    except LookupError:
        return "cp1252"
    return name


def _value(data: bytes, at: int, codec: str) -> Any:
    """A TypedPropertyValue (2.15) that is a number, a text, a truth value or a time; else None."""
    try:
        (kind,) = struct.unpack_from("<H", data, at)
        if kind in _NUMBERS:
            return struct.unpack_from(_NUMBERS[kind], data, at + 4)[0]
        if kind == 11:
            return struct.unpack_from("<h", data, at + 4)[0] != 0
        if kind == 64:
            (ticks,) = struct.unpack_from("<Q", data, at + 4)
            return _EPOCH + dt.timedelta(microseconds=ticks // 10) if ticks else None
        if kind in (8, 30, 31):
            (size,) = struct.unpack_from("<I", data, at + 4)
            raw = data[at + 8 : at + 8 + min(size * (2 if kind == 31 else 1), _MAX_TEXT)]
            return (
                raw.decode("utf-16-le" if kind == 31 else codec or "cp1252", "replace")
                .partition("\0")[0]
                .strip()
            )
    except (struct.error, OverflowError, LookupError):
        pass
    return None
