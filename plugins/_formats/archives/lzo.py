"""LZO: blocks of LZO1X, and the files of lzop (its header as lzop 1.04 writes it)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from stoq_core.errors import Reason
from stoq_core.limits import MiB

from .declare import Format, Mark, Source
from .entry import BadArchive, Chunks, Entry, Member, name_of
from .snappy import repeat_last
from .stream import inner_name

_MARK = b"\x89LZO\0\r\n\x1a\n"
_MOST_BLOCK_BYTES = 64 * MiB
_ADLER_PLAIN, _ADLER_PACKED, _CRC_PLAIN, _CRC_PACKED = 0x1, 0x2, 0x100, 0x200
_EXTRA, _FILTER, _MULTIPART = 0x40, 0x800, 0x400
_NEWER = 0x0940


def unlzo(data: bytes, most: int) -> bytes:
    """The plain bytes of an LZO1X block, at most `most`; raises `BadArchive`."""
    try:
        return bytes(_unlzo(data, most))
    except IndexError:
        raise BadArchive(Reason.TRUNCATED, "a block ends in the middle") from None


def _unlzo(data: bytes, most: int) -> bytearray:
    """Kernel documentation, *LZO stream format as understood by Linux' LZO decompressor*.

    `state` is how many literals the instruction before copied: 0 to 3, or 4 for a long run.
    """
    made, at, state = bytearray(), 0, 0
    if data[0] > 17:
        count = data[0] - 17
        made += _literals(data, 1, count)
        at, state = 1 + count, min(count, 4)
    while len(made) <= most:
        code, at = data[at], at + 1
        if code < 16 and not state:
            length, at = _length(data, at, code, 15)
            made += _literals(data, at, length + 3)
            at, state = at + length + 3, 4
            continue
        length, offset, literals, at = _match(data, at, code, state)
        if not offset:
            return made
        if offset > len(made):
            raise BadArchive(Reason.CORRUPT, "a copy points in front of the block")
        repeat_last(made, offset, length)
        made += _literals(data, at, literals)
        at, state = at + literals, literals
    raise BadArchive(Reason.CORRUPT, "a block is longer than it says")


def _match(data: bytes, at: int, code: int, state: int) -> tuple[int, int, int, int]:
    """Length, distance (0 at the end of the block), literals behind it, and where they stand."""
    if code >= 64:
        length = (code >> 5) + 1
        return length, (data[at] << 3) + (code >> 2 & 7) + 1, code & 3, at + 1
    if code >= 16:
        mask = 31 if code >= 32 else 7
        length, at = _length(data, at, code & mask, mask)
        low = data[at] | data[at + 1] << 8
        if code >= 32:
            return length + 2, (low >> 2) + 1, low & 3, at + 2
        offset = ((code & 8) << 11) + (low >> 2)
        return length + 2, offset + 16384 if offset else 0, low & 3, at + 2
    if state == 4:
        return 3, (data[at] << 2) + (code >> 2) + 2049, code & 3, at + 1
    return 2, (data[at] << 2) + (code >> 2) + 1, code & 3, at + 1


def _length(data: bytes, at: int, bits: int, mask: int) -> tuple[int, int]:
    """A length of few bits; zero means that it goes on in zero bytes worth 255 each and one more."""
    if bits:
        return bits, at
    length = mask
    while not data[at]:
        length, at = length + 255, at + 1
    return length + data[at], at + 1


def _literals(data: bytes, at: int, count: int) -> bytes:
    part = data[at : at + count]
    if len(part) < count:
        raise IndexError
    return part


class _Header:
    """What lzop writes in front of the blocks; `end` is where they begin."""

    def __init__(self, view: memoryview) -> None:
        head = bytes(view[: 9 + 64 + 256])
        (version,) = struct.unpack_from(">H", head, 9)
        newer = version >= _NEWER
        at = 9 + (6 if newer else 4)
        self.method = head[at]
        at += 2 if newer else 1
        (self.flags,) = struct.unpack_from(">I", head, at)
        at += 4 + (4 if self.flags & _FILTER else 0)
        at += 12 if newer else 8
        length = head[at]
        self.name = name_of(head[at + 1 : at + 1 + length])
        self.end = at + 1 + length + 4
        self.extra = 0
        if self.flags & _EXTRA:
            self.extra = int.from_bytes(view[self.end : self.end + 4])


def read_lzop(source: Source) -> Iterator[Entry]:
    """A member a header; several files may stand one behind the other."""
    view, at = source.view, 0
    while bytes(view[at : at + 9]) == _MARK:
        header = _Header(view[at:])
        source.account.structure(at, header.end)
        start = at + header.end + (8 + header.extra if header.extra else 0)
        blocks, at = _blocks(view, start, header.flags)
        member = Member(name=header.name or inner_name(source.payload.name), method="lzo")
        member.size = sum(block[1] for block in blocks)
        source.account.child(start, at - start)
        yield Entry(member, lambda _passwords, blocks=blocks: _plain(view, blocks), start)  # type: ignore[misc]


_Block = tuple[int, int, int, int | None]


def _blocks(view: memoryview, at: int, flags: int) -> tuple[list[_Block], int]:
    """Offset, plain and packed size, plain Adler-32 of each block; then where the last one ends."""
    blocks: list[_Block] = []
    plain_sums = (4 if flags & _ADLER_PLAIN else 0) + (4 if flags & _CRC_PLAIN else 0)
    packed_sums = (4 if flags & _ADLER_PACKED else 0) + (4 if flags & _CRC_PACKED else 0)
    while at + 4 <= len(view):
        plain = int.from_bytes(view[at : at + 4])
        if not plain:
            return blocks, at + 4
        packed = int.from_bytes(view[at + 4 : at + 8])
        adler = int.from_bytes(view[at + 8 : at + 12]) if flags & _ADLER_PLAIN else None
        at += 8 + plain_sums + (packed_sums if packed < plain else 0)
        if packed > plain or plain > _MOST_BLOCK_BYTES:
            blocks.append((at, plain, -1, None))
            return blocks, at
        blocks.append((at, plain, packed, adler))
        at += packed
    blocks.append((len(view), 0, -1, None))
    return blocks, len(view)


def _plain(view: memoryview, blocks: list[_Block]) -> Chunks:
    for at, plain, packed, adler in blocks:
        if packed < 0:
            raise BadArchive(Reason.CORRUPT, f"the block at offset {at} has no sane size")
        data = bytes(view[at : at + packed])
        made = unlzo(data, plain) if packed < plain else data
        yield made
        if len(made) != plain or (adler is not None and zlib.adler32(made) != adler):
            raise BadArchive(Reason.CORRUPT, f"the block at offset {at} does not hold what it says")


FORMATS = (Format("lzop", read_lzop, (Mark(_MARK),), container=False),)
