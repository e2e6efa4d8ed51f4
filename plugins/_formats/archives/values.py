"""Files of packed values: iWork's IWA, Erlang's BEAM modules, R's lazy-loading databases."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from stoq_core.errors import Reason

from .declare import Format, Mark, Source
from .entry import CHUNK_BYTES, BadArchive, Chunks, Entry, Member
from .framed import inflate_at
from .snappy import unsnappy
from .stream import inner_name

_MOST_CHUNK_BYTES = 1 << 24
_BEAM_CODE = frozenset((
    b"Atom", b"AtU8", b"Code", b"StrT", b"ImpT", b"ExpT", b"LocT", b"FunT", b"Line", b"Type", b"Attr",
    b"CInf", b"Meta",
))  # fmt: skip
_TERM_PACKED = b"\x83\x50"


def read_iwa(source: Source) -> Iterator[Entry]:
    """Chunks of raw Snappy, each behind a zero and its length of three bytes, as one file."""
    source.account.child(0, len(source.view))
    yield Entry(
        Member(name=inner_name(source.payload.name), method="snappy"), lambda _passwords: _iwa(source.view)
    )


def _iwa(view: memoryview) -> Chunks:
    at = 0
    while at + 4 <= len(view):
        size = int.from_bytes(view[at + 1 : at + 4], "little")
        yield unsnappy(bytes(view[at + 4 : at + 4 + size]), _MOST_CHUNK_BYTES)
        at += 4 + size


def read_beam(source: Source) -> Iterator[Entry]:
    """Code and tables are structure; literals and terms that are packed come out, other chunks are left."""
    view, at = source.view, 12
    end = min(len(view), 8 + int.from_bytes(view[4:8]))
    source.account.structure(0, 12)
    while at + 8 <= end:
        kind, size = bytes(view[at : at + 4]), int.from_bytes(view[at + 4 : at + 8])
        body = at + 8
        if body + size > len(view):
            raise BadArchive(Reason.TRUNCATED, "the module ends within a chunk")
        source.account.structure(at, 8)
        packed = 4 if kind == b"LitT" else 6 if bytes(view[body : body + 2]) == _TERM_PACKED else 0
        if packed and any(view[body : body + 4]):
            yield _inflated(source, kind.decode("latin-1"), body, packed, size)
        elif kind in _BEAM_CODE:
            source.account.structure(body, size)
        at = body + (size + 3 & ~3)


def _inflated(source: Source, name: str, at: int, skip: int, size: int) -> Entry:
    source.account.structure(at, skip)
    member = Member(name=name, method="zlib")
    return Entry(member, lambda _passwords: inflate_at(source, at + skip, at + size), at)


def read_rdb(source: Source) -> Iterator[Entry]:
    """Values behind their plain length, zlib streams one after the other, as one file."""
    yield Entry(Member(name="values", method="zlib"), lambda _passwords: _rdb(source))


def _rdb(source: Source) -> Chunks:
    view, at = source.view, 0
    while at + 6 <= len(view) and view[at + 4] == 0x78:
        decoder, start = zlib.decompressobj(), at + 4
        while not decoder.eof:
            data = decoder.unconsumed_tail or bytes(view[start : start + CHUNK_BYTES])
            start += 0 if decoder.unconsumed_tail else len(data)
            try:
                out = decoder.decompress(data, CHUNK_BYTES)
            except zlib.error as error:
                raise BadArchive(Reason.CORRUPT, f"the value at offset {at} is damaged: {error}") from None
            if out:
                yield out
            elif not data and not decoder.eof:
                raise BadArchive(Reason.TRUNCATED, "the last value is cut short")
        end = start - len(decoder.unused_data)
        source.account.child(at, end - at)
        at = end


def _is_beam(view: memoryview, start: int) -> bool:
    return bytes(view[start : start + 4]) == b"FOR1"


FORMATS = (
    Format("iwa", read_iwa, container=False),
    Format(
        "beam", read_beam, (Mark(b"BEAM", 8),), lambda view, start: bytes(view[start : start + 4]) == b"FOR1"
    ),
    Format("rdb", read_rdb, container=False),
)
