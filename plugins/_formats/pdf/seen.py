"""What analysts ask about a PDF: words that matter, scripts, links, attached files, who made it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from .actions import Actions
from .syntax import Name, Ref

KEYWORDS = (
    b"JS", b"JavaScript", b"OpenAction", b"AA", b"Launch", b"EmbeddedFile", b"RichMedia", b"XFA", b"URI",
    b"AcroForm", b"SubmitForm", b"GoToE", b"GoToR", b"ImportData", b"Linearized", b"Encrypt", b"JBIG2Decode",
)  # fmt: skip
"""Names that are counted, as PDFiD made them usual."""

_WORDS = frozenset(KEYWORDS)
_INFO = (b"Title", b"Author", b"Subject", b"Keywords", b"Creator", b"Producer", b"CreationDate", b"ModDate")
_KEPT_DICTS = frozenset((*_INFO, b"Predictor", b"EarlyChange", b"U", b"XFA", b"UF", b"F"))
_MOST_VALUES = 50_000
_MOST_KEPT_BYTES = 1 << 20
_MOST_KEPT_TOGETHER = 64 << 20
_MOST_KEPT_ITEMS = 1_000
_MOST_URIS = 1_000
_MOST_STRINGS = 200_000
_MOST_STRING_BYTES = 16 << 20
MOST_TEXT = 1_000
Owner = tuple[int, int] | None
"""Number and generation of the object whose key strings are encrypted with; None within a stream."""

Owned = tuple[bytes, Owner]
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")


class Seen:
    """Listens to the parser; `words` counts names of objects in plain sight, `hidden` those of streams.

    `scripts` are strings of JavaScript, `script_refs` the objects that hold some; `files` maps objects
    to the names that file specifications give them; `values` are small objects by number. `strings` (key,
    value, object) are kept where `keeps_strings` is set: for documents that encrypt them.
    """

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self.words: Counter[bytes] = Counter()
        self.hidden: Counter[bytes] = Counter()
        self.pages = self.escaped = self.escaped_words = 0
        self.scripts: dict[Owned, None] = {}
        self.script_refs: set[int] = set()
        self.form_refs: set[int] = set()
        self.files: dict[int, Owned] = {}
        self.uris: dict[Owned, None] = {}
        self.values: dict[int, Any] = {}
        self.owners: dict[int, Owner] = {}
        self.trailer: dict[bytes, Any] = {}
        self.launches = {"plain": 0, "hidden": 0}
        self.actions = Actions()
        self.in_stream = False
        self.keeps_strings = self.lost_strings = False
        self.strings: list[tuple[bytes, bytes, tuple[int, int]]] = []
        self._kept_left = _MOST_KEPT_TOGETHER
        self._string_bytes = _MOST_STRING_BYTES
        self.owner: Owner = None

    def name(self, raw: bytes, name: Name) -> None:
        """Count a word that matters, and names written with escapes that they do not need."""
        if name in _WORDS:
            (self.hidden if self.in_stream else self.words)[bytes(name)] += 1
        if len(raw) != len(name) and _needless(raw):
            self.escaped += 1
            self.escaped_words += name in _WORDS

    def pair(self, key: Name, value: Any) -> None:
        """A key and its value, or two things that stand together by chance."""
        if self.keeps_strings and type(value) is bytes and self.owner is not None:
            self._string(key, value, self.owner)
        if key == b"JS":
            self._script(value)
        elif key == b"URI":
            if type(value) is bytes and len(self.uris) < _MOST_URIS:
                self.uris[value[:MOST_TEXT], self.owner] = None
        elif key == b"Type":
            self.pages += value == b"Page" and type(value) is Name
        elif key == b"S" and value == b"Launch" and type(value) is Name:
            self.launches["hidden" if self.in_stream else "plain"] += 1

    def _string(self, key: bytes, value: bytes, owner: tuple[int, int]) -> None:
        self._string_bytes -= len(value)
        if self._string_bytes < 0 or len(self.strings) >= _MOST_STRINGS:
            self.lost_strings = True
        else:
            self.strings.append((key, value, owner))

    def _script(self, value: Any) -> None:
        if type(value) is bytes:
            self.scripts[value, self.owner] = None
        elif type(value) is Ref:
            self.script_refs.add(value.number)

    def dictionary(self, found: dict[bytes, Any]) -> None:
        """Actions (12.6), file specifications (7.11.3) and forms (12.7.2)."""
        self.actions.dictionary(found, self.owner)
        if b"EF" in found:
            self._file(found)
        form = found.get(b"XFA")
        if form is not None:
            self.form_refs.update(one.number for one in _refs(form))

    def _file(self, found: dict[bytes, Any]) -> None:
        name = next(
            (one for key in (b"UF", b"F", b"DOS", b"Unix") if type(one := found.get(key)) is bytes), b""
        )
        held = found[b"EF"]
        if isinstance(held, Ref):
            held = self.values.get(held.number)
        if isinstance(held, dict):
            for one in held.values():
                if isinstance(one, Ref) and (name or one.number not in self.files):
                    self.files[one.number] = name, self.owner

    def keep(self, number: int, value: Any) -> None:
        """Remember an object that others may refer to, if it is small."""
        if len(self.values) >= _MOST_VALUES or number < 0 or self._kept_left < 0:
            return
        if isinstance(value, dict):
            wanted = not _KEPT_DICTS.isdisjoint(value)
        elif isinstance(value, list):
            wanted = len(value) <= _MOST_KEPT_ITEMS
        else:
            wanted = not isinstance(value, bytes) or len(value) <= _MOST_KEPT_BYTES
            self._kept_left -= len(value) if isinstance(value, bytes) else 0
        if wanted:
            self.values[number] = value
            self.owners[number] = self.owner

    def resolved(self, value: Any) -> Any:
        """What a reference stands for, one step far; None for what is not known."""
        return self.values.get(value.number) if isinstance(value, Ref) else value

    def follow(self) -> None:
        """Go on from references to objects that are no streams: scripts in strings, forms in arrays."""
        for number in sorted(self.script_refs):
            if type(self.values.get(number)) is bytes:
                self.scripts[self.values[number], self.owners.get(number)] = None
        for number in sorted(self.form_refs):
            value = self.values.get(number)
            if isinstance(value, list):
                self.form_refs.update(one.number for one in _refs(value))

    def word(self, name: bytes) -> int:
        """How often a word was seen, in plain sight or not."""
        return self.words[name] + self.hidden[name]

    def info(self) -> dict[str, Owned]:
        """What the document information dictionary (14.3.3) says, as written."""
        place = self.trailer.get(b"Info")
        held = self.resolved(place)
        owner = self.owners.get(place.number) if isinstance(place, Ref) else None
        found = held if isinstance(held, dict) else {}
        texts = {key.decode(): self.resolved(found.get(key)) for key in _INFO}
        return {key: (one, owner) for key, one in texts.items() if type(one) is bytes}


def _refs(value: Any) -> list[Ref]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, Ref)]


def _needless(raw: bytes) -> bool:
    """Whether a name escapes letters or digits, which no writer has to."""
    for part in raw.split(b"#")[1:]:
        try:
            if int(part[:2], 16) in _PLAIN and len(part) >= 2:
                return True
        except ValueError:
            continue
    return False


def text(value: bytes, most: int = MOST_TEXT) -> str:
    """A text string (7.9.2.2): UTF-16 or UTF-8 by its mark, else what is nearly Latin-1."""
    marked = value[:2] in (b"\xfe\xff", b"\xff\xfe") or value[:3] == b"\xef\xbb\xbf"
    raw = text_bytes(value[: 4 * most])
    return raw.decode("utf-8" if marked else "latin-1", "replace")[:most]


def text_bytes(value: bytes) -> bytes:
    """A text string as UTF-8, so that rules find words in it; bytes without a mark stay as they are."""
    if value[:2] in (b"\xfe\xff", b"\xff\xfe"):
        return value.decode("utf-16", "replace").encode("utf-8", "replace")
    return value.removeprefix(b"\xef\xbb\xbf")
