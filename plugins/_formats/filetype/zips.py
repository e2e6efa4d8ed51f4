"""Documents and packages that are zips: told by the first members' names and the `mimetype` member."""

from __future__ import annotations

import re

from .types import FileType

_OFFICE = "application/vnd.openxmlformats-officedocument"
_OOXML = FileType(_OFFICE, "ooxml", "zip", "document")
BY_MEMBER: tuple[tuple[bytes, FileType], ...] = (
    (b"word/", FileType(f"{_OFFICE}.wordprocessingml.document", "docx", "docx", "document")),
    (b"xl/", FileType(f"{_OFFICE}.spreadsheetml.sheet", "xlsx", "xlsx", "document")),
    (b"ppt/", FileType(f"{_OFFICE}.presentationml.presentation", "pptx", "pptx", "document")),
    (
        b"AndroidManifest.xml",
        FileType("application/vnd.android.package-archive", "apk", "apk", "executable"),
    ),
    (b"META-INF/MANIFEST.MF", FileType("application/java-archive", "jar", "jar", "executable")),
    (b"[Content_Types].xml", _OOXML),
)
LABELS = frozenset({*(kind.label for _, kind in BY_MEMBER), "epub", "odf"})


def zip_kind(head: bytes, plain: FileType) -> FileType:
    """What the zip is by its beginning, or `plain`."""
    if head[30:38] == b"mimetype":
        found = re.match(rb"application/[a-z0-9.+-]{3,80}", head[38:])
        if found:
            name = found.group().decode("ascii")
            label = "epub" if "epub" in name else "odf"
            return FileType(name, label, label, "document")
    return next((kind for member, kind in BY_MEMBER if member in head), plain)
