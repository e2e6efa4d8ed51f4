"""Microsoft cabinets ([MS-CAB]): stored, MSZIP, Quantum and LZX folders, each decompressed once."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from stoq_core.errors import Reason
from stoq_core.job import Job

from .declare import Format, Mark, number
from .dostime import dos_time
from .entry import BadArchive, Chunks, Entry, Member, name_of, refuse, trailing
from .lzx import Lzx
from .quantum import Quantum
from .solid import Solid

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
    """Compressed bytes, and how many they stand for."""

    data: bytes
    size: int


def read_cab(view: memoryview, job: Job) -> Iterator[Entry]:
    """Every file; one that goes on in another cabinet of a set is `truncated`."""
    if len(view) < 36:
        raise BadArchive(Reason.TRUNCATED, "the file ends within the cabinet's header")
    (files_at,) = struct.unpack_from("<I", view, 16)
    folder_count, file_count, flags = struct.unpack_from("<HHH", view, 26)
    at, folder_reserve, data_reserve = 36, 0, 0
    if flags & _RESERVED:
        header_reserve, folder_reserve, data_reserve = struct.unpack_from("<HBB", view, 36)
        at += 4 + header_reserve
    for _ in range(2 * bool(flags & _PREVIOUS) + 2 * bool(flags & _NEXT)):
        _, at = _string(view, at)
    solids, shelf = list[tuple[_Folder, Solid]](), list[Solid]()
    for _ in range(folder_count):
        if at + 8 > len(view):
            raise BadArchive(Reason.TRUNCATED, "the file ends within the cabinet's folders")
        folder = _Folder(*struct.unpack_from("<IHH", view, at))
        solids.append((folder, Solid(_chunks(view, folder, data_reserve), job, shelf)))
        at += 8 + folder_reserve
    at = files_at
    for _ in range(file_count):
        if at + 16 > len(view):
            raise BadArchive(Reason.TRUNCATED, "the file ends within the cabinet's list of files")
        size, start, index, date, time, attributes = struct.unpack_from("<IIHHHH", view, at)
        raw, at = _string(view, at + 16)
        member = Member(
            name=name_of(raw, "utf-8" if attributes & _UTF8_NAME else "cp1252").replace("\\", "/"),
            size=size,
            modified=dos_time(date, time),
        )
        yield _entry(member, start, index, solids)
    (end,) = struct.unpack_from("<I", view, 8)
    yield from trailing(view, max(36, end))


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


def _chunks(view: memoryview, folder: _Folder, reserve: int) -> Callable[[], Chunks]:
    def chunks() -> Chunks:
        blocks = _blocks(view, folder, reserve)
        method, parameters = folder.method & 15, folder.method >> 8 & 31
        if method == 0:
            return (block.data for block in blocks)
        if method == 1:
            return _mszip(blocks)
        if method == 2:
            return _quantum(blocks, parameters)
        if method == 3:
            return _lzx(blocks, parameters)
        return refuse(Reason.UNSUPPORTED_METHOD, f"cabinet compression {method} does not exist")

    return chunks


def _blocks(view: memoryview, folder: _Folder, reserve: int) -> Iterator[_Block]:
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
        yield _Block(data, size)
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


def _mszip(blocks: Iterator[_Block]) -> Chunks:
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


FORMATS = (Format("cab", lambda source: read_cab(source.view, source.job), (Mark(b"MSCF"),), _begins, _end),)
