"""Read cryptographic messages (CMS, RFC 5652; PKCS #7, RFC 2315) in BER: their kind and their content.

Lengths may be indefinite and strings in pieces (X.690, 8.1.3.6 and 8.7.3), as Outlook and OpenSSL write them.
Nothing recurses, depth is bounded, and every step goes forward.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

_MAX_DEPTH = 64
_MAX_PIECES = 1_000_000
_PKCS7 = bytes.fromhex("2a864886f70d0107")
_SMIME = bytes.fromhex("2a864886f70d01091001")
_KINDS = {
    _PKCS7 + b"\1": "data", _PKCS7 + b"\2": "signed", _PKCS7 + b"\3": "enveloped",
    _PKCS7 + b"\4": "signed and enveloped", _PKCS7 + b"\5": "digested", _PKCS7 + b"\6": "encrypted",
    _SMIME + b"\2": "authenticated", _SMIME + b"\x09": "compressed",
    _SMIME + b"\x17": "authenticated and enveloped",
}  # fmt: skip
ENCRYPTED = frozenset({"enveloped", "signed and enveloped", "encrypted", "authenticated and enveloped"})
_SEQUENCE, _OCTETS, _OID, _CONTENT = 0x30, 0x04, 0x06, 0xA0
_CONSTRUCTED = 0x20
_PRIMITIVE_CONTENT = 0x80


class BadMessage(ValueError):
    """The encoding does not hold at `offset`; what stands before it was read."""

    def __init__(self, offset: int) -> None:
        """In bytes from the start."""
        super().__init__(f"the encoding does not hold at {offset}")
        self.offset = offset


class Item(NamedTuple):
    """One value: its identifier octet, where it starts, where its content stands, and what follows it."""

    tag: int
    start: int
    content: int
    end: int
    behind: int


class Message(NamedTuple):
    """`kind` as RFC 5652 calls it; `pieces` are the ranges of the content, `inner` its type (hexadecimal).

    `end` is behind the last byte of the message, `certain` false where it stops to hold before.
    """

    kind: str
    inner: str
    pieces: list[tuple[int, int]]
    end: int
    certain: bool = True


def read(view: memoryview) -> Message | None:
    """The message at the start of the bytes, or None if there is none."""
    reader = _Reader(view)
    try:
        tag, at, _ = reader.head(0)
        oid_tag, start, stop = reader.head(at)
    except BadMessage:
        return None
    kind = _KINDS.get(bytes(view[start:stop])) if tag == _SEQUENCE and oid_tag == _OID else None
    if kind is None or stop is None:
        return None
    pieces: list[tuple[int, int]] = []
    inner = ""
    try:
        outer = reader.item(0, len(view))
        for item in reader.items(stop, outer.end):
            if item.tag == _CONTENT:
                inner = reader.content(kind, item, pieces)
        end = outer.behind
    except BadMessage as error:
        reader.damaged = True
        end = max([error.offset, *(stop for _, stop in pieces)])
    return Message(kind, inner, pieces, end, certain=not reader.damaged)


def holds(view: memoryview) -> bool:
    """True if the bytes are one value after the other, to the end."""
    reader = _Reader(view)
    at = 0
    try:
        while at < len(view):
            at = reader.item(at, len(view)).behind
    except BadMessage:
        return False
    return not reader.damaged


class _Reader:
    """Values in BER; `damaged` once one is longer than what holds it: it is read as far as that goes."""

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self.damaged = False

    def content(self, kind: str, item: Item, pieces: list[tuple[int, int]]) -> str:
        """Collect the content's ranges; the type of what is inside."""
        if kind == "data":
            self._collect(item.content, item.end, pieces)
            return _PKCS7.hex() + "01"
        for body in self.items(item.content, item.end):
            for part in self.items(body.content, body.end):
                found = self._encapsulated(part) if part.tag == _SEQUENCE else None
                if found is not None:
                    self._collect(*found[1], pieces)
                    return found[0]
        return ""

    def _encapsulated(self, part: Item) -> tuple[str, tuple[int, int]] | None:
        """Type and range of an EncapsulatedContentInfo (5.2) or EncryptedContentInfo (6.1) with content."""
        kind = ""
        for number, item in enumerate(self.items(part.content, part.end)):
            if number == 0:
                if item.tag != _OID:
                    return None
                kind = bytes(self.view[item.content : item.end]).hex()
            elif item.tag == _CONTENT:
                return kind, (item.content, item.end)
            elif item.tag == _PRIMITIVE_CONTENT:
                return kind, (item.start, item.end)
        return None

    def _collect(self, start: int, end: int, pieces: list[tuple[int, int]]) -> None:
        """The ranges of an octet string in pieces, or of whatever else the content is."""
        stack = [(start, end)]
        while stack:
            at, stop = stack.pop()
            if at >= stop or self._ends(at):
                continue
            item = self.item(at, stop)
            stack.append((item.behind, stop))
            if item.tag == (_OCTETS | _CONSTRUCTED) and len(stack) < _MAX_DEPTH:
                stack.append((item.content, item.end))
            elif item.tag in (_OCTETS, _PRIMITIVE_CONTENT):
                pieces.append((item.content, item.end))
            else:
                pieces.append((item.start, item.behind))
            if len(pieces) > _MAX_PIECES:
                raise BadMessage(item.start)

    def items(self, start: int, end: int) -> Iterator[Item]:
        """The values in a range, up to an end-of-contents (8.1.5)."""
        at = start
        while at < end and not self._ends(at):
            item = self.item(at, end)
            yield item
            at = item.behind

    def _ends(self, at: int) -> bool:
        return bytes(self.view[at : at + 2]) == b"\0\0"

    def item(self, at: int, end: int) -> Item:
        """The value at an offset, cut where what holds it ends."""
        tag, content, stop = self.head(at)
        if stop is None:
            behind = self._behind(at)
            return Item(tag, at, content, behind - 2, behind)
        if stop > end:
            self.damaged = True
            stop = end
        return Item(tag, at, min(content, stop), stop, stop)

    def head(self, at: int) -> tuple[int, int, int | None]:
        """Identifier and length octets (8.1.2, 8.1.3): identifier, the content's start, its end if told."""
        view = self.view
        if at + 2 > len(view):
            raise BadMessage(at)
        tag = view[at]
        place = at + 1
        if tag & 0x1F == 0x1F:
            while place < len(view) and view[place] & 0x80 and place - at < 6:
                place += 1
            place += 1
        if place >= len(view):
            raise BadMessage(at)
        size = view[place]
        place += 1
        if size == 0x80:
            if not tag & _CONSTRUCTED:
                raise BadMessage(at)
            return tag, place, None
        if size & 0x80:
            count = size & 0x7F
            if count > 8 or place + count > len(view):
                raise BadMessage(at)
            size = int.from_bytes(view[place : place + count], "big")
            place += count
        return tag, place, place + size

    def _behind(self, at: int) -> int:
        """What follows a value of indefinite length, whose parts are walked; if it never ends, the end."""
        depth = 0
        while at < len(self.view):
            if depth and self._ends(at):
                depth -= 1
                at += 2
            else:
                _, content, end = self.head(at)
                depth += end is None
                at = content if end is None else end
            if depth > _MAX_DEPTH:
                raise BadMessage(at)
            if not depth:
                return at
        self.damaged = True
        return len(self.view) + 2  # as if the end's two bytes stood there
