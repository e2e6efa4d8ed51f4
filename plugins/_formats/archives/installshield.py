"""Setup programs of InstallShield: what stands behind the program, in either of two ways.

Neither is documented; this was worked out on ClamAV's samples and holds for them to the last byte.
"""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Callable, Iterator, Sequence

from stoq_core.account import Account
from stoq_core.errors import Reason

from .declare import Format, Mark, Source, number
from .entry import CHUNK_BYTES, BadArchive, Chunks, Entry, Member, is_field, name_of, sliced
from .singles import inflated_parts

_MARK = b"InstallShield\0"
_MARK_WITHIN = 1_024  # a debugger's record may stand before it
_HEADER_BYTES = 46
_RECORD = struct.Struct("<260sIII40x")  # name, flags, nothing, bytes
_BLOCK_BYTES = 1_024
_BLOCKS, _ENCODED = 4, 2
_KEY = b"\x13\x35\x86\x07"
_SWAPPED = bytes((n << 4 | n >> 4) & 0xFF ^ 0xFF for n in range(256))
_PLAIN = re.compile(rb"([^\0-\x1f]{1,260})\0([^\0-\x1f]{1,260})\0\d{1,5}(?:\.\d{1,5}){3}\0(\d{1,10})\0")
_PLAIN_BYTES = 600


def read_installshield(source: Source) -> Iterator[Entry]:
    """The files with the mark, which are encoded by their names; or those that stand plain behind theirs."""
    view, account = source.view, source.account
    at = bytes(view[:_MARK_WITHIN]).find(_MARK)
    yield from _encoded(view, at, account) if at >= 0 else _plain(view, account)


def _plain(view: memoryview, account: Account) -> Iterator[Entry]:
    """Name, path, version and size as text, each with its zero, and the bytes; once a file."""
    at = 0
    while (found := _PLAIN.match(bytes(view[at : at + _PLAIN_BYTES]))) is not None:
        start, size = at + found.end(), int(found[3])
        account.structure(at, found.end())
        name = name_of(found[2], "cp1252").replace("\\", "/")
        content = view[start : start + size]
        yield _entry(Member(name=name, size=size, method="stored"), content, sliced, start)
        at = start + size


def _encoded(view: memoryview, at: int, account: Account) -> Iterator[Entry]:
    (count,) = struct.unpack_from("<H", bytes(view[at + len(_MARK) : at + len(_MARK) + 2]).ljust(2, b"\0"))
    account.structure(at, _HEADER_BYTES)
    at += _HEADER_BYTES
    for n in range(count):
        if at + _RECORD.size > len(view):
            raise BadArchive(Reason.TRUNCATED, f"the file ends before {count - n} of {count} files")
        raw, flags, _, size = _RECORD.unpack_from(view, at)
        name, start = raw.partition(b"\0")[0], at + _RECORD.size
        account.structure(at + 260, _RECORD.size - 260)
        if is_field(raw):
            account.structure(at, 260)
        content = view[start : start + size]
        member = Member(name=name_of(name, "cp1252").replace("\\", "/"), size=size, method=f"type {flags}")

        def chunks(one: memoryview, name: bytes = name, flags: int = flags) -> Chunks:
            return _inflated(_decoded(one, name, flags))

        yield _entry(member, content, chunks, start)
        at = start + size


def _entry(member: Member, content: memoryview, chunks: Callable[[memoryview], Chunks], start: int) -> Entry:
    def opened(_passwords: Sequence[str]) -> Chunks:
        yield from chunks(content)
        if len(content) < member.size:
            raise BadArchive(Reason.TRUNCATED, f"{len(content)} of {member.size} bytes are there")

    return Entry(member, opened, start, len(content))


def _decoded(content: memoryview, name: bytes, flags: int) -> Chunks:
    """Halves of bytes swapped and all bits turned, under a key from the name, anew each 1,024 bytes."""
    if not flags & (_BLOCKS | _ENCODED) or not name:
        yield from sliced(content)
        return
    key = bytes(letter ^ _KEY[n % 4] for n, letter in enumerate(name))
    step = _BLOCK_BYTES if flags & _BLOCKS else len(key)
    period = (key * (step // len(key) + 1))[:step]
    length = step * max(1, CHUNK_BYTES // step)
    for at in range(0, len(content), length):
        part = bytes(content[at : at + length]).translate(_SWAPPED)
        pad = (period * (len(part) // step + 1))[: len(part)]
        yield (int.from_bytes(part, "big") ^ int.from_bytes(pad, "big")).to_bytes(len(part), "big")


def _inflated(chunks: Chunks) -> Chunks:
    """What zlib packed (RFC 1950), or the bytes as they are where they do not begin like it."""
    first = next(chunks, b"")
    if first[0:1] != b"\x78" or int.from_bytes(first[:2], "big") % 31:
        yield first
        yield from chunks
        return
    yield from inflated_parts(itertools.chain((first,), chunks))


def _begins(view: memoryview, offset: int) -> bool:
    """A count of files, and the name of the first, which ends within its field."""
    first = bytes(view[offset + _HEADER_BYTES : offset + _HEADER_BYTES + 260])
    return (
        bool(number(view, offset + len(_MARK), 2))
        and len(first) == 260
        and first.find(b"\0") > 0
        and first[0] > 31
    )


FORMATS = (Format("installshield", read_installshield, (Mark(_MARK),), _begins),)
