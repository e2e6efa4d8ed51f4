"""The compressions of zip members (PKWARE APPNOTE 6.3.10, 4.4.5), each decoded in bounded steps."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

from stoq_core.errors import Reason

from .entry import CHUNK_BYTES, BadArchive, Chunks, sliced
from .stream import zstd_decoder

_LZMA = 14
METHODS = {0: "stored", 8: "deflate", 9: "deflate64", 12: "bzip2", 14: "lzma", 93: "zstd", 99: "aes"}
DECODED = frozenset({0, 8, 9, 12, 14, 93})
"""Those that are read here."""


def checked(chunks: Chunks, crc: int | None, size: int) -> Chunks:
    """The chunks; raises at the end where the CRC or the length does not hold."""
    running, seen = 0, 0
    for chunk in chunks:
        running = zlib.crc32(chunk, running)
        seen += len(chunk)
        yield chunk
    if seen < size:
        raise BadArchive(Reason.TRUNCATED, f"{seen} of {size} bytes are there")
    if seen > size:
        raise BadArchive(Reason.CORRUPT, f"{seen} bytes came out where {size} are listed")
    if crc is not None and running != crc:
        raise BadArchive(Reason.CORRUPT, "the checksum does not hold")


def decompressed(data: memoryview | Iterator[bytes], method: int, taken: list[int]) -> Chunks:
    """The plain bytes; `taken` gets how many packed ones they were made of."""
    chunks = sliced(data) if isinstance(data, memoryview) else data
    if method == 0:
        yield from chunks
        return
    decoder, given = _decoder(method), 0
    for chunk in chunks:
        given += len(chunk)
        yield from _steps(decoder, bytes(chunk))
        if decoder.eof:
            break
    else:
        yield from _steps(decoder, b"")
    if not decoder.eof and method != _LZMA:  # which may go without a mark for its end
        raise BadArchive(Reason.TRUNCATED, "the compressed data ends in the middle")
    if decoder.eof:
        taken.append(given - len(decoder.unused_data))


def _steps(decoder: Any, data: bytes) -> Chunks:
    try:
        while True:
            out = decoder.decompress(data, CHUNK_BYTES)
            data = getattr(decoder, "unconsumed_tail", b"")
            if out:
                yield out
            if decoder.eof or (not out and not data) or (not data and len(out) < CHUNK_BYTES):
                return
    except (MemoryError, BadArchive, GeneratorExit):
        raise
    except Exception as error:  # noqa: BLE001 - each decoder has an error type of its own
        raise BadArchive(Reason.CORRUPT, f"the compressed data is damaged: {error}") from None


def _decoder(method: int) -> Any:
    if method == 8:
        return zlib.decompressobj(-15)
    if method == 9:
        return _Deflate64()
    if method == 12:
        import bz2

        return bz2.BZ2Decompressor()
    if method == _LZMA:
        return _ZipLzma()
    if method == 93:
        return zstd_decoder()
    raise BadArchive(Reason.UNSUPPORTED_METHOD, f"compression {METHODS.get(method, method)} is not read")


class _Deflate64:
    """inflate64 has no output limit a call, so it is fed in small pieces (at most 1,032 times more)."""

    def __init__(self) -> None:
        import inflate64

        self._inflater = inflate64.Inflater()
        self.unconsumed_tail = b""

    @property
    def eof(self) -> bool:
        return bool(self._inflater.eof)

    @property
    def unused_data(self) -> bytes:
        """What is left of the piece that it was given at last cannot be told: it counts as used."""
        return self.unconsumed_tail

    def decompress(self, data: bytes, _most: int) -> bytes:
        piece, self.unconsumed_tail = data[:1024], data[1024:]
        out: bytes = self._inflater.inflate(piece)
        return out


class _ZipLzma:
    """5.8: version, properties' size, properties, then a raw LZMA stream."""

    def __init__(self) -> None:
        self._head = b""
        self._inner: Any = None

    @property
    def eof(self) -> bool:
        return bool(self._inner and self._inner.eof)

    @property
    def unused_data(self) -> bytes:
        """What stands behind the end."""
        left: bytes = self._inner.unused_data
        return left

    def decompress(self, data: bytes, most: int) -> bytes:
        if self._inner is None:
            self._head += data
            if len(self._head) < 9:
                return b""
            data, self._head = self._start(self._head), b""
        out: bytes = self._inner.decompress(data, most)
        return out

    def _start(self, head: bytes) -> bytes:
        import lzma

        (size,) = struct.unpack_from("<H", head, 2)
        alone = head[4 : 4 + size] + b"\xff" * 8
        self._inner = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=2**28 + 2**20)
        return alone + head[4 + size :]
