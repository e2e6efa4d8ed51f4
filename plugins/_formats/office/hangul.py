"""Undo what HWP 5 documents (Hancom's *Hwp Document File Formats 5.0*) do to their streams."""

from __future__ import annotations

from plugins._formats.office.compound import Compound, Entry

_MARK = b"HWP Document File"
_FLAGS = 36
_COMPRESSED, _ENCRYPTED, _DISTRIBUTED, _DRM = 1, 2, 4, 16
_STORAGES = ("BODYTEXT", "BINDATA", "SCRIPTS", "VIEWTEXT", "DOCHISTORY", "XMLTEMPLATE")


class Hangul:
    """What the stream `FileHeader` (3.2.1) says of the others; not `there` for other documents."""

    def __init__(self, compound: Compound) -> None:
        """Read the header."""
        entry = compound.find("FileHeader")
        head = compound.read(entry, 256) if entry is not None else b""
        self.there = head.startswith(_MARK) and len(head) >= _FLAGS + 4
        self._flags = int.from_bytes(head[_FLAGS : _FLAGS + 4], "little") if self.there else 0

    @property
    def locked(self) -> str:
        """Why nothing can be read without a password or a server, or nothing."""
        if self._flags & _ENCRYPTED:
            return "hwp"
        return "drm" if self._flags & _DRM else ""

    def is_packed(self, entry: Entry) -> bool:
        """Whether a stream is raw deflate: the document information, texts, scripts and attached data."""
        first = entry.path[0].upper() if entry.path else ""
        return self.there and not self.locked and (first == "DOCINFO" or first in _STORAGES)

    def is_distributed(self, entry: Entry) -> bool:
        """Whether a stream is the text of a document for distribution, encrypted with a key of its own."""
        first = entry.path[0].upper() if entry.path else ""
        return bool(self.there and self._flags & _DISTRIBUTED and first == "VIEWTEXT")
