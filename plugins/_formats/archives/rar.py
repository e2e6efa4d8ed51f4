"""RAR archives: what programs read of them, and the blocks that those do not read."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from stoq_core.errors import PluginError

from .by_tool import read_rar
from .declare import Format, Mark, Source, number
from .entry import Entry, is_field, is_text
from .rarvolume import Block, as_file, blocks, end_of_rar

_RAR5 = b"Rar!\x1a\x07\x01\x00"
_MOST_EXTRA_BYTES = 256
_MOST_COMMENT_BYTES = 2_048
_MOST_ODD = 32
_MOST_COMMENT_BYTES = 2_048
_RECOVERY = frozenset({b"RR", b"QO"})
"""Services whose data repeat what the archive holds: sums to mend it with, and copies of its headers."""


def _read(source: Source) -> Iterator[Entry]:
    """What the programs read, then packed data of blocks that they pass over; what is stored is unclaimed."""
    view, account = source.view, source.account
    account.structure(0, 8 if bytes(view[:8]) == _RAR5 else 7)
    found, locked = list(blocks(view)), False
    for block in found:
        locked = locked or block.kind == "locked"
        if is_text(block.name) and block.extra <= _MOST_EXTRA_BYTES:
            account.structure(block.at, block.header)
        if block.kind == "service" and (block.name in _RECOVERY or _is_comment(view, block)):
            account.structure(block.at + block.header, block.data)
    files = [block for block in found if block.kind == "file" and not block.is_directory]
    if locked:
        account.child(found[-1].at, len(view))
    claim = account.child
    try:
        yield from read_rar(source.job, source.payload, source.passwords)
    except PluginError:
        claim = account.unread
        raise
    finally:
        for block in files:
            claim(block.at + block.header, block.data)
    if bytes(view[:8]) == _RAR5:
        yield from _odd(source, found)


def _is_comment(view: memoryview, block: Block) -> bool:
    """Text as it stands, which is searched there."""
    data = bytes(view[block.at + block.header : block.end])[:_MOST_COMMENT_BYTES]
    return block.name == b"CMT" and not block.method and is_field(data)


def _odd(source: Source, found: list[Block]) -> Iterator[Entry]:
    """What is packed in services (streams of NTFS files, comments), and in files that are called folders."""
    left = _MOST_ODD
    for block in found:
        is_odd = block.kind == "service" or (block.kind == "file" and block.is_directory)
        if not is_odd or not block.data or not block.method or block.encrypted or left <= 0:
            continue
        left -= 1
        for entry in read_rar(source.job, source.payload, (), body=as_file(source.view, block)):
            entry.member.kind = "service" if block.kind == "service" else "directory"
            yield Entry(entry.member, entry.open, block.at + block.header, block.data)


def _begins(view: memoryview, offset: int) -> bool:
    """A first block of a kind that comes first, whose checksum holds."""
    head = bytes(view[offset : offset + 24])
    if not head.startswith(_RAR5):
        size = number(view, offset + 12, 2)
        return head[9:10] == b"\x73" and size >= 13
    size, at = head[12] if len(head) > 12 else 0, offset + 13  # a main or encryption header is short
    return 3 <= size < 0x80 and zlib.crc32(view[offset + 12 : at + size]) == number(view, offset + 8, 4)


def _end(view: memoryview, offset: int) -> int | None:
    end = end_of_rar(view[offset:])
    return None if end is None else offset + end


FORMATS = (Format("rar", _read, (Mark(b"Rar!\x1a\x07\x00"), Mark(_RAR5)), _begins, _end),)
