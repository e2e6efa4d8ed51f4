"""Single compressed streams: gzip (RFC 1952), bzip2, xz, lzma, zstd (RFC 8878) and lz4 frames."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from stoq_core.account import Account
from stoq_core.errors import Reason

from . import gzip_members
from .declare import Check, Format, Mark, Reader, number
from .entry import CHUNK_BYTES, MAX_DICTIONARY_BYTES, BadArchive, Decoding, Entry, Member, behind_zeros

_ZSTD_WINDOW_LOG = 28  # 256 MiB
_FIRST_STEP_BYTES = 4_096
_MOST_PARTS = 16
_SUFFIXES = {
    ".tgz": ".tar", ".taz": ".tar", ".tbz": ".tar", ".tbz2": ".tar", ".txz": ".tar", ".tlz": ".tar",
    ".tzst": ".tar", ".svgz": ".svg", ".gz": "", ".bz2": "", ".xz": "", ".lzma": "", ".zst": "",
    ".lz4": "", ".br": "", ".z": "",
}  # fmt: skip


def read_stream(view: memoryview, kind: str, outer_name: str, account: Account) -> Iterator[Entry]:
    """The one member of a compressed stream; concatenated streams are one member, as their tools do."""
    member = Member(name=inner_name(outer_name), method=kind)
    if kind == "gzip":
        header = gzip_members.header_at(view, 0)
        member.name, member.modified = header.name or member.name, header.modified
    yield from stream_entries(view, kind, member, account)


def stream_entries(
    view: memoryview, kind: str, member: Member, account: Account, at: int = 0
) -> Iterator[Entry]:
    """What the streams from `at` on hold, as `member`; what is none of them stays unclaimed.

    Programs that read only one stream see another file: a few are members by themselves, too.
    """
    streams: list[tuple[int, int]] = []
    yield Entry(member, lambda _passwords: _claimed(view, kind, account, at, streams), at or None)
    if 2 <= len(streams) <= _MOST_PARTS:
        for n, (start, end) in enumerate(streams):
            part = Member(name=f"{member.name}.part{n + 1}", kind="part", method=kind)
            yield Entry(part, lambda _passwords, v=view[start:end]: decompressed(v, kind), start)  # type: ignore[misc]


def inner_name(outer: str) -> str:
    """What a compressed file of that name holds, by its suffix."""
    base = outer.replace("\\", "/").rpartition("/")[2]
    for suffix, instead in _SUFFIXES.items():
        if base.lower().endswith(suffix) and len(base) > len(suffix):
            return base[: -len(suffix)] + instead
    return f"{base}.out" if base else "content"


def decompressed(view: memoryview, kind: str) -> Decoding:
    """The plain bytes of streams within another format; what stands behind them is not looked at."""
    return _claimed(view, kind, Account(len(view)), 0, [])


def _claimed(
    view: memoryview, kind: str, account: Account, at: int, streams: list[tuple[int, int]]
) -> Decoding:
    """The plain bytes of all streams; each is claimed with its end, the one that breaks off as unread."""
    problem: BadArchive | None = None
    end = at
    begun = _behind_skippable(view, at, kind, account)
    try:
        while 0 <= begun < len(view):
            if kind == "gzip":
                end, damage = yield from gzip_members.member(view, begun, account)
                problem = problem or damage
            else:
                end = yield from _one_stream(view, begun, _DECODERS[kind])
                account.child(begun, end - begun)
            streams.append((begun, end))
            begun = _next_start(view, end, kind, account)
    except (BadArchive, GeneratorExit):  # damaged, or more than is wanted
        account.unread(begun, len(view) - begun)
        raise
    if problem is not None:
        raise problem
    return end


def _one_stream(view: memoryview, at: int, make: Callable[[], Any]) -> Decoding:
    """One stream's bytes, at most a chunk a step; returns where it ends.

    It is fed more and more at once: a file of many short streams costs no more than one long one.
    """
    decoder, step = make(), _FIRST_STEP_BYTES
    while True:
        data = bytes(view[at : at + step])
        at += len(data)
        step = min(CHUNK_BYTES, 2 * step)
        out = _step(decoder, data)
        while out:
            yield out
            out = b"" if decoder.eof else _step(decoder, b"")
        if decoder.eof:
            return at - len(decoder.unused_data or b"")  # lz4 says None for nothing
        if not data:
            raise BadArchive(Reason.TRUNCATED, "the compressed data ends in the middle")


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
    "bzip2": _bzip2, "xz": _lzma, "lzma": _lzma, "zstd": zstd_decoder, "lz4": _lz4,
}  # fmt: skip
_STARTS = {
    "gzip": (b"\x1f\x8b\x08",), "bzip2": (b"BZh",), "xz": (b"\xfd7zXZ\x00",), "lzma": (),
    "zstd": (b"\x28\xb5\x2f\xfd",), "lz4": (b"\x04\x22\x4d\x18",),
}  # fmt: skip
_WITH_SKIPPABLE = frozenset({"zstd", "lz4"})


def _step(decoder: Any, data: bytes) -> bytes:
    try:
        made: bytes = decoder.decompress(data, CHUNK_BYTES)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - each decoder has an error type of its own
        reason = (
            Reason.UNSUPPORTED_METHOD if "emory" in str(error) or "indow" in str(error) else Reason.CORRUPT
        )
        raise BadArchive(reason, f"the compressed data is damaged: {error}") from None
    return made


def _next_start(view: memoryview, at: int, kind: str, account: Account) -> int:
    """Where the next stream begins, or -1: padding zeros and frames to be skipped are passed over."""
    at = _behind_skippable(view, behind_zeros(view, at), kind, account)
    return at if bytes(view[at : at + 6]).startswith(_STARTS[kind]) else -1


def _behind_skippable(view: memoryview, at: int, kind: str, account: Account) -> int:
    """Past frames that decoders skip (RFC 8878, 3.1.2); what is in them stays unclaimed."""
    while kind in _WITH_SKIPPABLE and is_skippable(view, at):
        account.structure(at, 8)
        at += 8 + number(view, at + 4, 4)
    return min(at, len(view))


def is_skippable(view: memoryview, at: int) -> bool:
    """True for the header of a frame that zstd and lz4 decoders skip."""
    return number(view, at, 4) & 0xFFFFFFF0 == _SKIPPABLE and len(view) - at >= 8


_PROBE_BYTES = 512
_SKIPPABLE = 0x184D2A50


def _decodes(kind: str) -> Check:
    """Whether the first bytes are taken by the decoder itself."""

    def check(view: memoryview, offset: int) -> bool:
        if not _HEADERS[kind](view, offset):
            return False
        try:
            probe = view[offset : offset + _PROBE_BYTES]
            next(decompressed(probe, kind), None)
        except BadArchive as error:
            return error.reason is Reason.TRUNCATED
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
    return lambda source: read_stream(source.view, kind, source.payload.name, source.account)


FORMATS = tuple(
    Format(kind, _stream(kind), _MARKS[kind], _decodes(kind), container=False) for kind in _HEADERS
)
