"""Find the objects and streams of a PDF by looking for them: its own tables of places are not asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from stoq_core.errors import LimitReached, Reason

from .damage import Meter
from .seen import Seen
from .syntax import OTHER_FILTER, Parser

_HEAD = re.compile(rb"obj(?=[\0\t\n\f\r <\[(/%+.\d-]|\Z)|trailer")
_NUMBERS = re.compile(
    rb"(?<!\d)(\d{1,10})[\0\t\n\f\r ]+(\d{1,5})[\0\t\n\f\r ]*(?:%[^\r\n]*[\r\n]+[\0\t\n\f\r ]*)?\Z"
)
_LOOK_BACK = 96
_ENDS_HERE = re.compile(rb"[\0\t\n\f\r ]*+endstream")
_ENDSTREAM = re.compile(rb"endstream")
_ENCRYPTED = re.compile(rb"/(?:E|#45)(?:n|#6[eE])(?:c|#63)(?:r|#72)")
_ENDOBJ = re.compile(rb"endobj")
_BEGINS = re.compile(rb"[\t ]*(?:\r\n|\n|\r)")
_LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_MOST_OBJECTS = 1_000_000
_MOST_STREAMS = 200_000
_CHECK_EVERY = 256
_FREE_WORK = 64 * 1024
_TRAILER = (b"Encrypt", b"Info", b"ID", b"Root")


class Stream(msgspec.Struct):
    """A stream object: what its dictionary says of it, and where its bytes begin and end."""

    number: int
    generation: int
    start: int
    end: int = 0
    cut: bool = False
    kind: bytes = b""
    subtype: bytes = b""
    filters: Any = None
    params: Any = None
    length: Any = None
    count: Any = None
    first: Any = None


class Document:
    """The objects of a PDF: `seen` knows what they say, `streams` are in the order of the file."""

    def __init__(self, view: memoryview, meter: Meter) -> None:
        """Nothing is read yet."""
        self.view = view
        self.seen = Seen()
        self.streams: list[Stream] = []
        self.spans: list[tuple[int, int]] = []
        """Where objects and trailers begin and end, the bytes of their streams left out."""
        self.claimed: dict[int, int] = {}
        """Where the streams begin and end whose bytes are accounted for."""
        self.objects = 0
        self.clipped = False
        self._meter = meter

    def read(self) -> None:
        """Find all objects. Raises `LimitReached` when there are too many or the time is over."""
        self.seen.keeps_strings = _ENCRYPTED.search(self.view) is not None
        parser = Parser(self.view, self.seen, self._meter.check)
        heads = _heads(self.view)
        size = len(self.view)
        head = next(heads, None)
        try:
            while head is not None:
                following = next(heads, None)
                limit = size
                if following and parser.passed > 2 * size + _FREE_WORK:
                    limit = following.start()  # objects within strings of others: each to the next one only
                self._object(parser, head, limit)
                head = following
        finally:
            self.clipped = self.clipped or parser.clipped
            self._places()

    def _object(self, parser: Parser, head: re.Match[bytes], limit: int) -> None:
        number, generation, start = self._numbers(head.start())
        self.seen.owner = (number, generation)
        parsed = parser.value(head.end(), limit)
        self.spans.append((start, max(parsed.stream, parsed.end)))
        value = parsed.value
        if head[0] == b"trailer":
            if isinstance(value, dict):
                self._trailer(value)
            return
        self.objects += 1
        if self.objects > _MOST_OBJECTS or len(self.streams) >= _MOST_STREAMS:
            raise LimitReached(Reason.OPTION_LIMIT, "the document has more objects than are read")
        if self.objects % _CHECK_EVERY == 0:
            self._meter.check()
        if parsed.stream >= 0:
            self._stream(number, generation, value if isinstance(value, dict) else {}, parsed.stream)
        else:
            self.seen.keep(number, value)

    def _numbers(self, at: int) -> tuple[int, int, int]:
        """An object's number and generation, and where they stand."""
        first = max(0, at - _LOOK_BACK)
        found = _NUMBERS.search(bytes(self.view[first:at]))
        return (int(found[1]), int(found[2]), first + found.start()) if found else (-1, 0, at)

    def _trailer(self, value: dict[bytes, Any]) -> None:
        self.seen.trailer.update((key, value[key]) for key in _TRAILER if key in value)

    def _stream(self, number: int, generation: int, said: dict[bytes, Any], at: int) -> None:
        one = Stream(number, generation, at)
        kind, subtype = said.get(b"Type"), said.get(b"Subtype")
        one.kind, one.subtype = _word(kind), _word(subtype)
        one.filters = said.get(b"Filter")
        one.params = said.get(b"DecodeParms", said.get(b"DP"))
        one.length, one.count, one.first = said.get(b"Length"), said.get(b"N"), said.get(b"First")
        self.streams.append(one)
        if OTHER_FILTER in said:
            self.streams.append(msgspec.structs.replace(one, filters=said[OTHER_FILTER]))
        if one.kind == b"XRef":
            self._trailer(said)

    def _places(self) -> None:
        """Where each stream begins and ends: by its length if the file agrees, else at the next end mark."""
        ends, objects = _Next(_ENDSTREAM, self.view), _Next(_ENDOBJ, self.view)
        for one in self.streams:
            begins = _BEGINS.match(self.view, one.start)
            one.start = begins.end() if begins else one.start
            length = self.seen.resolved(one.length)
            if type(length) is int and 0 <= length <= len(self.view) - one.start:
                one.end = one.start + length
                if _ENDS_HERE.match(self.view, one.end):
                    continue
            end = ends.after(one.start)
            if end < 0:
                end = objects.after(one.start)
            one.cut = end < 0
            one.end = len(self.view) if end < 0 else _without_newline(self.view, one.start, end)

    def bytes_of(self, one: Stream) -> memoryview:
        """A stream's bytes as they stand."""
        return self.view[one.start : one.end]

    def filters_of(self, one: Stream) -> tuple[Any, Any]:
        """The filters and their parameters, references followed."""
        resolved = self.seen.resolved
        filters, params = resolved(one.filters), resolved(one.params)
        if one.filters is not None and filters is None:
            filters = one.filters  # a reference to nothing: not a stream without filters
        if isinstance(filters, list):
            filters = [resolved(each) for each in filters]
        if isinstance(params, list):
            params = [resolved(each) for each in params]
        return filters, params

    def read_packed(self, content: bytes, one: Stream) -> None:
        """The objects of an object stream (7.5.7): pairs of number and place, then the objects."""
        view, size = memoryview(content), len(content)
        parser = Parser(view, self.seen, self._meter.check)
        first = one.first if type(one.first) is int and 0 < one.first <= size else size
        numbers = content[:first].split()
        places: dict[int, int] = {}
        for number, place in zip(numbers[::2], numbers[1::2], strict=False):
            if not (number.isdigit() and place.isdigit()) or len(places) >= _MOST_OBJECTS:
                break
            places.setdefault(first + int(place[:12]), int(number[:12]))
        starts = sorted(at for at in places if at < size)
        self.seen.in_stream, self.seen.owner = True, None
        end = 0
        try:
            for n, at in enumerate(starts):
                following = starts[n + 1] if n + 1 < len(starts) else size
                parsed = parser.value(at, following if parser.passed > 2 * size + _FREE_WORK else size)
                self.objects += 1
                self.seen.keep(places[at], parsed.value)
                if n % _CHECK_EVERY == 0:
                    self._meter.check()
            while not starts and end < size:  # no such table: all that can be read, from the beginning
                end = max(parser.value(end, size).end, end + 1)
        finally:
            self.seen.in_stream = False
            self.clipped = self.clipped or parser.clipped


class _Next:
    """Where a mark stands next behind places that only grow; each stretch is searched once."""

    def __init__(self, mark: re.Pattern[bytes], view: memoryview) -> None:
        self._mark, self._view = mark, view
        self._at = -1
        self._none = False

    def after(self, at: int) -> int:
        """The next one at or behind `at`, or -1."""
        if not self._none and self._at < at:
            found = self._mark.search(self._view, at)
            self._none, self._at = found is None, found.start() if found else -1
        return -1 if self._none else self._at


def _heads(view: memoryview) -> Iterator[re.Match[bytes]]:
    """Where objects and trailers begin: every `obj` that is no part of another word."""
    for found in _HEAD.finditer(view):
        at = found.start()
        if not at or view[at - 1] not in _LETTERS:
            yield found


def _word(value: Any) -> bytes:
    return bytes(value)[:64] if isinstance(value, bytes) else b""


def _without_newline(view: memoryview, start: int, end: int) -> int:
    tail = bytes(view[max(start, end - 2) : end])
    return end - (2 if tail == b"\r\n" else 1 if tail[-1:] in (b"\r", b"\n") and tail else 0)
