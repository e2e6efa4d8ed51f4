"""A file as zisofs packs it (zisofs-tools, *zisofs format*): zlib in blocks, which Linux undoes."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator

from stoq_core.account import Account
from stoq_core.errors import Reason

from .declare import Format, Mark, Source, number
from .entry import BadArchive, Chunks, Entry, Member
from .extents import zeros
from .singles import inflated

_MARK = b"\x37\xe4\x53\x96\xc9\xdb\xd6\x07"
_HEADER_BYTES = 16
_BLOCK_BITS = (15, 16, 17)


def read_zisofs(source: Source) -> Iterator[Entry]:
    """The one member, under its own name."""
    size = number(source.view, 8, 4)
    member = Member(name=source.payload.name or "content", size=size, method="zlib")
    yield Entry(member, lambda _passwords: _blocks(source.view, size, source.account))


def _blocks(view: memoryview, size: int, account: Account) -> Chunks:
    """Each block stands between two places of the list behind the header; one of no bytes is zeros."""
    header, bits = number(view, 12, 1) * 4, number(view, 13, 1)
    if header < _HEADER_BYTES or bits not in _BLOCK_BITS:
        raise BadArchive(Reason.CORRUPT, "the header is none")
    count = -(-size // (1 << bits))
    listed = bytes(view[header : header + 4 * (count + 1)])
    if len(listed) < 4 * (count + 1):
        raise BadArchive(Reason.TRUNCATED, "the file ends within its list of blocks")
    account.structure(0, header + len(listed))
    places = struct.unpack(f"<{count + 1}I", listed)
    for n, (start, end) in enumerate(itertools.pairwise(places)):
        wanted = min(1 << bits, size - (n << bits))
        if start == end:
            yield from zeros(wanted)
            continue
        if end > len(view) or start > end:
            raise BadArchive(Reason.TRUNCATED, f"the file ends before block {n}")
        yield from _block(view[start:end], wanted)
        account.child(start, end - start)


def _block(data: memoryview, wanted: int) -> Chunks:
    made = 0
    for chunk in inflated(data):
        made += len(chunk)
        yield chunk
        if made > wanted:
            break
    if made != wanted:
        raise BadArchive(Reason.CORRUPT, f"a block of {wanted} bytes gives {made}")


def _begins(view: memoryview, offset: int) -> bool:
    return number(view, offset + 12, 1) * 4 >= _HEADER_BYTES and number(view, offset + 13, 1) in _BLOCK_BITS


FORMATS = (Format("zisofs", read_zisofs, (Mark(_MARK),), _begins, container=False),)
