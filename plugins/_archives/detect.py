"""Which archive format bytes are, by content alone."""

from __future__ import annotations

from plugins._filetype import identify

FORMATS = frozenset(
    {"zip", "7z", "tar", "gzip", "bzip2", "xz", "lzma", "zstd", "cpio", "ar", "deb"}
    | {"docx", "xlsx", "pptx", "ooxml", "odf", "epub", "jar", "apk"}
)
_ZIPS = frozenset({"docx", "xlsx", "pptx", "ooxml", "odf", "epub", "jar", "apk"})
_EOCD = b"PK\x05\x06"
_EOCD_WITHIN = 22 + 65_535 + 4_096


def detect(view: memoryview) -> str | None:
    """The format's word, or None; a zip behind other bytes is found by its end record."""
    label = identify(view).label
    if label in _ZIPS:
        return "zip"
    if label in FORMATS:
        return label
    if bytes(view[-_EOCD_WITHIN:]).rfind(_EOCD) >= 0:
        return "zip"
    return None
