"""Single compressed streams that end with their file: `.Z`, brotli (RFC 7932) and lz4's legacy frames."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any

from stoq_core.errors import Reason
from stoq_core.limits import MiB

from .declare import Format, Mark, Reader, number
from .entry import CHUNK_BYTES, BadArchive, Chunks, Entry, Member, sliced
from .lzw import unlzw
from .stream import decompressed, inner_name

LZ4_LEGACY_MAGIC = b"\x02\x21\x4c\x18"
_LZ4_FRAME_MAGIC = b"\x04\x22\x4d\x18"
_LZ4_BLOCK_BYTES = 8 * MiB
_PROBE_BYTES = 4 * MiB
_LZ4_BOUND = _LZ4_BLOCK_BYTES + _LZ4_BLOCK_BYTES // 255 + 16


def read_single(view: memoryview, kind: str, outer_name: str) -> Iterator[Entry]:
    """The one member; `kind` is compress, brotli or lz4-legacy."""
    read = _READERS[kind]
    yield Entry(Member(name=inner_name(outer_name), method=kind), lambda _passwords: read(view))


def is_brotli(view: memoryview) -> bool:
    """True where the beginning decodes: brotli has no magic, so a name that ends in `.br` may lie."""
    import brotli

    decoder = brotli.Decompressor()
    try:
        for at in range(0, min(len(view), _PROBE_BYTES), CHUNK_BYTES):
            if decoder.process(bytes(view[at : at + CHUNK_BYTES]), output_buffer_limit=1):
                return True
    except brotli.error:
        return False
    return True


def inflated(view: memoryview) -> Chunks:
    """A zlib stream (RFC 1950) within another format."""
    return inflated_parts(sliced(view))


def inflated_parts(parts: Iterator[bytes | memoryview]) -> Chunks:
    """The same where it comes in parts; what stands behind its end is not looked at."""
    decoder, data = zlib.decompressobj(), next(parts, b"")
    while not decoder.eof:
        try:
            out = decoder.decompress(data, CHUNK_BYTES)
        except zlib.error as error:
            raise BadArchive(Reason.CORRUPT, f"the compressed data is damaged: {error}") from None
        if out:
            yield out
        data = decoder.unconsumed_tail or (b"" if out else next(parts, b""))
        if not out and not data and not decoder.eof:
            raise BadArchive(Reason.TRUNCATED, "the compressed data ends in the middle")


def _unbrotli(view: memoryview) -> Chunks:
    """At most a chunk a step; brotli's own window is at most 16 MiB (large windows are not asked for)."""
    import brotli

    decoder, at = brotli.Decompressor(), 0
    while not decoder.is_finished():
        data = b""
        if decoder.can_accept_more_data():
            data = bytes(view[at : at + CHUNK_BYTES])
            at += len(data)
        out = _brotli_step(decoder, data)
        if out:
            yield out
        elif not data and at >= len(view) and not decoder.is_finished():
            raise BadArchive(Reason.TRUNCATED, "the brotli stream ends in the middle")


def _brotli_step(decoder: Any, data: bytes) -> bytes:
    import brotli

    try:
        made: bytes = decoder.process(data, output_buffer_limit=CHUNK_BYTES)
    except brotli.error as error:
        raise BadArchive(Reason.CORRUPT, f"the brotli stream is damaged: {error}") from None
    return made


def _lz4_legacy(view: memoryview) -> Chunks:
    """Blocks of at most 8 MiB, each behind its size (LZ4 frame format description, *Legacy frame*)."""
    import lz4.block

    at = 4
    while at < len(view):
        word = bytes(view[at : at + 4])
        if word == LZ4_LEGACY_MAGIC:
            at += 4
            continue
        if word == _LZ4_FRAME_MAGIC:
            yield from decompressed(view[at:], "lz4")
            return
        size = int.from_bytes(word, "little")
        block = view[at + 4 : at + 4 + size]
        if len(word) < 4 or size == 0 or size > _LZ4_BOUND:
            raise BadArchive(Reason.CORRUPT, f"there is no block at offset {at}")
        if len(block) < size:
            raise BadArchive(Reason.TRUNCATED, "the file ends within a block")
        try:
            yield lz4.block.decompress(block, uncompressed_size=_LZ4_BLOCK_BYTES)
        except lz4.block.LZ4BlockError as error:
            raise BadArchive(Reason.CORRUPT, f"the block at offset {at} is damaged: {error}") from None
        at += 4 + size


_READERS: dict[str, Callable[[memoryview], Chunks]] = {
    "compress": unlzw, "brotli": _unbrotli, "lz4-legacy": _lz4_legacy,
}  # fmt: skip


def _compress_begins(view: memoryview, offset: int) -> bool:
    """Reserved bits, sizes of codes, and a first code that is a letter."""
    flags = number(view, offset + 2, 1)
    return not flags & 0x60 and 9 <= flags & 0x1F <= 16 and not number(view, offset + 4, 1) & 1


def _legacy_begins(view: memoryview, offset: int) -> bool:
    return 0 < number(view, offset + 4, 4) <= _LZ4_BOUND


def _single(kind: str) -> Reader:
    return lambda source: read_single(source.view, kind, source.payload.name)


FORMATS = (
    Format("compress", _single("compress"), (Mark(b"\x1f\x9d"),), _compress_begins, container=False),
    Format("lz4-legacy", _single("lz4-legacy"), (Mark(LZ4_LEGACY_MAGIC),), _legacy_begins, container=False),
    Format("brotli", _single("brotli"), container=False),
)
