"""Single compressed streams that end with their file: `.Z`, brotli (RFC 7932) and lz4's legacy frames."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any

from stoq_core.errors import Reason
from stoq_core.limits import MiB

from .declare import Format, Mark, Reader, Source, number
from .entry import CHUNK_BYTES, BadArchive, Chunks, Decoding, Entry, Member, sliced
from .lzw import unlzw
from .stream import inner_name

LZ4_LEGACY_MAGIC = b"\x02\x21\x4c\x18"
_LZ4_BLOCK_BYTES = 8 * MiB
_PROBE_BYTES = 4 * MiB
_BROTLI_STEP_BYTES = 4_096
_LZ4_BOUND = _LZ4_BLOCK_BYTES + _LZ4_BLOCK_BYTES // 255 + 16


def read_single(source: Source, kind: str) -> Iterator[Entry]:
    """The one member; `kind` is compress, brotli or lz4-legacy."""
    member = Member(name=inner_name(source.payload.name), method=kind)
    yield Entry(member, lambda _passwords: _claimed(source, _READERS[kind]))


def _claimed(source: Source, read: Callable[[memoryview], Decoding]) -> Chunks:
    """What `read` gives; up to where it ends the bytes are the child's."""
    try:
        end = yield from read(source.view)
    except (BadArchive, GeneratorExit):  # damaged, or more than is wanted
        source.account.unread(0, len(source.view))
        raise
    source.account.child(0, end)


def is_brotli(view: memoryview) -> bool:
    """True where the beginning decodes: brotli has no magic, so a name that ends in `.br` may lie."""
    decoding, made = _unbrotli(view[:_PROBE_BYTES]), 0
    try:
        for chunk in decoding:
            made += len(chunk)
    except BadArchive as error:
        return error.reason is Reason.TRUNCATED or made >= _BROTLI_STEP_BYTES
    return True


def inflated(view: memoryview) -> Decoding:
    """A zlib stream (RFC 1950) within another format."""
    return inflated_parts(sliced(view))


def inflated_parts(parts: Iterator[bytes | memoryview]) -> Decoding:
    """The same where it comes in parts; what stands behind its end is not looked at."""
    decoder, data, given = zlib.decompressobj(), bytes(next(parts, b"")), 0
    given = len(data)
    while not decoder.eof:
        try:
            out = decoder.decompress(data, CHUNK_BYTES)
        except zlib.error as error:
            raise BadArchive(Reason.CORRUPT, f"the compressed data is damaged: {error}") from None
        if out:
            yield out
        data = decoder.unconsumed_tail
        if not data and not out and not decoder.eof:
            data = bytes(next(parts, b""))
            given += len(data)
            if not data:
                raise BadArchive(Reason.TRUNCATED, "the compressed data ends in the middle")
    return given - len(decoder.unused_data)


def _unlzw(view: memoryview) -> Decoding:
    """LZW has no mark for its end: it goes on as long as the file does."""
    for chunk in unlzw(view):
        yield bytes(chunk)
    return len(view)


def _unbrotli(view: memoryview) -> Decoding:
    """At most a chunk a step; brotli's own window is at most 16 MiB (large windows are not asked for).

    The library calls it an error where anything follows the end in the bytes that it is given: what
    was read without one is read once more then, and the rest byte by byte.
    """
    decoder, at, made = _decoder(), 0, 0
    while not decoder.is_finished():
        data = b""
        if decoder.can_accept_more_data():
            data = bytes(view[at : at + _BROTLI_STEP_BYTES])
        try:
            out = decoder.process(data, output_buffer_limit=CHUNK_BYTES)
        except _brotli_error():
            return (yield from _brotli_end(view, at, made))
        at += len(data)
        made += len(out)
        if out:
            yield out
        elif not data and at >= len(view) and not decoder.is_finished():
            raise BadArchive(Reason.TRUNCATED, "the brotli stream ends in the middle")
    return at


def _brotli_end(view: memoryview, at: int, made: int) -> Decoding:
    """What comes behind the first `made` bytes, of a stream that ends or breaks soon behind `at`."""
    decoder, place, skip = _decoder(), 0, made
    while not decoder.is_finished():
        data = b""
        if decoder.can_accept_more_data():
            data = bytes(view[place : min(at, place + CHUNK_BYTES) if place < at else place + 1])
        try:
            out = decoder.process(data, output_buffer_limit=CHUNK_BYTES)
        except _brotli_error() as error:
            raise BadArchive(Reason.CORRUPT, f"the brotli stream is damaged: {error}") from None
        if not out and not data and place >= len(view):
            raise BadArchive(Reason.TRUNCATED, "the brotli stream ends in the middle")
        place += len(data)
        if len(out) > skip:
            yield out[skip:]
        skip = max(0, skip - len(out))
    return place


def _decoder() -> Any:
    import brotli

    return brotli.Decompressor()


def _brotli_error() -> type[Exception]:
    import brotli

    kind: type[Exception] = brotli.error
    return kind


def _lz4_legacy(view: memoryview) -> Decoding:
    """Blocks of at most 8 MiB, each behind its size (LZ4 frame format description, *Legacy frame*)."""
    import lz4.block

    at = 4
    while at < len(view):
        word = bytes(view[at : at + 4])
        if word == LZ4_LEGACY_MAGIC:
            at += 4
            continue
        size = int.from_bytes(word, "little")
        if at > 4 and (len(word) < 4 or size == 0 or size > _LZ4_BOUND):
            return at  # another frame, padding, or something else: not a block
        block = view[at + 4 : at + 4 + size]
        if size == 0 or size > _LZ4_BOUND:
            raise BadArchive(Reason.CORRUPT, f"there is no block at offset {at}")
        if len(block) < size:
            raise BadArchive(Reason.TRUNCATED, "the file ends within a block")
        try:
            yield lz4.block.decompress(block, uncompressed_size=_LZ4_BLOCK_BYTES)
        except lz4.block.LZ4BlockError as error:
            raise BadArchive(Reason.CORRUPT, f"the block at offset {at} is damaged: {error}") from None
        at += 4 + size
    return at


_READERS: dict[str, Callable[[memoryview], Decoding]] = {
    "compress": _unlzw, "brotli": _unbrotli, "lz4-legacy": _lz4_legacy,
}  # fmt: skip


def _compress_begins(view: memoryview, offset: int) -> bool:
    """Reserved bits, sizes of codes, and a first code that is a letter."""
    flags = number(view, offset + 2, 1)
    return not flags & 0x60 and 9 <= flags & 0x1F <= 16 and not number(view, offset + 4, 1) & 1


def _legacy_begins(view: memoryview, offset: int) -> bool:
    return 0 < number(view, offset + 4, 4) <= _LZ4_BOUND


def _single(kind: str) -> Reader:
    return lambda source: read_single(source, kind)


FORMATS = (
    Format("compress", _single("compress"), (Mark(b"\x1f\x9d"),), _compress_begins, container=False),
    Format("lz4-legacy", _single("lz4-legacy"), (Mark(LZ4_LEGACY_MAGIC),), _legacy_begins, container=False),
    Format("brotli", _single("brotli"), container=False),
)
