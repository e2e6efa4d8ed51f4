"""Files of chunks, each behind its name and size: RIFF (WAV, AVI, WebP), IFF (AIFF), MIDI, ICNS, AU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from plugins._formats.archives.declare import Format, Source, number
from plugins._formats.archives.entry import BadArchive, Entry
from plugins._text.density import is_dense
from stoq_core.errors import Reason

from .parts import free, part

_MOST_CHUNKS = 500_000
_SEE_DS64 = 0xFFFFFFFF
_SETTINGS = {
    b"fmt ": 128, b"fact": 64, b"VP8X": 10, b"ANIM": 6, b"avih": 64, b"strh": 64, b"vprp": 128, b"dmlh": 248,
    b"cue ": 4096, b"smpl": 1024, b"inst": 64, b"COMM": 64, b"FVER": 4, b"INST": 20, b"MARK": 1024,
    b"PEAK": 64,
    b"TOC ": 1024, b"icnV": 4,
}  # fmt: skip
"""Chunks of settings, and the bytes that they have at most; others are free."""
_MEDIA = frozenset((b"data", b"VP8 ", b"VP8L", b"ALPH", b"ANMF", b"SSND", b"idx1", b"MTrk", b"strf"))
_LISTS = frozenset((b"LIST", b"RIFF", b"CAT ", b"PROP"))
_STREAMS = (b"wb", b"dc", b"db", b"pc", b"tx")
_FORMS = frozenset((b"RIFF", b"RIFX", b"RF64", b"FORM"))
_CHILDREN = {b"EXIF": "exif", b"XMP ": "xmp", b"ICCP": "profile.icc", b"id3 ": "id3", b"ID3 ": "id3",
             b"iXML": "ixml", b"bext": "bext", b"_PMX": "xmp"}  # fmt: skip
_Order = Literal["little", "big"]


def read_riff(source: Source) -> Iterator[Entry]:
    """Lists are walked, samples are media, what is neither is free."""
    order: _Order = "big" if bytes(source.view[:4]) in (b"RIFX", b"FORM") else "little"
    yield from _walk(source, 0, len(source.view), order, 0)


def _walk(source: Source, at: int, end: int, order: _Order, depth: int) -> Iterator[Entry]:
    view = source.view
    for _ in range(_MOST_CHUNKS):
        if at + 8 > end:
            return
        name, size = bytes(view[at : at + 4]), int.from_bytes(view[at + 4 : at + 8], order)
        if not name.isascii() or not all(32 <= byte < 127 for byte in name):
            return
        if not depth and name not in _FORMS:
            return
        if size == _SEE_DS64 and bytes(view[:4]) == b"RF64":
            size = (
                end - at - 8
            )  # more than 4 GiB, or written as if: what follows the samples is not looked for
        stop = at + 8 + size
        if stop > end:
            yield from _chunk(source, name, at, end - at - 8, order, depth)
            raise BadArchive(Reason.TRUNCATED, "the file ends within a chunk")
        yield from _chunk(source, name, at, size, order, depth)
        if size & 1 and stop < end and not view[stop]:
            source.account.structure(stop, 1)
        at = stop + (size & 1)


def _chunk(source: Source, name: bytes, at: int, size: int, order: _Order, depth: int) -> Iterator[Entry]:
    source.account.structure(at, 8)
    if (name in _LISTS or not depth) and depth < 8 and size >= 4:
        source.account.structure(at + 8, 4)
        yield from _walk(source, at + 12, at + 8 + size, order, depth + 1)
    elif size <= _SETTINGS.get(name, -1) or name.startswith((b"ix", b"indx")):
        source.account.structure(at + 8, size)
    elif name in _MEDIA or (name[:2].isdigit() and name[2:] in _STREAMS):
        source.account.media(at + 8, size)
    elif name in _CHILDREN:
        yield part(source, _CHILDREN[name], at + 8, size)
    else:
        yield from free(source, name.decode().strip(), at + 8, size)


def read_midi(source: Source) -> Iterator[Entry]:
    """The header and its tracks."""
    at, view = 0, source.view
    while bytes(view[at : at + 4]) in (b"MThd", b"MTrk"):
        size = int.from_bytes(view[at + 4 : at + 8])
        source.account.structure(at, 8)
        if not is_dense(view[at + 8 : at + 8 + size]):  # notes repeat themselves
            source.account.media(at + 8, size)
        at += 8 + size
    if at > len(view):
        raise BadArchive(Reason.TRUNCATED, "the file ends within a track")
    yield from ()


def read_icns(source: Source) -> Iterator[Entry]:
    """Each icon of the set, as PNG, JPEG 2000 or pixels."""
    view, at = source.view, 8
    end = min(int.from_bytes(view[4:8]), len(view))
    source.account.structure(0, 8)
    while at + 8 <= end:
        name, size = bytes(view[at : at + 4]), int.from_bytes(view[at + 4 : at + 8])
        if size < 8 or at + size > end:
            raise BadArchive(Reason.CORRUPT, f"the icon at offset {at} has no sane size")
        source.account.structure(at, 8)
        head = bytes(view[at + 8 : at + 20])
        if head.startswith((b"\x89PNG", b"\0\0\0\x0cjP", b"bplist")) or not name.isalnum():
            yield part(source, name.decode("latin-1"), at + 8, size - 8)
        else:
            source.account.media(at + 8, size - 8)
        at += size


def read_au(source: Source) -> Iterator[Entry]:
    """A header with a remark, then samples."""
    start, size = (int.from_bytes(source.view[at : at + 4]) for at in (4, 8))
    source.account.structure(0, 24)
    if start > 24:
        yield from free(source, "remark", 24, start - 24)
    source.account.media(start, len(source.view) if size == 0xFFFFFFFF else size)


def read_flv(source: Source) -> Iterator[Entry]:
    """Tags of sound and video are media, of scripts free."""
    view, at = source.view, max(9, int.from_bytes(source.view[5:9])) + 4
    source.account.structure(0, at)
    while at + 11 <= len(view):
        kind, size = view[at] & 31, int.from_bytes(view[at + 1 : at + 4])
        if kind not in (8, 9, 18):
            return
        source.account.structure(at, 11)
        if kind == 18:
            yield from free(source, "script", at + 11, size)
        else:
            source.account.media(at + 11, size)
        source.account.structure(at + 11 + size, 4)
        at += 15 + size
    if at > len(view):
        raise BadArchive(Reason.TRUNCATED, "the file ends within a tag")


_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_ASF_KNOWN = (
    _ASF_DATA, bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"),
    bytes.fromhex("90080033b1e5cf1189f400a0c90349cb"),
    bytes.fromhex("d329e2d6da35d111903400a0c90349be"), bytes.fromhex("b503bf5f2ea9cf118ee300c00c205365"),
)  # fmt: skip


def read_asf(source: Source) -> Iterator[Entry]:
    """Objects: the header's are free unless short, the data object is media."""
    view, at = source.view, 0
    while at + 24 <= len(view):
        name, size = bytes(view[at : at + 16]), number(view, at + 16, 8)
        if size < 24 or name not in _ASF_KNOWN:
            return
        if at + size > len(view):
            raise BadArchive(Reason.TRUNCATED, "the file ends within an object")
        source.account.structure(at, 24)
        if name == _ASF_KNOWN[1]:
            source.account.structure(at + 24, 6)
            yield from _asf_header(source, at + 30, min(at + size, len(view)))
        else:
            source.account.media(at + 24, size - 24)
        at += size


def _asf_header(source: Source, at: int, end: int) -> Iterator[Entry]:
    while at + 24 <= end:
        size = number(source.view, at + 16, 8)
        if size < 24 or at + size > end:
            return
        source.account.structure(at, 24)
        yield from free(source, source.view[at : at + 4].hex(), at + 24, size - 24)
        at += size


FORMATS = (
    *(Format(label, read_riff) for label in ("riff", "wav", "webp", "aiff")),
    Format("midi", read_midi),
    Format("icns", read_icns),
    Format("au", read_au),
    Format("flv", read_flv),
    Format("asf", read_asf),
)
