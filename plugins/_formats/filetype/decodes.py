"""Encodings without a mark: bytes are one of them if they decode as such from the first byte to the last."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from .texts import by_text
from .types import FileType

_MIN_BYTES = 24
_STEP_BYTES = 64 * 1024
_ENOUGH_BYTES = 256 * 1024
"""So many bytes without an error are no chance, either."""
_MOST_TOKENS = 20_000
_HEADERS = (0, 2, 4, 6, 8, 10, 12, 16)
_MOST_TRAILER, _LONG_BYTES = 16, 64


def _kind(label: str) -> FileType:
    return FileType(f"application/x-{label}", label, "", "archive")


def by_decoding(view: memoryview) -> FileType | None:
    """The encoding, or None; the time this takes does not grow with the bytes above a bound."""
    if len(view) < _MIN_BYTES:
        return None
    return next((kind for kind, decodes in _ENCODINGS if decodes(view)), None)


def _is_deflate(view: memoryview) -> bool:
    return deflate_at(view) is not None


def deflate_at(view: memoryview) -> int | None:
    """Where a bare deflate stream (RFC 1951) begins that reaches to the end, or up to sixteen bytes before.

    It may stand behind a short header of sizes, but then what comes out must be text: of the eight places
    that are tried a wrong one would be right by chance too often.
    """
    return next(
        (start for start in _HEADERS if _deflates(view[start:]) and (not start or _makes_text(view[start:]))),
        None,
    )


def _makes_text(view: memoryview) -> bool:
    return by_text(zlib.decompressobj(-15).decompress(view[:_STEP_BYTES], 4_096)) is not None


def _deflates(view: memoryview) -> bool:
    """The last block ends with the last bytes, and more came out than went in."""
    decoder, made = zlib.decompressobj(-15), 0
    spare = _MOST_TRAILER if len(view) >= _LONG_BYTES else 0
    for start in range(0, min(len(view), _ENOUGH_BYTES), _STEP_BYTES):
        data: bytes | memoryview = view[start : start + _STEP_BYTES]
        try:
            out = decoder.decompress(data, _STEP_BYTES)
            made += len(out)
            for _ in range(16):  # a bomb stays for the reader
                if decoder.eof or not decoder.unconsumed_tail:
                    break
                made += len(decoder.decompress(decoder.unconsumed_tail, _STEP_BYTES))
        except zlib.error:
            return False
        if decoder.eof:
            left = len(decoder.unused_data) + max(0, len(view) - start - _STEP_BYTES)
            return left <= spare and made >= len(view)
        if decoder.unconsumed_tail:
            return True
    return len(view) > _ENOUGH_BYTES and made > _ENOUGH_BYTES


def _is_brotli(view: memoryview) -> bool:
    """RFC 7932: as above; what is not compressed at all is taken for chance."""
    import brotli

    decoder, made = brotli.Decompressor(), 0
    try:
        for start in range(0, min(len(view), _ENOUGH_BYTES), _STEP_BYTES):
            out = decoder.process(bytes(view[start : start + _STEP_BYTES]), output_buffer_limit=_STEP_BYTES)
            made += len(out)
            for _ in range(16):
                if decoder.can_accept_more_data():
                    break
                made += len(decoder.process(b"", output_buffer_limit=_STEP_BYTES))
            else:
                return True
            if decoder.is_finished():
                return start + _STEP_BYTES >= len(view) and made >= len(view) - 8
    except brotli.error:
        return False
    return len(view) > _ENOUGH_BYTES and made > _ENOUGH_BYTES


def _is_snappy(view: memoryview) -> bool:
    """The raw format: the length, then literals and copies that make exactly so many bytes."""
    size, at, shift = 0, 0, 0
    while at < min(5, len(view)):
        size |= (view[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if view[at - 1] < 0x80:
            break
    else:
        return False
    end, made = len(view), 0
    if not len(view) // 4 <= size < 1 << 32:
        return False
    for _ in range(_MOST_TOKENS):
        if at >= end:
            return at == end and made == size
        tag = view[at]
        kind = tag & 3
        if kind == 0:
            more = max(0, (tag >> 2) - 59)
            length = (int.from_bytes(view[at + 1 : at + 1 + more], "little") if more else tag >> 2) + 1
            at += 1 + more + length
        else:
            width = (0, 1, 2, 4)[kind]
            offset = int.from_bytes(view[at + 1 : at + 1 + width], "little") | (
                (tag >> 5) << 8 if kind == 1 else 0
            )
            length = (tag >> 2 & 7) + 4 if kind == 1 else (tag >> 2) + 1
            if not 0 < offset <= made:
                return False
            at += 1 + width
        made += length
        if made > size:
            return False
    return True


def _is_iwa(view: memoryview) -> bool:
    """Chunks behind a zero and three bytes of length, to the last byte; the first is a snappy block."""
    at = 0
    for _ in range(_MOST_TOKENS):
        if at == len(view):
            break
        if at + 4 > len(view) or view[at]:
            return False
        size = int.from_bytes(view[at + 1 : at + 4], "little")
        if size < 2 or at + 4 + size > len(view):
            return False
        at += 4 + size
    first = int.from_bytes(view[1:4], "little")
    return _is_snappy(view[4 : 4 + first])


def _is_lz4_block(view: memoryview) -> bool:
    """A block behind its plain size, as the usual libraries store it."""
    size = int.from_bytes(view[:4], "little")
    return size >= 16 and lz4_block_size(view[4:], size) == size


def lz4_block_size(view: memoryview, most: int) -> int:
    """How many bytes a block makes (LZ4 block format description), or -1 where it is none."""
    at, made, end = 0, 0, len(view)
    for _ in range(_MOST_TOKENS):
        if at >= end:
            return -1
        token, at = view[at], at + 1
        length, at = _lz4_length(view, at, token >> 4)
        at += length
        made += length
        if at == end:
            return made
        offset = int.from_bytes(view[at : at + 2], "little")
        if at + 2 > end or not 0 < offset <= made:
            return -1
        length, at = _lz4_length(view, at + 2, token & 15)
        made += length + 4
        if made > most:
            return -1
    return most


def _lz4_length(view: memoryview, at: int, length: int) -> tuple[int, int]:
    if length < 15:
        return length, at
    while at < len(view):
        length, at = length + view[at], at + 1
        if view[at - 1] != 0xFF:
            break
    return length, at


_ENCODINGS: tuple[tuple[FileType, Callable[[memoryview], bool]], ...] = (
    (_kind("deflate"), _is_deflate),
    (_kind("snappyraw"), _is_snappy),
    (_kind("iwa"), _is_iwa),
    (_kind("lz4block"), _is_lz4_block),
    (FileType("application/x-brotli", "brotli", "br", "archive"), _is_brotli),
)
LABELS = frozenset(kind.label for kind, _ in _ENCODINGS)
