"""Read a block of mail headers as leniently as all mail programs do together (RFC 5322, 2.2; RFC 2045, 5.1).

Lines end with CRLF, LF or CR; names may have comments, quotes and blanks; values comments, quotes and folds;
parameters any form. Where programs differ, every reading is kept: the reader of messages follows them all.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator
from typing import NamedTuple

_LINE = re.compile(rb"([^\r\n]*)(\r{0,3}\n|\r|\Z)")
_NAME_BYTES = 300
_MAX_FIELDS = 200_000
_VALUE_BYTES = 1024 * 1024
_MAX_PARAMETERS = 1_000
_MAX_DECLARED = 20_000
_NOT_KEY = re.compile(rb"[^A-Za-z0-9]+")
_PIECE = re.compile(rb'(?:[^;"]|"(?:[^"\\]|\\.)*+(?:"|\Z))++', re.DOTALL)
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*+)', re.DOTALL)
_CONTINUED = re.compile(r"([a-z0-9_.-]{1,60})\s{0,9}\*\s{0,9}(\d{0,6})\s{0,9}(\*?)")
_BOUNDARY = re.compile(
    rb"(?i)boundary[^=;\"\r\n]{0,200}=\s{0,100}(?:\"((?:[^\"\\\r\n]|\\.){0,1000})|'([^'\r\n]{1,1000})'|([^\r\n;]{1,1000}))"
)
_KNOWN = frozenset((
    "from", "to", "cc", "bcc", "subject", "date", "received", "returnpath", "messageid", "replyto", "sender",
    "deliveredto", "xoriginalto", "mimeversion", "dkimsignature", "references", "inreplyto", "xmailer",
    "listid",
    "useragent", "importance", "priority", "authenticationresults", "newsgroups", "path",
))  # fmt: skip
STRONG = frozenset((
    "received", "returnpath", "messageid", "mimeversion", "deliveredto", "xoriginalto", "dkimsignature",
    "authenticationresults", "arcseal", "inreplyto", "newsgroups", "xmailer", "contenttransferencoding",
))  # fmt: skip
"""Names that next to nothing but a mail has at the start of its lines, as `key_of` gives them."""


class Field(NamedTuple):
    """One header: `key` is its name in lower case without anything but letters and digits."""

    key: str
    name: bytes
    value: bytes


class Block(NamedTuple):
    """The headers of a message or part: where they start and the body begins, and lines that are none."""

    fields: list[Field]
    start: int
    body: int
    junk: list[tuple[int, int]]
    early: int | None = None
    """Where the body begins for programs that end the headers at the first line that is none."""
    early_fields: int = 0
    cut: bool = False


def key_of(name: bytes) -> str:
    """A header's name for comparison: without comments, quotes, blanks and hyphens."""
    if b"(" in name:
        name = without_comments(name)
    return _NOT_KEY.sub(b"", name).lower().decode("ascii")


def role_of(key: str) -> str:
    """What a header is to MIME, misspelt ones too: `type`, `encoding`, `disposition`, or an empty string."""
    if not key.startswith(("content", "conent", "xcontent", "contnet", "cotent")):
        return ""
    if "transf" in key or key.endswith(("encoding", "encodings")):
        return "encoding"
    if "typ" in key:
        return "type"
    return "disposition" if "dispo" in key else ""


def known(key: str) -> bool:
    """True for a header that mails have."""
    return key in _KNOWN or bool(role_of(key)) or key.startswith(("resent", "listunsub", "xmsexchange"))


def name_of(line: bytes) -> tuple[bytes, int] | None:
    """A header line's name and the offset behind its colon; None for a line that is no header."""
    at = line.find(b":", 0, _NAME_BYTES)
    if at <= 0:
        return None
    if b"(" in line[:at]:  # a colon within a comment ends no name
        depth = 0
        for number, letter in enumerate(line[:_NAME_BYTES]):
            depth += (letter == 0x28) - (letter == 0x29 and depth > 0)
            if letter == 0x3A and not depth:
                at = number
                break
    name = line[:at].strip(b" \t\0")
    if not name:
        return None
    if len(name.split()) > 1 or name[:1] in b"<-{[#/*%" or b"<" in name:
        return (name, at + 1) if known(key_of(name)) else None
    return name, at + 1


def read_block(data: bytes, start: int, end: int) -> Block:
    """The headers from `start` on, at most to `end`; linear."""
    reader = _BlockReader(data, start, end)
    return reader.read()


class _BlockReader:
    """One block being read."""

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self.data, self.start, self.end = data, start, end
        self.fields: list[Field] = []
        self.junk: list[tuple[int, int]] = []
        self.early: tuple[int, int] | None = None
        self._name: bytes | None = None
        self._value_at = self._value_end = 0

    def read(self) -> Block:
        """Line by line."""
        at, cut = self.start, False
        body = None
        while at < self.end and body is None:
            found = _LINE.match(self.data, at, self.end)
            assert found is not None  # the pattern matches anything
            line_end, following = found.end(1), found.end()
            if len(self.fields) >= _MAX_FIELDS:
                cut, body = True, at
                break
            line = self.data[at : min(line_end, at + 2 * _NAME_BYTES)]
            if not line.strip(b" \t\0\x0b\x0c"):
                body = self._blank(line, at, line_end, following)
            else:
                body, following = self._line(line, at, line_end, following)
            at = following
        self._close()
        body = self.end if body is None else body
        early, count = self.early or (None, 0)
        return Block(self.fields, self.start, body, self.junk, early, count, cut)

    def _blank(self, line: bytes, at: int, line_end: int, following: int) -> int | None:
        """An empty line ends the headers; one of blanks does unless headers of mails follow it."""
        if not line:
            return following
        behind = self.data[following : following + 2 * _NAME_BYTES].partition(b"\n")[0]
        named = name_of(behind.rstrip(b"\r"))
        if self._name is not None and named and known(key_of(named[0])):
            self._value_end = line_end
            return None
        return following

    def _line(self, line: bytes, at: int, line_end: int, following: int) -> tuple[int | None, int]:
        """A header, the rest of one, or junk; the body's start if the headers end here."""
        if line.startswith(b"--"):  # a boundary
            return at, at
        named = name_of(line)
        if line[:1] in b" \t" and (self._name is not None or not named or not known(key_of(named[0]))):
            if self._name is None:
                return self._no_header(at, following)
            self._value_end = line_end
            if named and role_of(key_of(named[0])):  # a fold to some, a header to others
                self.fields.append(Field(key_of(named[0]), named[0], line[named[1] :]))
            return None, following
        if named is None:
            return self._no_header(at, following)
        self._close()
        self._name, self._value_at, self._value_end = named[0], at + named[1], line_end
        return None, following

    def _close(self) -> None:
        if self._name is not None:
            end = min(self._value_end, self._value_at + _VALUE_BYTES)
            self.fields.append(Field(key_of(self._name), self._name, self.data[self._value_at : end]))
            self._name = None

    def _no_header(self, at: int, following: int) -> tuple[int | None, int]:
        """Junk is passed over if headers of mails follow before the next empty line; else the body begins."""
        self._close()
        ahead = following
        while ahead < self.end:
            found = _LINE.match(self.data, ahead, self.end)
            assert found is not None  # as above
            line = self.data[ahead : min(found.end(1), ahead + 2 * _NAME_BYTES)]
            if not line.strip(b" \t\0") or line.startswith(b"--"):
                break
            named = name_of(line)
            if named and known(key_of(named[0])):
                self.junk.append((at, ahead))
                if self.early is None:
                    self.early = (at, len(self.fields))
                return None, ahead
            ahead = found.end()
        return at, at


def unfolded(value: bytes) -> bytes:
    """A value without line ends and NULs."""
    return value.translate(None, b"\r\n\0").strip(b" \t")


def without_comments(value: bytes) -> bytes:
    """RFC 5322 comments taken out, nested ones and quoted brackets too; linear."""
    if b"(" not in value:
        return value
    kept = bytearray()
    depth = 0
    quoted = escaped = False
    for one in value:
        if escaped:
            escaped = False
        elif one == 0x5C:
            escaped = True
        elif one == 0x22 and not depth:
            quoted = not quoted
        elif one == 0x28 and not quoted:
            depth += 1
        elif one == 0x29 and depth:
            depth -= 1
            continue
        if not depth:
            kept.append(one)
    return bytes(kept)


def kinds(value: bytes) -> list[str]:
    """The type that a `Content-Type` names: with and without what looks like comments, if these differ."""
    found: dict[str, None] = {}
    for text in (without_comments(value), value):
        word = unfolded(text).lstrip(b" \t;\"'=:").partition(b";")[0]
        kind = re.sub(r"[\"'\s\\]+", "", word.decode("latin-1")).lower()
        kind = kind.partition("boundary=")[0].partition("name=")[0].partition("charset=")[0]
        if kind:
            found.setdefault(kind[:200])
    return list(found)


def words(value: bytes) -> list[str]:
    """The words of a `Content-Transfer-Encoding`, without comments and quotes."""
    text = without_comments(unfolded(value)).decode("latin-1")
    whole = re.sub(r"[\"'\s]+", "", text.partition(";")[0])
    return list(dict.fromkeys([whole, *re.split(r"[\s;,\"'/]+", text)]))[:8] if whole else []


def parameters(value: bytes) -> Iterator[tuple[str, bytes, str]]:
    """Names in lower case, values and charsets, continuations joined (RFC 2231, 3 and 4.1).

    With quotes as they ought to be read and, where that differs, without regard to them.
    """
    value = unfolded(value)
    seen: set[tuple[str, bytes]] = set()
    for text in dict.fromkeys((without_comments(value), value)):
        for pieces in (_PIECE.findall(text), text.split(b";", _MAX_PARAMETERS)):
            for name, made, charset in _joined(pieces[:_MAX_PARAMETERS]):
                if (name, made) not in seen:
                    seen.add((name, made))
                    yield name, made, charset


def _joined(pieces: list[bytes]) -> Iterator[tuple[str, bytes, str]]:
    parts: dict[str, list[tuple[int, bytes, bool]]] = {}
    for piece in pieces:
        left, equals, right = piece.partition(b"=")
        if not equals:
            continue
        name = left.decode("latin-1").lower().strip().strip("\"'").rpartition(" ")[2]
        made = _plain(right)
        found = _CONTINUED.fullmatch(name)
        if found:
            number = int(found[2] or 0)
            parts.setdefault(found[1], []).append((number, made, bool(found[3]) or not found[2]))
        else:
            yield name, made, ""
    for name, found_parts in parts.items():
        found_parts.sort(key=lambda one: one[0])
        yield name, *_decoded(found_parts)


def _decoded(parts: list[tuple[int, bytes, bool]]) -> tuple[bytes, str]:
    charset = ""
    made = b""
    if parts[0][2] and parts[0][1].count(b"'") >= 2:
        named, _, rest = parts[0][1].split(b"'", 2)
        charset = named.decode("latin-1")[:60]
        parts = [(0, rest, True), *parts[1:]]
    made = b"".join(urllib.parse.unquote_to_bytes(text) if coded else text for _, text, coded in parts)
    return made, charset


def _plain(text: bytes) -> bytes:
    text = text.strip(b" \t")
    found = _QUOTED.match(text)
    if found:
        return re.sub(rb"\\(.)", rb"\1", found.group(1)) if b"\\" in found.group(1) else found.group(1)
    return text


def boundaries(value: bytes) -> list[bytes]:
    """Every boundary that some program may read in a header, without the hyphens that come before it."""
    found: dict[bytes, None] = {}
    joined = unfolded(value)
    for text in dict.fromkeys((joined, re.sub(rb"[\r\n]+[ \t]*", b"", value))):
        for name, made, _ in parameters(text):
            if name == "boundary" and made:
                found.setdefault(made)
        for one in _BOUNDARY.finditer(text):
            made = next(filter(None, one.groups()), b"")
            for word in (made, *made.split()[:1], made.partition(b"(")[0], made.partition(b",")[0]):
                if word:
                    found.setdefault(word)
    kept = dict.fromkeys(word for made in found for word in (made.rstrip(), made.strip(b" \t\"'")) if word)
    return list(kept)[:12]


def declared(data: bytes) -> set[bytes]:
    """All boundaries that any header of a mail may declare."""
    found: set[bytes] = set()
    text = data.lower()  # a pattern without regard to case is ten times slower
    at = text.find(b"boundary")
    while at >= 0 and len(found) <= _MAX_DECLARED:
        one = _BOUNDARY.match(data, at)
        if one:
            made = next(filter(None, one.groups()), b"").rstrip()
            found.add(made)
            found.add(made.partition(b" ")[0].strip(b"\"'"))
        at = text.find(b"boundary", at + 1)
    return found
