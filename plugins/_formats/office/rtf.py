"""Read RTF as Word does, for its objects: one pass, linear, each byte looked at once."""

from __future__ import annotations

import binascii
import re
from typing import Any

import msgspec

_TOKEN = re.compile(rb"[{}]|\\(?:([a-zA-Z]{1,250})(-?\d{1,250})?+ ?|'|[^a-zA-Z]|\Z)|[^{}\\]++", re.DOTALL)
_NOT_HEX = bytes(set(range(256)) - set(b"0123456789abcdefABCDEF"))
_TEXTS = frozenset({b"objclass", b"objname", b"template"})
_KINDS = {
    b"objemb": "embedded", b"objlink": "linked", b"objautlink": "linked", b"objocx": "control",
    b"objhtml": "html", b"objsub": "subscriber", b"objpub": "publisher", b"objicemb": "icon",
}  # fmt: skip
_MAX_TEXT = 4_096


class RtfData(msgspec.Struct, kw_only=True):
    r"""One `\objdata`: offset in the RTF, decoded bytes, and what the words around it say."""

    offset: int
    data: bytes
    class_name: str = ""
    name: str = ""
    kind: str = ""
    updates: bool = False


class RtfDocument(msgspec.Struct, kw_only=True):
    """What an RTF holds: objects, templates, and whether any object loads when the document opens."""

    objects: list[RtfData] = []
    templates: list[str] = []
    updates: bool = False


class _Open(msgspec.Struct):
    """A destination that is open: its word, the group's level, and what was gathered."""

    word: bytes
    level: int
    start: int
    data: bytearray


class Words:
    """The control words that begin a destination, from oletools' table; read when first needed."""

    _destinations: Any = None

    @classmethod
    def destinations(cls) -> frozenset[bytes]:
        """The words."""
        if cls._destinations is None:
            from oletools import rtfobj

            cls._destinations = frozenset(rtfobj.DESTINATION_CONTROL_WORDS)
        found: frozenset[bytes] = cls._destinations
        return found


class RtfReader:
    """One pass over one RTF."""

    def __init__(self, content: bytes, most: int) -> None:
        """`most` objects are kept; `self.cut` tells when there are more."""
        self.rtf = RtfDocument()
        self.cut = False
        self._content, self._most = content, most
        self._level = 0
        self._open: list[_Open] = []
        self._about: dict[str, Any] = {}
        self._destinations = Words.destinations()

    def read(self) -> RtfDocument:
        """Everything; an RTF that ends early ends its objects there."""
        content, at = self._content, 0
        while at < len(content) and not self.cut:
            found = _TOKEN.match(content, at)
            if found is None:
                break
            at = self._token(found, found.end())
        while self._open and not self.cut:
            self._close(len(content))
        return self.rtf

    def _token(self, found: re.Match[bytes], at: int) -> int:
        """Handle one token; where the next begins."""
        first = self._content[found.start()]
        if first == 0x7B:
            self._level += 1
        elif first == 0x7D:
            if self._open and self._open[-1].level == self._level:
                self._close(found.start())
            self._level -= 1
        elif first != 0x5C:
            self._text(found.group())
        elif found.group(1):
            return self._word(found.group(1), found.group(2), found, at)
        elif found.group() == b"\\'":
            self._quote()
            return at + 2
        return at

    def _text(self, text: bytes) -> None:
        if not self._open:
            return
        top = self._open[-1]
        if top.word == b"objdata":
            top.data += text.translate(None, _NOT_HEX)
        elif top.word in _TEXTS and len(top.data) < _MAX_TEXT:
            top.data += text[:_MAX_TEXT]

    def _quote(self) -> None:
        r"""Word drops the digit before a `\'` where the count so far is odd."""
        if self._open and self._open[-1].word == b"objdata" and len(self._open[-1].data) & 1:
            del self._open[-1].data[-1:]

    def _word(self, word: bytes, number: bytes | None, found: re.Match[bytes], at: int) -> int:
        if word == b"bin":
            size = max(0, int(number or b"0"))
            if self._open and self._open[-1].word == b"objdata":
                self._open[-1].data += binascii.hexlify(self._content[at : at + size])
            return min(len(self._content), at + size)
        if word in self._destinations:
            if self._open and self._open[-1].level == self._level:
                self._close(found.start())
            self._open.append(_Open(word, self._level, at, bytearray()))
        if word == b"object":
            self._about = {}
        elif word == b"objupdate":
            self._about["updates"] = self.rtf.updates = True
        elif word in _KINDS:
            self._about["kind"] = _KINDS[word]
        return at

    def _close(self, end: int) -> None:
        top = self._open.pop()
        if top.word == b"objdata":
            if len(self.rtf.objects) >= self._most:
                self.cut = True
                return
            digits = top.data[: len(top.data) & ~1]
            self.rtf.objects.append(RtfData(offset=top.start, data=binascii.unhexlify(digits), **self._about))
        elif top.word in _TEXTS:
            text = bytes(top.data).decode("cp1252", "replace").strip()
            if top.word == b"template":
                self.rtf.templates.append(text)
            else:
                self._about["class_name" if top.word == b"objclass" else "name"] = text[:500]
