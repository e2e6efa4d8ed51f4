"""The members of a gzip file (RFC 1952): headers with all their fields, data, and the two sums behind."""

from __future__ import annotations

import zlib
from collections.abc import Generator, Iterator
from typing import NamedTuple

from stoq_core.account import Account
from stoq_core.errors import Reason

from .declare import number
from .entry import CHUNK_BYTES, FREE_BYTES, BadArchive, find, is_text, name_of, timestamp

_HEADER_BYTES, _TRAILER_BYTES = 10, 8
_HEADER_SUM, _EXTRA, _NAME, _COMMENT = 2, 4, 8, 16
_FIRST_STEP_BYTES = 1_024


class Header(NamedTuple):
    """Where the data begin, name and time, and which ranges are as they should be: (offset, size)."""

    end: int
    name: str
    modified: str | None
    known: list[tuple[int, int]]


def header_at(view: memoryview, at: int) -> Header:
    """2.3; raises `BadArchive`. Fields that hold more than a name are not among the `known` ranges."""
    head = bytes(view[at : at + _HEADER_BYTES])
    if len(head) < _HEADER_BYTES:
        raise BadArchive(Reason.TRUNCATED, "the file ends within a header")
    if head[2] != 8:
        raise BadArchive(Reason.CORRUPT, f"the compression method {head[2]} does not exist")
    flags, seconds = head[3], int.from_bytes(head[4:8], "little")
    known, place, name = [(at, _HEADER_BYTES)], at + _HEADER_BYTES, ""
    if flags & _EXTRA:
        size = number(view, place, 2)
        known.append((place, 2))
        known += _known_fields(view, place + 2, min(len(view), place + 2 + size))
        place += 2 + size
    for flag in (_NAME, _COMMENT):
        if not flags & flag:
            continue
        end = find(view, b"\0", place)
        if end < 0:
            raise BadArchive(Reason.TRUNCATED, "the file ends within a header")
        raw = bytes(view[place : min(end, place + CHUNK_BYTES)])
        if is_text(raw):
            known.append((place, end + 1 - place))
        name = name_of(raw, "latin-1") if flag == _NAME else name
        place = end + 1
    if flags & _HEADER_SUM:
        known.append((place, 2))
        place += 2
    return Header(place, name, timestamp(seconds) if seconds else None, known)


def _known_fields(view: memoryview, at: int, end: int) -> Iterator[tuple[int, int]]:
    """2.3.1.1: the fields' headers, and the data of those that are short or text."""
    while at + 4 <= end:
        size = min(number(view, at + 2, 2), end - at - 4)
        short = size <= FREE_BYTES or is_text(view[at + 4 : at + 4 + size])
        yield at, 4 + (size if short else 0)
        at += 4 + size


def member(
    view: memoryview, at: int, account: Account
) -> Generator[bytes, None, tuple[int, BadArchive | None]]:
    """A member's bytes in chunks; returns where it ends, and what is wrong with its sums.

    It is fed more and more at once: a file of many short members costs no more than one long one.
    """
    header = header_at(view, at)
    decoder, place, step = zlib.decompressobj(-15), header.end, _FIRST_STEP_BYTES
    crc = size = 0
    while not decoder.eof:
        data = bytes(view[place : place + step]) if len(decoder.unconsumed_tail) < step else b""
        place += len(data)
        step = min(CHUNK_BYTES, 2 * step)
        pending = decoder.unconsumed_tail + data
        try:
            out = decoder.decompress(pending, CHUNK_BYTES)
        except zlib.error as error:
            raise BadArchive(Reason.CORRUPT, f"the compressed data is damaged: {error}") from None
        if out:
            crc, size = zlib.crc32(out, crc), size + len(out)
            yield out
        elif not data and not decoder.eof:
            raise BadArchive(Reason.TRUNCATED, "the compressed data ends in the middle")
    place -= len(decoder.unused_data)
    end = place + _TRAILER_BYTES
    if end > len(view):
        raise BadArchive(Reason.TRUNCATED, "the compressed data ends before its checksum")
    for start, length in header.known:
        account.structure(start, length)
    account.child(header.end, end - header.end)
    if (number(view, place, 4), number(view, place + 4, 4)) != (crc, size & 0xFFFFFFFF):
        return end, BadArchive(Reason.CORRUPT, "the checksum does not hold")
    return end, None
