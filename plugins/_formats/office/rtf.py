r"""Read RTF as Word does, in one pass: its objects, all other hexadecimal and `\bin` data, fields, and text.

Where readers differ on what stands in an object's data (a control word that some know and others skip,
a group within it), each reading is kept.
"""

from __future__ import annotations

import binascii
import codecs
import re
from typing import Any

import msgspec

_TOKEN = re.compile(
    rb"[{}]|\\(?:([a-zA-Z]{1,250})(-?\d{1,250})?+ ?|'([0-9a-fA-F]{2})?|[^a-zA-Z]|\Z)|[^{}\\]++", re.DOTALL
)
_NOT_HEX = bytes(set(range(256)) - set(b"0123456789abcdefABCDEF"))
_HEX_OR_SPACE = b"0123456789abcdefABCDEF \t\r\n\f\v\0"
_HEX_RUN = re.compile(rb"[0-9a-fA-F][0-9a-fA-F\s]{30,}+")
_ONLY_HEX = re.compile(rb"[0-9a-fA-F\s]*+")
_LEAST_BYTES = 16
_NAMED = {b"template": "template", b"objclass": "class_name", b"objname": "name", b"fldinst": "field"}
_KINDS = {
    b"objemb": "embedded", b"objlink": "linked", b"objautlink": "linked", b"objocx": "control",
    b"objhtml": "html", b"objsub": "subscriber", b"objpub": "publisher", b"objicemb": "icon",
}  # fmt: skip
_SIGNS = {
    b"par": "\n", b"line": "\n", b"row": "\n", b"page": "\n", b"sect": "\n", b"tab": "\t", b"cell": "\t",
    b"emdash": "\u2014", b"endash": "\u2013", b"lquote": "\u2018", b"rquote": "\u2019",
    b"ldblquote": "\u201c", b"rdblquote": "\u201d", b"bullet": "\u2022",
}  # fmt: skip
_PICTURES = {
    b"dibitmap": "bmp", b"pngblip": "png", b"jpegblip": "jpg", b"emfblip": "emf", b"wmetafile": "wmf",
    b"macpict": "pict",
}  # fmt: skip
_MAX_NAME = 4_096
_MAX_LEVELS = 10_000


class RtfData(msgspec.Struct, kw_only=True):
    r"""One `\objdata` in one reading: offset in the RTF, decoded bytes, what the words around it say."""

    offset: int
    data: bytes
    class_name: str = ""
    name: str = ""
    kind: str = ""
    updates: bool = False
    obscured: int = 0
    """How many words, groups, quotes and signs stand between the digits, where nobody needs any."""


class RtfPiece(msgspec.Struct, kw_only=True):
    """Other binary data: where it begins, the destination that it is in, its bytes and file extension."""

    offset: int
    destination: str
    data: bytes
    extension: str = "bin"


class RtfDocument(msgspec.Struct, kw_only=True):
    """What an RTF holds; `start` and `end` are the first and the last byte of its outermost group."""

    objects: list[RtfData] = []
    pieces: list[RtfPiece] = []
    templates: list[str] = []
    fields: list[str] = []
    text: str = ""
    updates: bool = False
    start: int = 0
    end: int = 0


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


class _Hex:
    r"""Hexadecimal text of one destination, in up to three readings.

    `same`: what stands in the group itself, unknown words skipped, as Word reads it. `every`: groups
    within it, too. `until`: up to the next word that begins a destination, as other readers do.
    """

    def __init__(self, word: bytes, offset: int) -> None:
        self.word, self.offset = word, offset
        self.same, self.every, self.until = bytearray(), bytearray(), bytearray()
        self.ended = False
        self.extension = "bin"
        self.obscured = 0

    def add(self, digits: bytes, *, nested: bool) -> None:
        if not nested:
            self.same += digits
        self.every += digits
        if not self.ended:
            self.until += digits

    def quote(self, *, nested: bool) -> None:
        r"""Word drops the digit before a `\'` where the count so far is odd."""
        for digits in (self.every, self.until) if nested else (self.same, self.every, self.until):
            if len(digits) & 1:
                del digits[-1:]

    def readings(self) -> list[bytes]:
        """The different ones, as bytes."""
        kinds = dict.fromkeys(bytes(one[: len(one) & ~1]) for one in (self.same, self.every, self.until))
        return [binascii.unhexlify(digits) for digits in kinds]


class _Named:
    """The text of a destination that says something: a template, a class, a field's instructions."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text: list[str] = []
        self.left = _MAX_NAME


class _Group(msgspec.Struct):
    r"""An open group: where its text goes, how many characters follow a `\u`, and whether it is nested."""

    hexes: _Hex | None = None
    named: _Named | None = None
    nested: bool = False
    fallbacks: int = 1


class RtfReader:
    """One pass over one RTF."""

    def __init__(self, content: bytes) -> None:
        """Nothing is read yet."""
        self.rtf = RtfDocument()
        self._content = content
        self._group = _Group()
        self._stack: list[_Group] = []
        self._about: dict[str, Any] = {}
        self._destinations = Words.destinations()
        self._text: list[str] = []
        self._run, self._run_at = bytearray(), 0
        self._skip = 0
        self._codec = "cp1252"
        self._deeper = 0

    def read(self) -> RtfDocument:
        """Everything; an RTF that ends early ends its groups there."""
        content = self._content
        at = self.rtf.start = max(0, content.find(b"{"))
        match = _TOKEN.match
        while at < len(content):
            found = match(content, at)
            if found is None:
                break
            at = self._token(found, found.end())
            if not self._stack and not self._deeper and content[found.start()] == 0x7D:
                break
        self.rtf.end = at
        while self._stack:
            self._close()
        self._end_run()
        self.rtf.text = "".join(self._text)
        return self.rtf

    def _token(self, found: re.Match[bytes], at: int) -> int:
        """Handle one token; where the next begins."""
        first = self._content[found.start()]
        if first == 0x7B:
            self._open()
        elif first == 0x7D:
            self._close()
        elif first != 0x5C:
            self._plain(found.group(), found.start())
        elif found[1]:
            return self._word(found[1], found[2], at)
        elif found.group()[1:2] == b"'":
            self._quote(found[3])
        else:
            self._symbol(found.group()[1:])
        return at

    def _open(self) -> None:
        if len(self._stack) >= _MAX_LEVELS:
            self._deeper += 1
            return
        self._stack.append(self._group)
        old = self._group
        if old.hexes is not None:
            old.hexes.obscured += 1
        self._group = _Group(old.hexes, old.named, old.hexes is not None, old.fallbacks)
        self._skip = 0

    def _close(self) -> None:
        self._skip = 0
        if self._deeper:
            self._deeper -= 1
            return
        if not self._stack:
            return
        closed, self._group = self._group, self._stack.pop()
        if closed.hexes is not None and closed.hexes is not self._group.hexes:
            self._end_hexes(closed.hexes)
        if closed.named is not None and closed.named is not self._group.named:
            self._end_named(closed.named)

    def _plain(self, text: bytes, at: int) -> None:
        group = self._group
        if group.hexes is not None:
            digits = text.translate(None, _NOT_HEX)
            group.hexes.add(digits, nested=group.nested)
            group.hexes.obscured += bool(text.translate(None, _HEX_OR_SPACE))
            return
        if self._skip:
            stripped = text.lstrip(b"\r\n")
            dropped = min(self._skip, len(stripped))
            self._skip -= dropped
            at += len(text) - len(stripped) + dropped
            text = stripped[dropped:]
        if _ONLY_HEX.fullmatch(text):
            self._run_at = at if not self._run else self._run_at
            self._run += text.translate(None, _NOT_HEX)
        else:
            self._end_run()
            for found in _HEX_RUN.finditer(text):
                self._piece(found.group().translate(None, _NOT_HEX), at + found.start(), "text")
        self._say(text.translate(None, b"\r\n\0").decode(self._codec, "replace"))

    def _say(self, text: str) -> None:
        """Text as it is read, and again where it belongs to something that has a name."""
        self._text.append(text)
        named = self._group.named
        if named is not None and named.left > 0:
            named.text.append(text[: named.left])
            named.left -= len(text)

    def _quote(self, digits: bytes | None) -> None:
        group = self._group
        if group.hexes is not None:
            group.hexes.obscured += 1
            group.hexes.quote(nested=group.nested)
        elif self._skip:
            self._skip -= 1
        elif digits:
            self._say(bytes.fromhex(digits.decode()).decode(self._codec, "replace"))

    def _symbol(self, sign: bytes) -> None:
        if self._group.hexes is not None or sign == b"*":
            return
        if self._skip:
            self._skip -= 1
        elif sign in (b"\\", b"{", b"}"):
            self._say(sign.decode())
        else:
            self._say({b"~": "\u00a0", b"_": "-", b"\n": "\n", b"\r": "\n"}.get(sign, ""))

    def _word(self, word: bytes, number: bytes | None, at: int) -> int:
        if word == b"bin":
            return self._binary(max(0, int(number or b"0")), at)
        if self._group.hexes is not None:
            self._group.hexes.obscured += 1
        if word == b"u" and number:
            self._letter(int(number[:10]))
        elif word == b"uc":
            self._group.fallbacks = min(max(0, int((number or b"1")[:6])), 1_000)
        elif word in self._destinations or word in _HEX_WORDS:
            self._destination(word, at)
        elif word in _SIGNS:
            self._say(_SIGNS[word])
        elif word == b"ansicpg":
            self._codec = _codec(number or b"")
        self._remember(word)
        return at

    def _remember(self, word: bytes) -> None:
        if word == b"object":
            self._about = {}
        elif word == b"objupdate":
            self._about["updates"] = self.rtf.updates = True
        elif word in _KINDS:
            self._about["kind"] = _KINDS[word]
        elif word in _PICTURES and self._group.hexes is not None:
            self._group.hexes.extension = _PICTURES[word]

    def _letter(self, number: int) -> None:
        r"""`\u` and a signed number of 16 bits, followed by what readers show that do not know it."""
        if self._group.hexes is None:
            self._end_run()
            letter = number & 0xFFFF
            self._say(chr(letter) if not 0xD800 <= letter < 0xE000 else "\ufffd")
            self._skip = self._group.fallbacks

    def _destination(self, word: bytes, at: int) -> None:
        group = self._group
        if group.hexes is not None and group.hexes.word == b"objdata":
            group.hexes.ended = group.hexes.ended or not group.nested
            if word != b"objdata":
                return
        self._end_run()
        if word in _NAMED:
            group.named = _Named(_NAMED[word])
            group.hexes = None
        elif word in _HEX_WORDS:
            if group.hexes is not None and not group.nested:
                self._end_hexes(group.hexes)
            group.hexes, group.nested = _Hex(word, at), False
        elif word != b"field" and group.named is not None and group.named.name != "field":
            group.named = None
        elif group.hexes is not None and group.nested:
            group.hexes = None
        self._text.append("\n")

    def _binary(self, size: int, at: int) -> int:
        end = min(len(self._content), at + size)
        group = self._group
        if group.hexes is not None and group.hexes.word == b"objdata":
            group.hexes.add(binascii.hexlify(self._content[at:end]), nested=group.nested)
        elif end > at:
            where = group.hexes.word.decode() if group.hexes is not None else "text"
            extension = group.hexes.extension if group.hexes is not None else "bin"
            self.rtf.pieces.append(
                RtfPiece(offset=at, destination=where, data=self._content[at:end], extension=extension)
            )
        return end

    def _end_run(self) -> None:
        if len(self._run) >= 2 * _LEAST_BYTES:
            self._piece(bytes(self._run), self._run_at, "text")
        if self._run:
            self._run = bytearray()

    def _piece(self, digits: bytes, offset: int, where: str, extension: str = "bin") -> None:
        data = binascii.unhexlify(digits[: len(digits) & ~1])
        if len(data) >= _LEAST_BYTES:
            self.rtf.pieces.append(RtfPiece(offset=offset, destination=where, data=data, extension=extension))

    def _end_hexes(self, hexes: _Hex) -> None:
        if hexes.word != b"objdata":
            if hexes.word != b"blipuid":
                self._piece(bytes(hexes.same), hexes.offset, hexes.word.decode(), hexes.extension)
                if len(hexes.every) >= len(hexes.same) + 2 * _LEAST_BYTES:
                    self._piece(bytes(hexes.every), hexes.offset, hexes.word.decode(), hexes.extension)
            return
        for data in hexes.readings():
            self.rtf.objects.append(
                RtfData(offset=hexes.offset, data=data, obscured=hexes.obscured, **self._about)
            )

    def _end_named(self, named: _Named) -> None:
        text = "".join(named.text).strip()
        if named.name in ("template", "field"):
            (self.rtf.templates if named.name == "template" else self.rtf.fields).append(text)
        else:
            self._about[named.name] = text[:500]


_HEX_WORDS = frozenset({
    b"objdata", b"datastore", b"themedata", b"colorschememapping", b"pict", b"blipuid", b"fontfile",
    b"fontemb", b"passwordhash", b"protusertbl", b"svgblip", b"objalias", b"ftnsepdata",
})  # fmt: skip
"""Destinations whose text is hexadecimal; what is none in it is passed over."""


def _codec(page: bytes) -> str:
    try:
        return codecs.lookup(f"cp{int(page[:6])}").name
    except (LookupError, ValueError):
        return "cp1252"
