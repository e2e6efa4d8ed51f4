"""Streams in frames of their own: lzip, Apple's pbzx, zlib and bare deflate streams, LZ4 blocks."""

from __future__ import annotations

import lzma
import re
import zlib
from collections.abc import Iterator

from plugins._formats.filetype.decodes import deflate_at
from stoq_core.errors import Reason
from stoq_core.limits import MiB

from .declare import Format, Mark, Source, number
from .entry import CHUNK_BYTES, MAX_DICTIONARY_BYTES, BadArchive, Chunks, Entry, Member, sliced
from .stream import decompressed, inner_name

_LZIP = b"LZIP\x01"
_LZIP_TRAILER = 20
_GIT_OBJECT = re.compile(rb"(?:blob|tree|commit|tag) (\d{1,12})\0")
_MOST_BLOCK_BYTES = 256 * MiB


def read_lzip(source: Source) -> Iterator[Entry]:
    """All members as one file, as lzip reads them (lzip manual, *File format*)."""
    member = Member(name=inner_name(source.payload.name), method="lzip")
    yield Entry(member, lambda _passwords: _lzip_members(source))


def _lzip_members(source: Source) -> Chunks:
    view, at = source.view, 0
    while bytes(view[at : at + 5]) == _LZIP:
        bits = view[at + 5] & 31 if len(view) > at + 5 else 0
        size = (1 << bits) - ((1 << bits) // 16) * (view[at + 5] >> 5) if 12 <= bits <= 29 else 0
        if not size or size > MAX_DICTIONARY_BYTES:
            raise BadArchive(Reason.UNSUPPORTED_METHOD, "the dictionary has no sane size")
        decoder = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=MAX_DICTIONARY_BYTES + MiB)
        # the same stream as .lzma, behind a header that says lc=3, lp=0, pb=2 and no size
        decoder.decompress(b"\x5d" + size.to_bytes(4, "little") + b"\xff" * 8)
        crc, made, start = 0, 0, at
        at += 6
        while not decoder.eof:
            data = bytes(view[at : at + CHUNK_BYTES]) if decoder.needs_input else b""
            at += len(data)
            if decoder.needs_input and not data:
                raise BadArchive(Reason.TRUNCATED, "the compressed data ends in the middle")
            out = _lzma_step(decoder, data)
            crc, made = zlib.crc32(out, crc), made + len(out)
            yield out
        at -= len(decoder.unused_data)
        if number(view, at, 4) != crc or number(view, at + 4, 8) != made:
            raise BadArchive(Reason.CORRUPT, "the checksum does not hold")
        at += _LZIP_TRAILER
        source.account.child(start, at - start)


def _lzma_step(decoder: lzma.LZMADecompressor, data: bytes) -> bytes:
    try:
        return decoder.decompress(data, CHUNK_BYTES)
    except lzma.LZMAError as error:
        raise BadArchive(Reason.CORRUPT, f"the compressed data is damaged: {error}") from None


def read_pbzx(source: Source) -> Iterator[Entry]:
    """The one member: chunks, each behind its plain and packed size, as xz or as they are."""
    member = Member(name=inner_name(source.payload.name), method="xz")
    yield Entry(member, lambda _passwords: _pbzx_chunks(source))


def _pbzx_chunks(source: Source) -> Chunks:
    view, at = source.view, 12
    source.account.structure(0, 12)
    while at + 16 <= len(view):
        packed = int.from_bytes(view[at + 8 : at + 16])
        data = view[at + 16 : at + 16 + packed]
        if not packed or len(data) < packed:
            if not any(view[at : at + 16]):
                return
            raise BadArchive(Reason.TRUNCATED, f"the chunk at offset {at} is cut short")
        source.account.child(at, 16 + packed)
        yield from decompressed(data, "xz") if bytes(data[:6]) == b"\xfd7zXZ\0" else sliced(data)
        at += 16 + packed


def read_zlib(source: Source) -> Iterator[Entry]:
    """The one member (RFC 1950); a loose object of git is given without its header."""
    member = Member(name=inner_name(source.payload.name), method="zlib")
    yield Entry(member, lambda _passwords: _inflate(source))


def read_deflate(source: Source) -> Iterator[Entry]:
    """The one member (RFC 1951), behind a short header where the type was told so."""
    start = deflate_at(source.view) or 0
    member = Member(name=inner_name(source.payload.name), method="deflate")
    yield Entry(member, lambda _passwords: inflate_at(source, start, len(source.view), -15), start)


def _inflate(source: Source) -> Chunks:
    """The object of git, if it is one, without its header."""
    first = True
    for part in inflate_at(source, 0, len(source.view)):
        found = _GIT_OBJECT.match(part) if first else None
        first = False
        yield part[found.end() :] if found else part


def inflate_at(source: Source, at: int, end: int, window: int = 15) -> Iterator[bytes]:
    """A stream that begins at `at`; its bytes are claimed, what stands behind it is left to the account."""
    view, decoder, start = source.view, zlib.decompressobj(window), at
    while not decoder.eof:
        data = decoder.unconsumed_tail or bytes(view[at : min(end, at + CHUNK_BYTES)])
        at += 0 if decoder.unconsumed_tail else len(data)
        try:
            out = decoder.decompress(data, CHUNK_BYTES)
        except zlib.error as error:
            raise BadArchive(Reason.CORRUPT, f"the compressed data is damaged: {error}") from None
        if out:
            yield out
        elif not data and not decoder.eof:
            raise BadArchive(Reason.TRUNCATED, "the compressed data ends in the middle")
    source.account.child(start, at - len(decoder.unused_data) - start)


def read_lz4_block(source: Source) -> Iterator[Entry]:
    """A block behind its plain size, which the type's check has walked."""
    member = Member(name=inner_name(source.payload.name), method="lz4", size=number(source.view, 0, 4))
    source.account.child(0, len(source.view))
    yield Entry(member, lambda _passwords: _lz4_block(source.view, member.size))


def _lz4_block(view: memoryview, size: int) -> Chunks:
    import lz4.block

    if size > _MOST_BLOCK_BYTES:
        raise BadArchive(Reason.TOO_LARGE, f"the block claims {size} bytes")
    try:
        made = lz4.block.decompress(bytes(view[4:]), uncompressed_size=size)
    except lz4.block.LZ4BlockError as error:
        raise BadArchive(Reason.CORRUPT, f"the block is damaged: {error}") from None
    for at in range(0, len(made), CHUNK_BYTES):
        yield made[at : at + CHUNK_BYTES]


def _is_lzip(view: memoryview, start: int) -> bool:
    return 12 <= number(view, start + 5, 1) & 31 <= 29 and not number(view, start + 6, 1)


def _is_pbzx(view: memoryview, start: int) -> bool:
    size, packed = bytes(view[start + 12 : start + 20]), bytes(view[start + 20 : start + 28])
    return size[:3] == bytes(3) and packed[:3] == bytes(3) and any(packed)


FORMATS = (
    Format("lzip", read_lzip, (Mark(_LZIP),), _is_lzip, container=False),
    Format("pbzx", read_pbzx, (Mark(b"pbzx"),), _is_pbzx, container=False),
    Format("zlib", read_zlib, container=False),
    Format("deflate", read_deflate, container=False),
    Format("lz4block", read_lz4_block, container=False),
)
