"""Which archive format bytes are, by content alone but for brotli, which has no mark."""

from __future__ import annotations

from plugins._formats.filetype import identify

from .declare import Format, unchecked
from .readers import FORMATS
from .singles import LZ4_LEGACY_MAGIC, is_brotli
from .zip_directory import has_end

_ZIPS = frozenset({"zip", "docx", "xlsx", "pptx", "ooxml", "odf", "epub", "jar", "apk"})
_ALIASES = frozenset({"ar", "deb", "lz4", "lz4-legacy"})
"""Labels of one reader each two."""
_PROGRAMS = frozenset({"pe", "elf", "macho", "mz"})
_UPX = b"UPX!"
_UPX_WITHIN = 8_192


def detect_all(view: memoryview, name: str = "", asked: frozenset[str] = frozenset()) -> list[str]:
    """All formats that begin with the bytes: first what they are known for, then whoever's mark holds, too.

    Programs go by different marks: a zip may be an ISO image, whose mark stands 32 KiB further on.
    """
    first = detect(view, name, asked)
    also = [found.label for found in FORMATS.values() if found.label not in _ALIASES and _begins(view, found)]
    if first in _ALIASES or first == "dmg":  # which begins with its first chunk, a stream of any kind
        also = []
    return list(dict.fromkeys(([] if first is None else [first]) + also))


def _begins(view: memoryview, found: Format) -> bool:
    marks = (bytes(view[mark.offset : mark.offset + len(mark.data)]) == mark.data for mark in found.marks)
    return found.check is not unchecked and any(marks) and found.check(view, 0)


def detect(view: memoryview, name: str = "", asked: frozenset[str] = frozenset()) -> str | None:
    """The format's word, or None. A zip behind other bytes is found by its end record.

    `asked` are the types that dispatchers named: what is neither a known type nor text, and is called
    `.br` or was asked for as brotli, is brotli if it begins like it.
    """
    label = identify(view).label
    if label in _ZIPS:
        return "zip"
    if label == "lz4" and bytes(view[:4]) == LZ4_LEGACY_MAGIC:
        return "lz4-legacy"
    if label in FORMATS:
        return label
    if has_end(view):
        return "zip"
    if label in _PROGRAMS and _packed_with_upx(view):
        return "upx"
    maybe = "brotli" in asked or name.lower().endswith(".br")
    if maybe and label in ("unknown", "txt") and is_brotli(view):
        return "brotli"
    return None


def _packed_with_upx(view: memoryview) -> bool:
    """The mark stands near the front of PE files, near either end of others."""
    return _UPX in bytes(view[:_UPX_WITHIN]) or _UPX in bytes(view[-_UPX_WITHIN:])
