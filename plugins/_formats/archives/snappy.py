"""Snappy: the raw format and the framing format (google/snappy, format_description and framing_format)."""

from __future__ import annotations

from collections.abc import Iterator

from stoq_core.errors import Reason
from stoq_core.limits import MiB

from .declare import Format, Mark, Source
from .entry import CHUNK_BYTES, BadArchive, Chunks, Entry, Member
from .stream import inner_name

_STREAM_START = b"\xff\x06\0\0sNaPpY"
_COMPRESSED, _PLAIN, _PADDING, _IDENTIFIER = 0, 1, 0xFE, 0xFF
_MOST_FRAME_BYTES = 65_536
_MOST_RAW_BYTES = 256 * MiB
_OFFSET_BYTES = (0, 1, 2, 4)


def unsnappy(data: bytes, most: int = _MOST_FRAME_BYTES) -> bytes:
    """The plain bytes of a raw block of at most `most`; raises `BadArchive`."""
    size, at = _varint(data)
    if size > most:
        raise BadArchive(Reason.TOO_LARGE, f"a block claims {size} bytes")
    made, end = bytearray(), len(data)
    while at < end:
        tag = data[at]
        if not tag & 3:
            more = max(0, (tag >> 2) - 59)
            length = (int.from_bytes(data[at + 1 : at + 1 + more], "little") if more else tag >> 2) + 1
            at += 1 + more
            made += data[at : at + length]
            at += length
        else:
            length, offset, at = _copy(data, at, tag)
            if not 0 < offset <= len(made):
                raise BadArchive(Reason.CORRUPT, "a copy points in front of the block")
            repeat_last(made, offset, length)
        if len(made) > size:
            raise BadArchive(Reason.CORRUPT, "a block is longer than it says")
    if len(made) < size:
        raise BadArchive(Reason.TRUNCATED, f"{len(made)} of {size} bytes are there")
    return bytes(made)


def _copy(data: bytes, at: int, tag: int) -> tuple[int, int, int]:
    width = _OFFSET_BYTES[tag & 3]
    offset = int.from_bytes(data[at + 1 : at + 1 + width], "little")
    if tag & 3 == 1:
        return (tag >> 2 & 7) + 4, offset | (tag >> 5) << 8, at + 2
    return (tag >> 2) + 1, offset, at + 1 + width


def repeat_last(made: bytearray, offset: int, length: int) -> None:
    """Append what stands `offset` bytes before the end, over itself where it is shorter than `length`."""
    start = len(made) - offset
    if offset >= length:
        made += made[start : start + length]
    else:
        made += (bytes(made[start:]) * (length // offset + 1))[:length]


def _varint(data: bytes) -> tuple[int, int]:
    size = 0
    for n in range(min(5, len(data))):
        size |= (data[n] & 0x7F) << 7 * n
        if data[n] < 0x80:
            return size, n + 1
    raise BadArchive(Reason.CORRUPT, "a block has no length")


def read_framed(source: Source) -> Iterator[Entry]:
    """The one member; skippable chunks and padding are left to the account."""
    member = Member(name=inner_name(source.payload.name), method="snappy")
    yield Entry(member, lambda _passwords: _frames(source))


def _frames(source: Source) -> Chunks:
    view, at = source.view, 0
    while at + 4 <= len(view):
        kind, size = view[at], int.from_bytes(view[at + 1 : at + 4], "little")
        data = bytes(view[at + 4 : at + 4 + size])
        if 2 <= kind < 0x80 or (kind == _IDENTIFIER and data != b"sNaPpY"):
            return  # no chunk of this format: what follows it is left to the account
        if len(data) < size:
            raise BadArchive(Reason.TRUNCATED, "the last chunk is cut short")
        source.account.structure(at, 4)
        if kind == _IDENTIFIER:
            source.account.structure(at, 10)
        elif kind in (_COMPRESSED, _PLAIN):
            source.account.child(at, 4 + size)
            yield unsnappy(data[4:]) if kind == _COMPRESSED else data[4:]
        at += 4 + size


def read_raw(source: Source) -> Iterator[Entry]:
    """The one member of bytes that decode as a whole, which is how the type was told."""
    member = Member(name=inner_name(source.payload.name), method="snappy")
    source.account.child(0, len(source.view))
    yield Entry(member, lambda _passwords: _raw(source.view))


def _raw(view: memoryview) -> Chunks:
    made = unsnappy(bytes(view), _MOST_RAW_BYTES)
    for at in range(0, len(made), CHUNK_BYTES):
        yield made[at : at + CHUNK_BYTES]


FORMATS = (
    Format("snappy", read_framed, (Mark(_STREAM_START),), container=False),
    Format("snappyraw", read_raw, container=False),
)
