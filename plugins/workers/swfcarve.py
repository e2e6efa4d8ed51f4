"""Carve Flash movies out of anything: plain, zlib and LZMA ones, each inflated with its header rewritten.

Layout: SWF File Format Specification 19, chapter 2, *The SWF header*; ZWS as Flash Player 11 reads it.
"""

from __future__ import annotations

import lzma
import re
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from stoq_core.errors import Reason
from stoq_core.job import Job
from stoq_core.limits import MiB
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_MARK = re.compile(rb"[FCZ]WS[\x01-\x3f]")
_HEADER_BYTES = 8
_FIRST_BYTES = 512  # false marks are many: the first step is a small one
_FEED_BYTES = 1 << 16
_STEP_BYTES = 1 << 18
_LZMA_AT = 12  # signature, version, length; then the compressed length, which nobody needs
_LZMA_PROPERTIES = 5
_LZMA_MEMORY = 96 * MiB
_HEAD_BYTES = 64
_LEAST_MOVIE = 13  # an empty RECT, rate, count and the End tag make a body of this size with the header
_LEAST_DAMAGED = 256  # what breaks off sooner, in the middle of other bytes, never was a movie
_MAX_TAG = 255
_FREE_WORK_BYTES = 64 * MiB
_WORK_A_BYTE = 8
_WORK_A_MARK = 256


class SwfMovie(msgspec.Struct, frozen=True):
    """A movie: `offset`, `version`, how it was packed (`signature`), and its `size` in bytes unpacked."""

    offset: int
    version: int
    signature: str
    size: int


class SwfcarveResult(msgspec.Struct, frozen=True):
    """`count` of the movies, and each of the `movies`."""

    count: int
    movies: list[SwfMovie]


class Swfcarve(Worker[Options]):
    """Yield each movie as an uncompressed `FWS` file with its real length (`offset`, `version`).

    Headers are not believed: a compressed movie must inflate to a frame that makes sense, a plain one
    must have tags. What is cut short is kept as far as it goes. A payload that is a plain movie itself
    is counted and not yielded again. Work on marks that lead nowhere is bounded.
    """

    roles = ("opens",)
    result = SwfcarveResult
    errors = {
        "truncated": "a movie ends before its data does",
        "corrupt": "a movie's compressed data breaks off with an error",
        "too_many_marks": "so many false movies that the rest was not tried",
    }

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield a child a movie, then one `SwfcarveResult`."""
        view = payload.view()
        found: list[SwfMovie] = []
        work = _Work(view, job)
        after = 0
        for mark in _MARK.finditer(view):
            if mark.start() < after:
                continue
            if work.spent > _FREE_WORK_BYTES + _WORK_A_BYTE * len(view):
                message = f"tried {work.tried} marks; the rest from offset {mark.start()} on was not tried"
                job.error("too_many_marks", message)
                job.unread(Reason.OPTION_LIMIT, message)
                break
            movie = work.measure(mark.start())
            if movie is None:
                continue
            found.append(SwfMovie(movie.start, movie.version, movie.signature, movie.size))
            if not (movie.signature == "FWS" and movie.size == len(view)):
                yield job.child(work.chunks(movie), offset=movie.start, version=movie.version)
            elif not movie.start:
                job.account.structure(0, _HEADER_BYTES)  # a plain one: its body is the `tail`
            work.report(movie)
            after = movie.end
        if found:
            yield SwfcarveResult(len(found), found)


class _Movie(NamedTuple):
    """A movie that holds: `size` unpacked with its header, `end` of what it takes of the payload."""

    start: int
    end: int
    version: int
    signature: str
    size: int
    problem: Reason | None


class _Work:
    """Measures movies, and counts the bytes that this takes."""

    def __init__(self, view: memoryview, job: Job) -> None:
        self._view = view
        self._job = job
        self.spent = 0
        self.tried = 0

    def measure(self, at: int) -> _Movie | None:
        """The movie that begins at `at`, or None where only its mark does."""
        self.tried += 1
        self.spent += _WORK_A_MARK
        signature = bytes(self._view[at : at + 3]).decode("ascii")
        if signature == "FWS":
            return self._plain(at)
        head, size, stream = b"", _HEADER_BYTES, _Stream(self._view, at)
        most = self._job.bytes_left
        for chunk in stream:
            head = head or chunk[:_HEAD_BYTES]
            size += len(chunk)
            self.spent += len(chunk)
            if not _makes_sense(head) or size > most or self._job.deadline.expired:
                break
        least = _LEAST_MOVIE if not at or stream.problem is None else _LEAST_DAMAGED
        if size < least or not _makes_sense(head):
            return None
        return _Movie(at, stream.at, self._view[at + 3], signature, size, stream.problem)

    def _plain(self, at: int) -> _Movie | None:
        claimed = int.from_bytes(self._view[at + 4 : at + 8], "little")
        body = self._view[at + _HEADER_BYTES : at + claimed]
        if claimed < _LEAST_MOVIE or not _makes_sense(bytes(body[:_HEAD_BYTES])) or not _has_tags(body):
            return None
        size = min(claimed, len(self._view) - at)
        problem = Reason.TRUNCATED if size < claimed else None
        return _Movie(at, at + size, self._view[at + 3], "FWS", size, problem)

    def chunks(self, movie: _Movie) -> Iterator[bytes | memoryview]:
        """The movie uncompressed, under a header that tells its real length."""
        length = min(movie.size, 0xFFFFFFFF)
        yield b"FWS" + bytes([movie.version]) + length.to_bytes(4, "little")
        if movie.signature == "FWS":
            yield self._view[movie.start + _HEADER_BYTES : movie.end]
        else:
            yield from _Stream(self._view, movie.start)

    def report(self, movie: _Movie) -> None:
        """A movie that is not whole: an error and a reason; a plain one hides nothing where it ends."""
        if movie.problem is not None and (movie.signature != "FWS" or not movie.start):
            message = f"the movie at offset {movie.start} is {movie.problem.value}"
            self._job.error(movie.problem.value, message)
            self._job.unread(movie.problem, message)


class _Stream:
    """A compressed movie's body in pieces; afterwards `at` is where it ends and `problem` what failed."""

    def __init__(self, view: memoryview, start: int) -> None:
        self._view = view
        self.at = start
        self.problem: Reason | None = None
        zipped = view[start] == ord("C")
        if zipped:
            self._from = start + _HEADER_BYTES
            self._decoder: Any = zlib.decompressobj()
            self._first = b""
            return
        self._from = start + _LZMA_AT + _LZMA_PROPERTIES
        self._decoder = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_LZMA_MEMORY)
        # the .lzma format has the unpacked length between properties and data: all ones for unknown
        self._first = bytes(view[start + _LZMA_AT : self._from]) + b"\xff" * 8

    def __iter__(self) -> Iterator[bytes]:
        at, data, feed = self._from, self._first, _FIRST_BYTES
        while not self._decoder.eof:
            if not data:
                data, feed = bytes(self._view[at : at + feed]), _FEED_BYTES
                at += len(data)
                if not data:
                    self.problem = Reason.TRUNCATED
                    break
            try:
                out = self._decoder.decompress(data, _STEP_BYTES)
                data = getattr(self._decoder, "unconsumed_tail", b"")
                yield from (out,) if out else ()
                while not data and not self._decoder.eof and len(out) == _STEP_BYTES:
                    out = self._decoder.decompress(b"", _STEP_BYTES)
                    yield from (out,) if out else ()
            except (zlib.error, lzma.LZMAError, EOFError):
                self.problem = Reason.CORRUPT
                break
        self.at = max(self._from, at - len(self._decoder.unused_data) - len(data))


def _makes_sense(head: bytes) -> bool:
    """A frame whose edges are in order, then rate and count: what every movie's body begins with."""
    if len(head) < 5:
        return False
    bits = head[0] >> 3
    size = (5 + 4 * bits + 7) // 8
    if not bits or len(head) < size:
        return False
    number = int.from_bytes(head[:size]) >> (size * 8 - 5 - 4 * bits)
    left, right, top, bottom = (_signed(number >> (bits * n) & (1 << bits) - 1, bits) for n in (3, 2, 1, 0))
    return left <= right and top <= bottom


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def _has_tags(body: memoryview) -> bool:
    """The first two tags are of known codes and lie within the movie (or the first is End)."""
    at = (5 + 4 * (body[0] >> 3) + 7) // 8 + 4
    for _ in range(2):
        if at + 2 > len(body):
            return False
        tag = int.from_bytes(body[at : at + 2], "little")
        code, size, at = tag >> 6, tag & 0x3F, at + 2
        if size == 0x3F:
            size, at = int.from_bytes(body[at : at + 4], "little"), at + 4
        if code > _MAX_TAG:
            return False
        if not code:
            return True
        at += size
    return True
