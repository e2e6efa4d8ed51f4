"""The account of a compound file (MS-CFB): which sectors are tables, which hold streams, what is left over.

Word, Excel and their kin leave old memory in the ends of sectors; so many short pieces are put together
into one leftover, while whole sectors that nothing uses stay unclaimed, each stretch a gap of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from plugins._formats.office.compound import Compound, Entry
from stoq_core.account import MIN_GAP_BYTES, Account

_HEADER_WORDS, _HEADER_BYTES = 76, 512
_ROW, _NAME = 128, 64


def claim(compound: Compound, given: Iterable[Entry], account: Account) -> list[memoryview]:
    """Claim what the tables use, and the streams that were `given`; the pieces of it that hold nothing.

    Such pieces are the ends of streams' last sectors, free parts of the mini stream, and bytes of the
    directory that no entry needs; one that repeats a byte is left out.
    """
    large = [entry for entry in given if not compound.is_mini(entry)]
    small = [entry for entry in given if compound.is_mini(entry)]
    mini = compound.mini  # read before the tables are claimed, as it has one
    _tables(compound, account)
    pieces = [*_directory(compound, account), *_streams(compound, large, account)]
    pieces += _mini(compound, small, mini)
    return [piece for piece in pieces if _says_something(piece)]


def _tables(compound: Compound, account: Account) -> None:
    header = (0, _HEADER_WORDS + 4 * compound.header_words)
    for offset, size in (header, *compound.tables):
        account.structure(offset, size)
        end = offset + size
        rest = -end % (compound.sector_bytes if offset else _HEADER_BYTES)
        if bytes(compound.view[end : end + rest]) == b"\xff" * rest:
            account.padding(end, rest)


def _directory(compound: Compound, account: Account) -> Iterator[memoryview]:
    """2.6.1: what follows a name in its field, and whole entries that are not in use."""
    for offset, size in compound.directory:
        account.structure(offset, size)
        raw = compound.view[offset : offset + size]
        for at in range(0, len(raw) - _ROW + 1, _ROW):
            row = raw[at : at + _ROW]
            used = min(int.from_bytes(row[64:66], "little"), _NAME) if row[66] else 0
            yield row[used:_NAME]
            if not row[66]:
                yield row[80:]


def _streams(compound: Compound, large: Iterable[Entry], account: Account) -> Iterator[memoryview]:
    """The mini stream is one of them: what of it is in use is looked at by `_mini`."""
    for entry in (compound.root, *large):
        for offset, size, room in compound.ranges(entry):
            account.child(offset, room)
            yield compound.view[offset + size : offset + room]


def _mini(compound: Compound, small: Iterable[Entry], mini: memoryview) -> Iterator[memoryview]:
    """2.4: what of the mini stream belongs to no stream."""
    used = sorted((offset, size) for entry in small for offset, size, _ in compound.ranges(entry))
    at = 0
    for offset, size in [*used, (len(mini), 0)]:
        if offset > at:
            yield mini[at:offset]
        at = max(at, offset + size)


def _says_something(piece: memoryview) -> bool:
    if len(piece) < MIN_GAP_BYTES:
        return False
    content = bytes(piece)
    return bool(content.strip(content[:1]))
