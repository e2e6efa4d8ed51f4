"""Where compressed streams end, found by their own structure or by trying them within a bound.

Sources: RFC 1950 (zlib), RFC 1952 (gzip), RFC 8878 (zstd), the LZ4 frame format 1.6, the .xz file format
1.2, the lzip manual (*File format*); bzip2's end mark is the square root of pi in BCD.
"""

from __future__ import annotations

import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from plugins._formats.archives.declare import number
from stoq_core.limits import KiB, MiB

_FIRST_BYTES, _FEED_BYTES, _OUT_BYTES = 512, 64 * KiB, 256 * KiB
_FREE_WORK, _WORK_A_BYTE = 64 * MiB, 8
_LZMA_WORK = 8
"""LZMA is that much slower than inflate."""
_SURE_BYTES = 4 * KiB
"""What inflates so far without an error was packed, whatever comes behind."""
_LEAST_DAMAGED_OUT = 64
_LEAST_CUT_BYTES = 256
_DYNAMIC = 2
_READABLE = bytes((9, 10, 13, *range(32, 127)))
_LZMA_MEMORY = 64 * MiB

End = Callable[[memoryview, int, "Work"], int | None]


class Work:
    """How many bytes may still be decoded to find out where streams end."""

    def __init__(self, size: int) -> None:
        """`size` is the payload's, in bytes."""
        self.left = _FREE_WORK + _WORK_A_BYTE * size

    @property
    def spent(self) -> bool:
        """True once nothing more is tried."""
        return self.left < 0


class Tried(NamedTuple):
    """What came of decoding: where the stream ends (None: not known), bytes in and out, what failed."""

    end: int | None
    taken: int
    given: int
    error: str = ""


def _tried(view: memoryview, start: int, decoder: Any, work: Work, cost: int = 1) -> Tried:
    """Decode from `start` to the stream's end, the payload's end, an error, or the bound."""
    at, given, feed, data = start, 0, _FIRST_BYTES, b""
    try:
        while not decoder.eof:
            if not data and at >= len(view) and getattr(decoder, "needs_input", True):
                return Tried(None, at - start, given)
            if not data:
                data, feed = bytes(view[at : at + feed]), _FEED_BYTES
                at += len(data)
                work.left -= len(data)
            out = decoder.decompress(data, _OUT_BYTES)
            data = getattr(decoder, "unconsumed_tail", b"")
            given += len(out)
            work.left -= len(out) * cost
            if work.spent:
                return Tried(None, at - start, given)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
        return Tried(None, at - start - len(data), given, str(error))
    end = at - len(decoder.unused_data)
    return Tried(end, end - start, given)


def is_zlib(view: memoryview, at: int, work: Work) -> bool:
    """Whether a zlib stream begins there: two bytes are no mark, so it must inflate.

    To its end with a checksum that holds; with one that does not, if that is all that is wrong with a
    stream of some length; or for so long that no other bytes would.
    """
    head = bytes(view[at : at + 7])
    if (
        len(head) < 7
        or head[0] & 0x0F != 8
        or int.from_bytes(head[:2], "big") % 31
        or not _may_be_block(head)
    ):
        return False
    tried = _tried(view, at, zlib.decompressobj(), _Least(work))
    if tried.end is not None:
        return tried.given > 0
    if "incorrect data check" in tried.error:
        return tried.given >= _LEAST_DAMAGED_OUT and (head[2] >> 1 & 3 == _DYNAMIC or _is_text(view, at))
    if tried.error:
        return tried.taken >= _SURE_BYTES
    return tried.taken >= _LEAST_CUT_BYTES and tried.given > 0


def _may_be_block(head: bytes) -> bool:
    """What deflate's first block shows at once (RFC 1951, 3.2.3): most false marks end here."""
    kind = head[2] >> 1 & 3
    if not kind:
        return head[3] ^ head[5] == 0xFF == head[4] ^ head[6]
    return kind == 1 or (kind == 2 and head[2] >> 3 <= 29 and head[3] & 0x1F <= 29)


def _is_text(view: memoryview, at: int) -> bool:
    """Whether what inflates first can be read."""
    out = zlib.decompressobj().decompress(bytes(view[at : at + _FIRST_BYTES]), _FIRST_BYTES)
    return not out.translate(None, _READABLE)


class _Least(Work):
    """Enough to be sure, paid for by another one."""

    def __init__(self, work: Work) -> None:
        self.left = 2 * _SURE_BYTES + _OUT_BYTES
        self._of = work

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "left" and hasattr(self, "_of"):
            self._of.left -= self.left - value
        super().__setattr__(name, value)


def end_of_zlib(view: memoryview, at: int, work: Work) -> int | None:
    """Behind its checksum."""
    return _tried(view, at, zlib.decompressobj(), work).end


def end_of_gzip(view: memoryview, at: int, work: Work) -> int | None:
    """Behind the last of the members that follow each other."""
    return _last_of(
        view, at, lambda begun: _tried(view, begun, zlib.decompressobj(31), work).end, b"\x1f\x8b\x08"
    )


_BZIP2_END = 0x177245385090
_BZIP2_INNER = re.compile(
    b"|".join(re.escape((_BZIP2_END << 8 - shift).to_bytes(7, "big")[1:6]) for shift in range(8)), re.DOTALL
)


def end_of_bzip2(view: memoryview, at: int, _work: Work) -> int | None:
    """Behind the last of the streams that follow each other."""
    return _last_of(view, at, lambda begun: _bzip2_stream(view, begun), b"BZh")


def _bzip2_stream(view: memoryview, at: int) -> int | None:
    """Behind the first end mark, which stands at any bit, and the checksum that follows it."""
    for found in _BZIP2_INNER.finditer(view, at + 4):
        first = found.start() - 1
        bits = int.from_bytes(bytes(view[first : first + 7]).ljust(7, b"\0"), "big")
        for shift in range(8):
            if bits >> (8 - shift) & (1 << 48) - 1 == _BZIP2_END:
                return min(len(view), first - (-(shift + 48 + 32) // 8))
    return None


def end_of_xz(view: memoryview, at: int, work: Work) -> int | None:
    """Behind the last of the streams that follow each other."""
    return _last_of(view, at, lambda begun: _xz_stream(view, begun, work), b"\xfd7zXZ\0")


def _last_of(view: memoryview, at: int, one: Callable[[int], int | None], mark: bytes) -> int | None:
    """The end of what `one` measures, over and over as long as it goes on with the mark."""
    end = one(at)
    while end is not None and bytes(view[end : end + len(mark)]) == mark:
        following = one(end)
        if following is None:
            break
        end = following
    return end


def _xz_stream(view: memoryview, at: int, work: Work) -> int | None:
    """Behind the footer whose index accounts for all bytes from the header on."""
    flags = bytes(view[at + 6 : at + 8])
    for found in re.compile(re.escape(flags) + b"YZ").finditer(view, at + 12):
        footer = found.start() - 8
        backward = (number(view, footer + 4, 4) + 1) * 4
        if zlib.crc32(view[footer + 4 : footer + 10]) != number(view, footer, 4):
            continue
        index = footer - backward
        work.left -= backward
        if index < at or work.spent:
            continue
        if _indexed(bytes(view[index : footer - 4])) == index - at - 12:
            return footer + 12
    return None


def _indexed(index: bytes) -> int:
    """How many bytes the blocks of an xz index take together, or -1."""
    if index[:1] != b"\0":
        return -1
    numbers = _multibyte(index, 1)
    total = 0
    for _ in range(next(numbers, 0)):
        unpadded = next(numbers, 0)
        if not unpadded or next(numbers, None) is None:
            return -1
        total += -(-unpadded // 4) * 4
    return total


def _multibyte(data: bytes, at: int) -> Iterator[int]:
    value = shift = 0
    for byte in data[at:]:
        value |= (byte & 0x7F) << shift
        shift += 7
        if shift > 63:
            return
        if not byte & 0x80:
            yield value
            value = shift = 0


_ZSTD = b"\x28\xb5\x2f\xfd"


def end_of_zstd(view: memoryview, at: int, _work: Work) -> int | None:
    """Behind the last block of the last of the frames that follow each other, skippable ones too."""
    end = begun = at
    while bytes(view[begun : begun + 4]) == _ZSTD or _is_skippable(view, begun):
        size = _zstd_frame(view, begun) if not _is_skippable(view, begun) else _skippable(view, begun)
        if size is None:
            return None if begun == at else end
        end = begun = size
    return end


def _is_skippable(view: memoryview, at: int) -> bool:
    mark = bytes(view[at : at + 4])
    return mark[1:] == b"\x2a\x4d\x18" and mark[0] >> 4 == 5


def _skippable(view: memoryview, at: int) -> int | None:
    end = at + 8 + number(view, at + 4, 4)
    return end if end <= len(view) else None


def _zstd_frame(view: memoryview, at: int) -> int | None:
    descriptor = number(view, at + 4, 1)
    single = descriptor >> 5 & 1
    at += 5 + (not single) + (0, 1, 2, 4)[descriptor & 3]
    at += (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    last = False
    while not last:
        if at + 3 > len(view):
            return None
        block = number(view, at, 3)
        last, kind, size = bool(block & 1), block >> 1 & 3, block >> 3
        if kind == 3:
            return None
        at += 3 + (1 if kind == 1 else size)
    at += 4 * (descriptor >> 2 & 1)
    return at if at <= len(view) else None


def end_of_lz4(view: memoryview, at: int, _work: Work) -> int | None:
    """Behind the mark that ends the blocks, and the checksum."""
    flags = number(view, at + 4, 1)
    at += 7 + 8 * (flags >> 3 & 1) + 4 * (flags & 1)
    while at + 4 <= len(view):
        size = number(view, at, 4)
        at += 4
        if not size:
            at += 4 * (flags >> 2 & 1)
            return at if at <= len(view) else None
        at += (size & 0x7FFFFFFF) + 4 * (flags >> 4 & 1)
    return None


def end_of_lzma(view: memoryview, at: int, work: Work) -> int | None:
    """Where the decoder says so."""
    return _tried(view, at, lzma.LZMADecompressor(lzma.FORMAT_ALONE, _LZMA_MEMORY), work, _LZMA_WORK).end


def is_lzip(view: memoryview, at: int) -> bool:
    """Version 0 or 1, a window of 4 KiB to 512 MiB, and the zero that LZMA begins with."""
    head = bytes(view[at + 4 : at + 7])
    return len(head) == 3 and head[0] <= 1 and 12 <= head[1] & 0x1F <= 29 and not head[2]


def end_of_lzip(view: memoryview, at: int, work: Work) -> int | None:
    """Behind the trailer (20 bytes) of the first member."""
    chain = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << (number(view, at + 5, 1) & 0x1F)}]
    if chain[0]["dict_size"] > _LZMA_MEMORY:
        return None
    end = _tried(view, at + 6, lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=chain), work, _LZMA_WORK).end
    return None if end is None else min(len(view), end + 20)


ENDS: dict[str, End] = {
    "gzip": end_of_gzip,
    "zlib": end_of_zlib,
    "bzip2": end_of_bzip2,
    "xz": end_of_xz,
    "zstd": end_of_zstd,
    "lz4": end_of_lz4,
    "lzma": end_of_lzma,
    "lzip": end_of_lzip,
}
"""By the format's label."""
