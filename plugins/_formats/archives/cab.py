"""Microsoft cabinets ([MS-CAB]): stored, MSZIP, Quantum and LZX folders, each decompressed once."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from stoq_core.account import MIN_GAP_BYTES, Account
from stoq_core.errors import Reason

from .declare import Format, Mark, Source, number
from .dostime import dos_time
from .entry import BadArchive, Chunks, Entry, Member, is_text, name_of, refuse
from .lzx import Lzx
from .quantum import Quantum
from .solid import Solid

_HEADER_BYTES = 36
_BLOCK_BYTES = 32_768
_PREVIOUS, _NEXT, _RESERVED = 1, 2, 4
_UTF8_NAME = 0x80
_METHODS = {0: "stored", 1: "mszip", 2: "quantum", 3: "lzx"}
_MAX_NAME_BYTES = 1024


class _Folder(NamedTuple):
    """Where the data blocks begin, how many there are, and the compression with its parameters."""

    offset: int
    blocks: int
    method: int


class _Block(NamedTuple):
    """Compressed bytes, how many they stand for, and where they begin."""

    data: bytes
    size: int
    at: int


def read_cab(source: Source) -> Iterator[Entry]:
    """Every file; one that goes on in another cabinet of a set is `truncated`.

    Reserved areas are left to the account, and so are reserved fields, which programs ignore.
    """
    view, account = source.view, source.account
    if len(view) < _HEADER_BYTES:
        raise BadArchive(Reason.TRUNCATED, "the file ends within the cabinet's header")
    (files_at,) = struct.unpack_from("<I", view, 16)
    folder_count, file_count, flags = struct.unpack_from("<HHH", view, 26)
    account.structure(0, _HEADER_BYTES)
    at, folder_reserve, data_reserve = _HEADER_BYTES, 0, 0
    if flags & _RESERVED:
        header_reserve, folder_reserve, data_reserve = struct.unpack_from("<HBB", view, at)
        account.structure(at, 4)
        at += 4 + header_reserve
    for _ in range(2 * bool(flags & _PREVIOUS) + 2 * bool(flags & _NEXT)):
        _, at = _claimed_string(view, at, account)
    solids, shelf = list[tuple[_Folder, Solid]](), list[Solid]()
    for _ in range(folder_count):
        if at + 8 > len(view):
            raise BadArchive(Reason.TRUNCATED, "the file ends within the cabinet's folders")
        folder = _Folder(*struct.unpack_from("<IHH", view, at))
        solids.append((folder, Solid(_chunks(view, folder, data_reserve, account), source.job, shelf)))
        account.structure(at, 8)
        at += 8 + folder_reserve
    reached = [0] * len(solids)
    for member, start, index in _files(view, files_at, file_count, account):
        if index < len(solids):
            reached[index] = max(reached[index], start + member.size)
        yield _entry(member, start, index, solids)
    yield from _slack(solids, reached)
    _claim_unread(solids, number(view, 8, 4), account)


def _files(view: memoryview, at: int, count: int, account: Account) -> Iterator[tuple[Member, int, int]]:
    """Members with where they begin in their folder, and its number."""
    for _ in range(count):
        if at + 16 > len(view):
            raise BadArchive(Reason.TRUNCATED, "the file ends within the cabinet's list of files")
        size, start, index, date, time, attributes = struct.unpack_from("<IIHHHH", view, at)
        account.structure(at, 16)
        raw, at = _claimed_string(view, at + 16, account)
        member = Member(
            name=name_of(raw, "utf-8" if attributes & _UTF8_NAME else "cp1252").replace("\\", "/"),
            size=size,
            modified=dos_time(date, time),
        )
        yield member, start, index


def _claim_unread(solids: list[tuple[_Folder, Solid]], end: int, account: Account) -> None:
    """The data of folders that broke off, up to the next one's."""
    for folder, solid in solids:
        if folder.blocks and solid.damaged:
            later = (other.offset for other, _ in solids if other.offset > folder.offset)
            account.unread(folder.offset, min(later, default=end) - folder.offset)


def _slack(solids: list[tuple[_Folder, Solid]], reached: list[int]) -> Iterator[Entry]:
    """What a folder holds behind its last file: programs decompress it, and no file has it."""
    for index, (folder, solid) in enumerate(solids):
        rest = solid.size - reached[index] if folder.blocks and not solid.damaged else 0
        if rest >= MIN_GAP_BYTES:
            member = Member(name=f"slack of folder {index}", size=rest, kind="slack")
            yield Entry(member, lambda _passwords, s=solid, r=reached[index], n=rest: s.part(r, n))  # type: ignore[misc]


def _entry(member: Member, start: int, index: int, solids: list[tuple[_Folder, Solid]]) -> Entry:
    if index >= 0xFFFD:
        message = f"{member.name}: part of it is in another cabinet of the set"
        return Entry(member, lambda _passwords: refuse(Reason.TRUNCATED, message))
    if index >= len(solids):
        message = f"{member.name}: there is no folder {index}"
        return Entry(member, lambda _passwords: refuse(Reason.CORRUPT, message))
    folder, solid = solids[index]
    member.method = _METHODS.get(folder.method & 15, f"method {folder.method & 15}")
    return Entry(member, lambda _passwords: solid.part(start, member.size), start)


def _string(view: memoryview, at: int) -> tuple[bytes, int]:
    head, end, _ = bytes(view[at : at + _MAX_NAME_BYTES]).partition(b"\0")
    if not end:
        raise BadArchive(Reason.CORRUPT, f"the name at offset {at} has no end")
    return head, at + len(head) + 1


def _claimed_string(view: memoryview, at: int, account: Account) -> tuple[bytes, int]:
    """Claimed if it is a name."""
    raw, end = _string(view, at)
    if is_text(raw):
        account.structure(at, end - at)
    return raw, end


def _chunks(view: memoryview, folder: _Folder, reserve: int, account: Account) -> Callable[[], Chunks]:
    def chunks() -> Chunks:
        blocks = _blocks(view, folder, reserve, account)
        method, parameters = folder.method & 15, folder.method >> 8 & 31
        if method == 1:
            return _mszip(blocks, account)
        blocks = _whole(blocks, account)
        if method == 0:
            return (block.data for block in blocks)
        if method == 2:
            return _quantum(blocks, parameters)
        if method == 3:
            return _lzx(blocks, parameters)
        return refuse(Reason.UNSUPPORTED_METHOD, f"cabinet compression {method} does not exist")

    return chunks


def _blocks(view: memoryview, folder: _Folder, reserve: int, account: Account) -> Iterator[_Block]:
    at = folder.offset
    for _ in range(folder.blocks):
        if at + 8 > len(view):
            raise BadArchive(Reason.TRUNCATED, "the file ends within a folder")
        checksum, packed, size = struct.unpack_from("<IHH", view, at)
        start = at + 8 + reserve
        data = bytes(view[start : start + packed])
        if len(data) < packed:
            raise BadArchive(Reason.TRUNCATED, "the file ends within a folder")
        if size > _BLOCK_BYTES:
            raise BadArchive(Reason.CORRUPT, f"the block at offset {at} claims {size} bytes")
        if checksum and checksum != _xor(data) ^ _xor(bytes(view[at + 4 : start])):
            raise BadArchive(Reason.CORRUPT, f"the block at offset {at} has a wrong checksum")
        account.structure(at, 8)
        yield _Block(data, size, start)
        at = start + packed


def _xor(data: bytes) -> int:
    """All 32-bit words by exclusive or ([MS-CAB] 3.1); the last one to three bytes count backwards."""
    words = len(data) // 4
    value = int.from_bytes(data[: 4 * words], "little")
    while words > 1:
        half = (words + 1) // 2
        value = value >> 32 * half ^ value & (1 << 32 * half) - 1
        words = half
    return value ^ int.from_bytes(data[len(data) // 4 * 4 :], "big")


def _whole(blocks: Iterator[_Block], account: Account) -> Iterator[_Block]:
    for block in blocks:
        account.child(block.at, len(block.data))
        yield block


def _mszip(blocks: Iterator[_Block], account: Account) -> Chunks:
    """Each block is a deflate stream of its own whose dictionary is the block before ([MS-MCI])."""
    history = b""
    for block in blocks:
        if block.data[:2] != b"CK":
            raise BadArchive(Reason.CORRUPT, "an MSZIP block has no signature")
        decoder = zlib.decompressobj(-15, zdict=history) if history else zlib.decompressobj(-15)
        try:
            out = decoder.decompress(block.data[2:], _BLOCK_BYTES)
        except zlib.error as error:
            raise BadArchive(Reason.CORRUPT, f"an MSZIP block is damaged: {error}") from None
        if len(out) != block.size:
            raise BadArchive(Reason.CORRUPT, f"an MSZIP block of {block.size} bytes gives {len(out)}")
        account.child(block.at, len(block.data) - len(decoder.unused_data))
        yield out
        history = (history + out)[-_BLOCK_BYTES:]


def _quantum(blocks: Iterator[_Block], window_bits: int) -> Chunks:
    decoder = Quantum(window_bits)
    for block in blocks:
        yield decoder.block(block.data, block.size)


def _lzx(blocks: Iterator[_Block], window_bits: int) -> Chunks:
    """One stream over all blocks; what the blocks before a damaged one hold is still decompressed."""
    data, sizes = bytearray(), []
    problem: BadArchive | None = None
    try:
        for block in blocks:
            data += block.data
            sizes.append(block.size)
    except BadArchive as error:
        problem = error
    decoder = Lzx(data, window_bits)
    for size in sizes:
        yield decoder.frame(size)
    if problem is not None:
        raise problem


def _begins(view: memoryview, offset: int) -> bool:
    """Version 1.x, and places within the size that it claims; reserved fields may be anything."""
    size, files_at = number(view, offset + 8, 4), number(view, offset + 16, 4)
    return number(view, offset + 25, 1) == 1 and 36 <= files_at < size and bool(number(view, offset + 28, 2))


def _end(view: memoryview, offset: int) -> int:
    return min(len(view), offset + number(view, offset + 8, 4))


FORMATS = (Format("cab", read_cab, (Mark(b"MSCF"),), _begins, _end),)
