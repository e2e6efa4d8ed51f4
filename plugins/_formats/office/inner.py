"""Undo the encodings that streams of compound files bring: packages in records, zlib, split records.

A stream is given as it stands but for what is taken out of it as a child, which is zeros in it then:
otherwise each of ten packages in a workbook would hold the nine before it once more.
"""

from __future__ import annotations

import re
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import msgspec

from plugins._formats.office import visio
from plugins._formats.office.slides import presentation_objects
from plugins._formats.office.workbook import joined_records

_INFLATE_BYTES = 64 * 1024
_TRIAL_BYTES = 1_024
_SURE_BYTES = 512
_LEAST_BYTES = 16
_SMALL_STEP = 64
_FREE_WORK = 4 * 1024 * 1024
_ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]")
_ZIP_END = struct.Struct("<4s4H2IH")
_OWN = frozenset({
    "POWERPOINT DOCUMENT", "PICTURES", "WORKBOOK", "BOOK", "WORDDOCUMENT", "0TABLE", "1TABLE", "DATA",
    "ESCHERSTM", "ESCHERDELAYSTM", "VISIODOCUMENT", "RECORD",
})  # fmt: skip
"""Streams that Office's own programs write, and records of them."""
_PICTURE = re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff[\xc0-\xfe]")
_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
_PNG = b"\x89PNG\r\n\x1a\n"


class Inner(msgspec.Struct, kw_only=True):
    """One thing found in a stream: a name, where it stands, its bytes; `certain` if damage is an error."""

    name: str
    offset: int
    chunks: Iterable[bytes | memoryview]
    certain: bool = False


class Inflated:
    """The plain bytes of a zlib stream, and how much of the packed ones it was, once iterated.

    `strict` raises `zlib.error` behind what could be inflated; else damage ends the bytes.
    """

    def __init__(self, packed: memoryview, *, strict: bool = False, window: int = zlib.MAX_WBITS) -> None:
        """Nothing is inflated yet; `window` is zlib's, negative for raw deflate."""
        self._packed, self._strict, self._window = packed, strict, window
        self.used = self.made = 0
        self.whole = False

    def __iter__(self) -> Iterator[bytes]:
        """In chunks of 64 KiB at most."""
        inflate, data = zlib.decompressobj(self._window), self._packed
        at = 0
        while not inflate.eof:
            step = inflate.unconsumed_tail
            if not step:
                step = bytes(data[at : at + _INFLATE_BYTES])
                at += len(step)
            before = inflate.copy()
            try:
                made = inflate.decompress(step, _INFLATE_BYTES)
            except zlib.error:
                made = _as_far_as(before, step)
                self.made += len(made)
                yield made
                if self._strict:
                    raise
                return
            self.made += len(made)
            if made:
                yield made
            elif not step:
                break
        self.whole = inflate.eof
        self.used = at - len(inflate.unused_data if inflate.eof else inflate.unconsumed_tail)


class Stream:
    """One stream's content, what was found in it, and what is left of it."""

    def __init__(self, content: bytes) -> None:
        """Nothing was looked for yet."""
        self.content = content
        self.overlaps = False
        self._taken: list[tuple[int, int]] = []
        self._work = 4 * len(content) + _FREE_WORK

    def found(self, name: str) -> Iterator[Inner]:
        """What the stream of this name holds; each has to be used up before the next is asked for."""
        if name not in _OWN:
            return  # a file of its own maybe, which its own reader takes apart
        if name == "POWERPOINT DOCUMENT":
            yield from self._objects()
        elif name in ("WORKBOOK", "BOOK"):
            yield from self._records()
        yield from self._packages()
        yield from self._pictures()
        yield from self._packed()

    def drawing(self, room: int) -> Iterator[tuple[int, bytes]]:
        """Offset and plain bytes of what a `VisioDocument` packs; see `visio.parts`."""
        for offset, size, plain in visio.parts(self.content, room):
            yield offset, plain
            self._take(offset, offset + size)

    def left(self) -> bytes:
        """The stream with zeros where something was taken out as it stands."""
        if not self._taken:
            return self.content
        made = bytearray(self.content)
        for start, end in self._taken:
            made[start:end] = bytes(end - start)
        return bytes(made)

    def _take(self, start: int, end: int) -> None:
        self._taken.append((start, end))
        if len(self._taken) > 1 and start < self._taken[-2][0]:
            self._taken.sort()

    def _is_taken(self, at: int) -> bool:
        place = bisect_right(self._taken, (at, len(self.content) + 1))
        return bool(place) and at < self._taken[place - 1][1]

    def _objects(self) -> Iterator[Inner]:
        for offset, packed, start, end in presentation_objects(self.content):
            view = memoryview(self.content)[start:end]
            name = f"object-{offset}.bin"
            if not packed:
                yield Inner(name=name, offset=offset, chunks=(view,))
                self._take(start, end)
                continue
            made = Inflated(view, strict=True)
            yield Inner(name=name, offset=offset, chunks=made, certain=True)
            told = int.from_bytes(self.content[start - 4 : start], "little")
            if made.whole or made.made == told:  # PowerPoint leaves some without an end
                self._take(start, start + made.used)

    def _records(self) -> Iterator[Inner]:
        """Records that go on in others, put together; the packages in them by themselves."""
        for kind, offset, parts in joined_records(self.content):
            whole = Stream(b"".join(self.content[start:end] for start, end in parts))
            yield from whole.found("RECORD")
            self.overlaps = self.overlaps or whole.overlaps
            yield Inner(name=f"record-{kind:04x}-{offset}.bin", offset=offset, chunks=(whole.left(),))
            for start, end in parts:
                self._take(start, end)

    def _packages(self) -> Iterator[Inner]:
        for start, end in zips(self.content):
            if start and not self._is_taken(start):
                view = memoryview(self.content)[start : end - 2]
                yield Inner(name=f"package-{start}.zip", offset=start, chunks=(view, bytes(2)))
                self._take(start, end)

    def _pictures(self) -> Iterator[Inner]:
        """PNG and JPEG pictures: their readers know what else may stand in them."""
        past = 0
        for mark in _PICTURE.finditer(self.content):
            at = mark.start()
            if at < past or self._is_taken(at):
                continue
            kind, find_end = ("png", _png_end) if mark[0] == _PNG else ("jpg", _jpeg_end)
            past = end = find_end(self.content, at)
            if end > at and end - at < len(self.content):
                yield Inner(
                    name=f"picture-{at}.{kind}", offset=at, chunks=(memoryview(self.content)[at:end],)
                )
                self._take(at, end)

    def _packed(self) -> Iterator[Inner]:
        """Zlib streams anywhere: pictures of drawings (MS-ODRAW 2.2.23 and on), and what else is packed."""
        end = 0
        for mark in _ZLIB.finditer(self.content):
            at = mark.start()
            if at < end or self._is_taken(at) or not self._inflates(at):
                continue
            if self._work < 0:
                self.overlaps = True
                return
            made = Inflated(memoryview(self.content)[at:])
            yield Inner(name=f"inflated-{at}.bin", offset=at, chunks=made)
            self._work -= 0 if made.whole else made.made
            if made.whole:
                end = at + made.used
                self._take(at, end)

    def _inflates(self, at: int) -> bool:
        """A short trial: random bytes rarely stand it."""
        inflate = zlib.decompressobj()
        try:
            made = inflate.decompress(self.content[at : at + _TRIAL_BYTES], 4 * _TRIAL_BYTES)
        except zlib.error:
            return False
        if inflate.eof:
            return len(made) >= _LEAST_BYTES
        at_end = at + _TRIAL_BYTES >= len(self.content)
        return len(made) >= (4 * _LEAST_BYTES if at_end else _SURE_BYTES)


def _as_far_as(inflate: Any, step: bytes) -> bytes:
    """What comes out in front of the damage: a call that fails gives nothing of what it had made."""
    made: list[bytes] = []
    with suppress(zlib.error):
        made.extend(
            inflate.decompress(step[at : at + _SMALL_STEP], _INFLATE_BYTES)
            for at in range(0, len(step), _SMALL_STEP)
        )
    return b"".join(made)


def zips(content: bytes) -> list[tuple[int, int]]:
    """Where zips that are whole begin and end, in order: each end record leads to its first member.

    Comments are left out: the records around them say nothing of any, and what looks like one is theirs.
    """
    found: list[tuple[int, int]] = []
    at = content.find(b"PK\5\6")
    while 0 <= at <= len(content) - _ZIP_END.size:
        _, _, _, _, _, size, place, _ = _ZIP_END.unpack_from(content, at)
        start = at - size - place
        end = at + _ZIP_END.size
        if start >= 0 and content.startswith(b"PK\3\4", start):
            while found and found[-1][0] >= start:
                found.pop()  # a zip that is stored in this one
            if not found or found[-1][1] <= start:
                found.append((start, end))
        at = content.find(b"PK\5\6", at + 4)
    return found


def _png_end(content: bytes, at: int) -> int:
    """Where a picture's last chunk ends, or its start where the chunks do not hold."""
    place = at + len(_PNG)
    while place + 12 <= len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        kind = content[place + 4 : place + 8]
        place += 12 + size
        if not kind.isalpha() or place > len(content):
            return at
        if kind == b"IEND":
            return place
    return at


def _jpeg_end(content: bytes, at: int) -> int:
    """Where the picture's end mark is, or its start where its segments do not hold."""
    place, scanning = at + 2, False
    while place + 4 <= len(content):
        if scanning:
            mark = _MARKER.search(content, place)
            if mark is None:
                return at
            place = mark.end() - 2
        kind = content[place + 1]
        if content[place] != 0xFF or kind < 0xC0:
            return at
        if kind == 0xD9:
            return place + 2
        place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
        scanning = scanning or kind == 0xDA
    return place + 2 if content[place : place + 2] == b"\xff\xd9" else at
