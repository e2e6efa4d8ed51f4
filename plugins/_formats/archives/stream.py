"""Single compressed streams: gzip (RFC 1952), bzip2, xz, lzma, zstd (RFC 8878) and lz4 frames."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from stoq_core.errors import Reason

from .declare import Check, Format, Mark, Reader, number
from .entry import (
    CHUNK_BYTES,
    MAX_DICTIONARY_BYTES,
    BadArchive,
    Chunks,
    Entry,
    Member,
    name_of,
    sliced,
    timestamp,
)

_ZSTD_WINDOW_LOG = 28  # 256 MiB
_SUFFIXES = {
    ".tgz": ".tar", ".taz": ".tar", ".tbz": ".tar", ".tbz2": ".tar", ".txz": ".tar", ".tlz": ".tar",
    ".tzst": ".tar", ".svgz": ".svg", ".gz": "", ".bz2": "", ".xz": "", ".lzma": "", ".zst": "",
    ".lz4": "", ".br": "", ".z": "",
}  # fmt: skip


def read_stream(view: memoryview, kind: str, outer_name: str) -> Iterator[Entry]:
    """The one member of a compressed stream; concatenated streams are one member, as their tools do."""
    member = Member(name=inner_name(outer_name), method=kind)
    if kind == "gzip":
        _gzip_facts(view, member)
    yield from stream_and_rest(view, kind, member)


def stream_and_rest(view: memoryview, kind: str, member: Member, at: int = 0) -> Iterator[Entry]:
    """What a stream holds as `member`, then what stands behind it; `at` is where the view begins."""
    ended: list[int] = []

    def chunks(_passwords: Sequence[str]) -> Chunks:
        return _decompressed(view, _DECODERS[kind], ended)

    yield Entry(member, chunks, at or None)
    rest = view[ended[0] :] if ended else view[:0]
    if any(rest):  # what stands behind the last stream is not part of it, so it is scanned by itself
        behind = Member(name="trailing", size=len(rest), method="stored")
        yield Entry(behind, lambda _passwords: sliced(rest), at + ended[0])


def inner_name(outer: str) -> str:
    """What a compressed file of that name holds, by its suffix."""
    base = outer.replace("\\", "/").rpartition("/")[2]
    for suffix, instead in _SUFFIXES.items():
        if base.lower().endswith(suffix) and len(base) > len(suffix):
            return base[: -len(suffix)] + instead
    return f"{base}.out" if base else "content"


def _gzip_facts(view: memoryview, member: Member) -> None:
    """FNAME and MTIME of the first header (RFC 1952, 2.3)."""
    head = bytes(view[:8192])
    if len(head) < 10:
        return
    flags, at = head[3], 10
    seconds = int.from_bytes(head[4:8], "little")
    member.modified = timestamp(seconds) if seconds else None
    if flags & 4:
        at += 2 + int.from_bytes(head[at : at + 2], "little")
    if flags & 8:
        raw, end, _ = head[at:].partition(b"\0")
        if raw and end:
            member.name = name_of(raw, "latin-1")


def _gzip() -> Any:
    return zlib.decompressobj(31)


def _bzip2() -> Any:
    import bz2

    return bz2.BZ2Decompressor()


def _lzma() -> Any:
    import lzma

    return lzma.LZMADecompressor(lzma.FORMAT_AUTO, memlimit=MAX_DICTIONARY_BYTES + 2**20)


def zstd_decoder() -> Any:
    """A zstd decompressor with a bounded window."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG})


def _lz4() -> Any:
    import lz4.frame

    return lz4.frame.LZ4FrameDecompressor()


_DECODERS: dict[str, Callable[[], Any]] = {
    "gzip": _gzip, "bzip2": _bzip2, "xz": _lzma, "lzma": _lzma, "zstd": zstd_decoder, "lz4": _lz4,
}  # fmt: skip
_STARTS = {
    _gzip: (b"\x1f\x8b",), _bzip2: (b"BZh",), _lzma: (b"\xfd7zXZ\x00",), zstd_decoder: (b"\x28\xb5\x2f\xfd",),
    _lz4: (b"\x04\x22\x4d\x18",),
}  # fmt: skip


def decompressed(view: memoryview, kind: str) -> Chunks:
    """The plain bytes of a stream within another format; what stands behind it is not looked at."""
    return _decompressed(view, _DECODERS[kind], [])


def _decompressed(view: memoryview, make: Callable[[], Any], ended: list[int]) -> Chunks:
    """Decompress stream after stream, at most a chunk of output a step; `ended` gets where that was."""
    decoder, at = make(), 0
    while True:
        data = b"" if at >= len(view) else bytes(view[at : at + CHUNK_BYTES])
        at += len(data)
        out = _step(decoder, data)
        while out:
            yield out
            out = b"" if decoder.eof else _step(decoder, b"")
        if decoder.eof:
            at -= len(decoder.unused_data or b"")  # lz4 says None for nothing
            following = _next_start(view, at, _STARTS[make])
            if following < 0:
                ended.append(at)
                return
            at = following
            decoder = make()
        elif not data and at >= len(view):
            raise BadArchive(Reason.TRUNCATED, "the compressed data ends in the middle")


def _step(decoder: Any, data: bytes) -> bytes:
    tail = getattr(decoder, "unconsumed_tail", b"")
    try:
        if hasattr(decoder, "unconsumed_tail"):
            made: bytes = decoder.decompress(tail + data, CHUNK_BYTES)
            return made
        made = decoder.decompress(data, CHUNK_BYTES)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - each decoder has an error type of its own
        reason = (
            Reason.UNSUPPORTED_METHOD if "emory" in str(error) or "indow" in str(error) else Reason.CORRUPT
        )
        raise BadArchive(reason, f"the compressed data is damaged: {error}") from None
    return made


def _next_start(view: memoryview, at: int, starts: tuple[bytes, ...]) -> int:
    """Where the next stream begins, or -1: padding zeros are passed over."""
    while at < len(view) and view[at] == 0:
        at += 1
    return at if bytes(view[at : at + 6]).startswith(starts) else -1


_PROBE_BYTES = 512
_SKIPPABLE = b"\x2a\x4d\x18"


def _decodes(kind: str) -> Check:
    """Whether the first bytes are taken by the decoder itself."""

    def check(view: memoryview, offset: int) -> bool:
        if not _HEADERS[kind](view, offset):
            return False
        try:
            _step(_DECODERS[kind](), bytes(view[offset : offset + _PROBE_BYTES]))
        except BadArchive:
            return False
        return True

    return check


def _gzip_header(view: memoryview, offset: int) -> bool:
    """No reserved flag, a known system."""
    flags, system = number(view, offset + 3, 1), number(view, offset + 9, 1)
    return not flags & 0xE0 and (system <= 13 or system == 255)


def _bzip2_header(view: memoryview, offset: int) -> bool:
    return bytes(view[offset : offset + 3]) == b"BZh" and bytes(view[offset + 3 : offset + 4]) in b"123456789"


def _xz_header(view: memoryview, offset: int) -> bool:
    return zlib.crc32(view[offset + 6 : offset + 8]) == number(view, offset + 8, 4)


def _lzma_header(view: memoryview, offset: int) -> bool:
    """Properties that can be, a window of a usual size, and a size that is unknown or below 256 GiB."""
    head = bytes(view[offset : offset + 14])
    if len(head) < 14 or head[0] >= 225 or head[13]:
        return False
    window, size = int.from_bytes(head[1:5], "little"), int.from_bytes(head[5:13], "little")
    usual = any(window in (1 << n, 3 << n) for n in range(11, 31)) or window == 0xFFFFFFFF
    return usual and (size == (1 << 64) - 1 or 0 < size < 1 << 38)


def _zstd_header(view: memoryview, offset: int) -> bool:
    """The reserved bit of the frame's descriptor is clear (RFC 8878, 3.1.1.1.1)."""
    return not number(view, offset + 4, 1) & 8


def _lz4_header(view: memoryview, offset: int) -> bool:
    """Version 1, no reserved bit, blocks of 64 KiB to 4 MiB."""
    flags, block = number(view, offset + 4, 1), number(view, offset + 5, 1)
    return flags >> 6 == 1 and not flags & 2 and not block & 0x8F and block >> 4 >= 4


_HEADERS: dict[str, Check] = {
    "gzip": _gzip_header, "bzip2": _bzip2_header, "xz": _xz_header, "lzma": _lzma_header,
    "zstd": _zstd_header, "lz4": _lz4_header,
}  # fmt: skip
_MARKS = {
    "gzip": (Mark(b"\x1f\x8b\x08"),), "bzip2": (Mark(b"1AY&SY", 4), Mark(b"\x17\x72\x45\x38\x50\x90", 4)),
    "xz": (Mark(b"\xfd7zXZ\x00"),), "lzma": (Mark(b"\x5d\x00\x00"),), "zstd": (Mark(b"\x28\xb5\x2f\xfd"),),
    "lz4": (Mark(b"\x04\x22\x4d\x18"),),
}  # fmt: skip


def _stream(kind: str) -> Reader:
    return lambda source: read_stream(source.view, kind, source.payload.name)


FORMATS = tuple(
    Format(kind, _stream(kind), _MARKS[kind], _decodes(kind), container=False) for kind in _DECODERS
)
