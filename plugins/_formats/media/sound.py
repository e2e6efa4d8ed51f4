"""MP3 with its tags, FLAC and Ogg: pictures and long texts are children, frames are media.

ID3v2 (id3.org, 2.2 to 2.4), RFC 9639 (FLAC), RFC 3533 (Ogg).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from plugins._formats.archives.declare import Format, Source, number
from plugins._formats.archives.entry import BadArchive, Entry
from plugins._formats.filetype.checks import mpeg_frame_bytes
from stoq_core.errors import Reason

from .parts import SHORT_BYTES, free, made, part

_MOST_FRAMES = 2_000_000
_UNSYNCED = re.compile(rb"\xff\0")
_APE_BYTES = 32
_VORBIS_LIKE = (b"\x03vorbis", b"OpusTags", b"\x81theora")
_KNOWN_STREAMS = (
    b"\x01vorbis",
    b"OpusHead",
    b"\x80theora",
    b"\x7fFLAC",
    b"Speex   ",
    b"fishead\0",
    b"BBCD\0",
    b"PCM     ",
)


def read_mp3(source: Source) -> Iterator[Entry]:
    """Tags in front, frames of sound, tags behind; bytes between frames are left to the account."""
    view, at = source.view, 0
    while bytes(view[at : at + 3]) == b"ID3" and at + 10 <= len(view):
        size = _synchsafe(view[at + 6 : at + 10])
        stop = at + 10 + size + (10 if view[at + 5] & 0x10 else 0)
        yield from _tag(source, at, min(at + 10 + size, len(view)))
        if stop > len(view):
            raise BadArchive(Reason.TRUNCATED, "the file ends within its tag")
        source.account.structure(at + 10 + size, stop - at - 10 - size)
        at = stop
    _claim_frames(source, at)
    yield from _tags_behind(source)


def _claim_frames(source: Source, at: int) -> None:
    """Frames one behind the other; where none follows the next pair of frames is looked for."""
    view, end = source.view, len(source.view)
    sync = re.compile(rb"\xff[\xe2-\xff]")
    for _ in range(_MOST_FRAMES):
        size = mpeg_frame_bytes(view, at)
        if size and (at + size >= end or mpeg_frame_bytes(view, at + size) or view[at + size] != 0xFF):
            source.account.media(at, size)
            at += size
            continue
        found = sync.search(view, at + 1)
        while found and not _frames_at(view, found.start()):
            found = sync.search(view, found.start() + 1)
        if not found:
            return
        at = found.start()


def _frames_at(view: memoryview, at: int) -> bool:
    size = mpeg_frame_bytes(view, at)
    return size > 0 and mpeg_frame_bytes(view, at + size) > 0


def _tags_behind(source: Source) -> Iterator[Entry]:
    """ID3v1 (128 bytes) and APEv2, whose footer says how long it is."""
    view, end = source.view, len(source.view)
    if bytes(view[end - 128 : end - 125]) == b"TAG":
        source.account.structure(end - 128, 128)
        end -= 128
    if bytes(view[end - _APE_BYTES : end - _APE_BYTES + 8]) == b"APETAGEX":
        size = number(view, end - _APE_BYTES + 12, 4)
        start = end - size
        if 0 <= start < end - _APE_BYTES:
            source.account.structure(end - _APE_BYTES, _APE_BYTES)
            yield from _ape_items(source, start, end - _APE_BYTES)


def _ape_items(source: Source, at: int, end: int) -> Iterator[Entry]:
    view = source.view
    if bytes(view[at - _APE_BYTES : at - _APE_BYTES + 8]) == b"APETAGEX":
        source.account.structure(at - _APE_BYTES, _APE_BYTES)
    while at + 8 < end:
        size, key = number(view, at, 4), bytes(view[at + 8 : at + 264]).partition(b"\0")[0]
        start = at + 8 + len(key) + 1
        if start + size > end:
            return
        source.account.structure(at, start - at)
        yield from free(source, f"ape-{key.decode('latin-1')}", start, size)
        at = start + size


def _synchsafe(raw: bytes | memoryview) -> int:
    value = 0
    for byte in raw:
        value = value << 7 | byte & 0x7F
    return value


def _tag(source: Source, at: int, end: int) -> Iterator[Entry]:
    """ID3v2's frames: texts, pictures, objects; what is no frame (padding that is none) is left."""
    view = source.view
    version, flags = view[at + 3], view[at + 5]
    source.account.structure(at, 10)
    at += 10
    if flags & 0x40 and version > 2:
        size = _synchsafe(view[at : at + 4]) if version == 4 else int.from_bytes(view[at : at + 4]) + 4
        source.account.structure(at, min(size, SHORT_BYTES))
        at += size
    old = version == 2
    while at + (6 if old else 10) <= end:
        name = bytes(view[at : at + (3 if old else 4)])
        if not name.isalnum():
            return
        head = 6 if old else 10
        size = _frame_bytes(view, at, version, end)
        if size < 0 or at + head + size > end:
            return
        source.account.structure(at, head)
        yield from _frame(source, name.decode(), at + head, size, unsynced=bool(flags & 0x80))
        at += head + size


def _frame_bytes(view: memoryview, at: int, version: int, end: int) -> int:
    if version == 2:
        return int.from_bytes(view[at + 3 : at + 6])
    plain = int.from_bytes(view[at + 4 : at + 8])
    if version == 3:
        return plain
    safe = _synchsafe(view[at + 4 : at + 8])  # some programs write plain sizes where 2.4 wants others
    follows = bytes(view[at + 10 + safe : at + 14 + safe])
    return safe if at + 10 + safe >= end or follows.isalnum() or not any(follows) else plain


def _frame(source: Source, name: str, at: int, size: int, *, unsynced: bool) -> Iterator[Entry]:
    if size <= SHORT_BYTES:
        yield from free(source, name, at, size)
        return
    data = bytes(source.view[at : at + size])
    if unsynced:
        data = _UNSYNCED.sub(b"\xff", data)
    skip = _content_at(name, data)
    source.account.child(at, size)
    if skip > SHORT_BYTES:  # names and descriptions that are no names
        yield made(f"{name}-head", data[:skip], at=at)
    yield made(name, data[skip:], at=at + skip)


def _content_at(name: str, data: bytes) -> int:
    """Where a picture or object begins, behind its encoding, type, names and description."""
    if name not in ("APIC", "PIC", "GEOB", "GEO"):
        return 0
    wide = data[0] in (1, 2)
    at = 4 if name == "PIC" else _behind(data, 1, wide=False)
    if name in ("APIC", "PIC"):
        return _behind(data, at + 1, wide=wide)
    return _behind(data, _behind(data, at, wide=wide), wide=wide)


def _behind(data: bytes, at: int, *, wide: bool) -> int:
    """Behind a text that ends with zero, of one or two bytes."""
    if not wide:
        found = data.find(b"\0", at)
        return len(data) if found < 0 else found + 1
    while at + 1 < len(data) and data[at : at + 2] != b"\0\0":
        at += 2
    return min(at + 2, len(data))


def read_flac(source: Source) -> Iterator[Entry]:
    """Blocks of metadata, then frames, of which the last one's checksum tells where it ends."""
    view, at, last = source.view, 4, False
    source.account.structure(0, 4)
    largest = 0
    while not last:
        if at + 4 > len(view):
            raise BadArchive(Reason.TRUNCATED, "the file ends within its metadata")
        last, kind, size = bool(view[at] & 0x80), view[at] & 0x7F, int.from_bytes(view[at + 1 : at + 4])
        if at + 4 + size > len(view) or (kind == 0) != (at == 4):
            raise BadArchive(Reason.CORRUPT, f"there is no block of metadata at offset {at}")
        source.account.structure(at, 4)
        if kind == 0:
            source.account.structure(at + 4, size)
            largest = int.from_bytes(view[at + 11 : at + 14])
        elif kind == 3 and not size % 18:
            source.account.structure(at + 4, size)
        elif kind == 6:
            yield from _flac_picture(source, at + 4, size)
        elif kind != 1:  # padding that is none is left to the account
            yield from free(source, f"metadata-{kind}", at + 4, size)
        at += 4 + size
    end = _flac_end(view, at, largest or 1 << 16)
    source.account.media(at, end - at)


def _flac_picture(source: Source, at: int, size: int) -> Iterator[Entry]:
    """8.8: type, content type, description, five numbers, the picture."""
    view, start = source.view, at + 4
    for _ in range(2):
        start += 4 + int.from_bytes(view[start : start + 4])
    start += 20
    if start >= at + size:
        yield part(source, "picture-block", at, size)
        return
    yield from free(source, "picture-head", at, start - at)
    yield part(source, "picture", start, at + size - start)


_FLAC_SYNC = re.compile(rb"\xff[\xf8\xf9]", re.DOTALL)


def _flac_end(view: memoryview, start: int, largest: int) -> int:
    """Behind the last frame whose header's checksum holds and whose own is found; `start` without frames."""
    last, at = -1, start
    for found in _FLAC_SYNC.finditer(view, start):
        place = found.start()
        if place >= at and _flac_header(view, place):
            if last >= 0 and place - last > 2 * largest + 64:
                break  # frames are no larger than the file says: what comes is no sound
            last, at = place, place + 6
    if last < 0:
        return start
    crc, table = 0, _crc16_table()
    for place in range(last, min(len(view), last + 2 * largest + 64)):
        if place > last + 6 and crc == view[place] << 8 | (view[place + 1] if place + 1 < len(view) else 0):
            return place + 2
        crc = (crc << 8 & 0xFFFF) ^ table[(crc >> 8) ^ view[place]]
    return last


def _flac_header(view: memoryview, at: int) -> bool:
    """9.1: the header's CRC-8 stands behind its numbers."""
    head = bytes(view[at : at + 17])
    if len(head) < 6 or head[2] >> 4 == 0 or head[2] & 15 == 15 or head[3] >> 4 > 10 or head[3] & 1:
        return False
    first, extra = head[4], 0
    while first & 0x80 >> extra and extra < 7:
        extra += 1
    size = 4 + max(1, extra)
    size += {6: 1, 7: 2}.get(head[2] >> 4, 0) + {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    if size >= len(head):
        return False
    crc = 0
    for byte in head[:size]:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07 if crc & 0x80 else crc << 1) & 0xFF
    return crc == head[size]


@cache
def _crc16_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        crc = value << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x8005 if crc & 0x8000 else crc << 1) & 0xFFFF
        table.append(crc)
    return tuple(table)


def read_ogg(source: Source) -> Iterator[Entry]:
    """Pages: streams of known codecs are media, their remarks children; others are left to the account."""
    view, at = source.view, 0
    known: set[int] = set()
    remarks: dict[int, bytearray] = {}
    while bytes(view[at : at + 4]) == b"OggS" and at + 27 <= len(view):
        count = view[at + 26]
        body = at + 27 + count
        size = sum(view[at + 27 : body])
        serial = number(view, at + 14, 4)
        source.account.structure(at, body - at)
        head = bytes(view[body : body + 8])
        if view[at + 5] & 2 and head.startswith(_KNOWN_STREAMS):
            known.add(serial)
        if head.startswith(_VORBIS_LIKE) and serial not in remarks:
            remarks[serial] = bytearray()
        if serial in remarks and not any(view[at + 6 : at + 14]):
            remarks[serial] += view[body : body + size]
        if serial in known:
            source.account.media(body, size)
        at = body + size
    for serial, data in remarks.items():
        yield made(f"remarks-{serial:x}", bytes(data))
    if at > len(view):
        raise BadArchive(Reason.TRUNCATED, "the file ends within a page")


FORMATS = (Format("mp3", read_mp3), Format("flac", read_flac), Format("ogg", read_ogg))
