"""Apple disk images (UDIF): each partition as an image, from its chunks; raw, zlib, bzip2, xz, ADC."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from stoq_core.account import Account
from stoq_core.errors import Reason
from stoq_core.limits import MiB

from .by_tool import read_by_7z
from .declare import Format, Mark, Source
from .entry import BadArchive, Chunks, Entry, Member, name_of, refuse
from .extents import Image, zeros
from .singles import inflated
from .stream import decompressed

_SECTOR = 512
_TRAILER_BYTES = 512
_MAX_PLIST_BYTES = 64 * MiB
_MAX_CHUNKS = 1_000_000
_ZERO, _RAW, _IGNORED = 0, 1, 2
_ADC, _ZLIB, _BZIP2, LZFSE, _XZ = 0x80000004, 0x80000005, 0x80000006, 0x80000007, 0x80000008
_COMMENT, _END = 0x7FFFFFFE, 0xFFFFFFFF
_HOLES = (_ZERO, _IGNORED)
_METHODS = {_RAW: "stored", _ADC: "adc", _ZLIB: "zlib", _BZIP2: "bzip2", LZFSE: "lzfse", _XZ: "xz"}


class Run(NamedTuple):
    """A chunk: its kind, where it begins in the partition and how long it is, and where its bytes lie."""

    kind: int
    start: int
    size: int
    offset: int
    packed: int


class Partition(NamedTuple):
    """A partition's name and its chunks in order."""

    name: str
    runs: list[Run]


def dmg_partitions(view: memoryview) -> list[Partition]:
    """The partitions as the property list behind the data describes them. Raises `BadArchive`."""
    if bytes(view[:8]) == b"encrcdsa":
        raise BadArchive(Reason.ENCRYPTED_ARCHIVE, "the disk image is encrypted")
    if len(view) < _TRAILER_BYTES:
        raise BadArchive(Reason.TRUNCATED, "the image ends before its trailer")
    trailer = bytes(view[-_TRAILER_BYTES:])
    (data_at,) = struct.unpack_from(">Q", trailer, 24)
    plist_at, plist_size = struct.unpack_from(">QQ", trailer, 216)
    if not plist_size or plist_size > _MAX_PLIST_BYTES or plist_at + plist_size > len(view):
        raise BadArchive(Reason.CORRUPT, "the image's property list is not where the trailer says")
    partitions = []
    for entry in _blkx(bytes(view[plist_at : plist_at + plist_size])):
        name = str(entry.get("Name") or entry.get("CFName") or "partition")
        data = entry.get("Data")
        if isinstance(data, bytes) and data[:4] == b"mish":
            partitions.append(Partition(name, _runs(data, data_at)))
    return partitions


def _blkx(raw: bytes) -> list[dict[str, Any]]:
    import plistlib

    try:
        read = plistlib.loads(raw, fmt=plistlib.FMT_XML)
        rows = read["resource-fork"]["blkx"]
        return [row for row in rows if isinstance(row, dict)]
    except Exception as error:  # noqa: BLE001 - expat, base64, dates: plistlib lets many kinds through
        raise BadArchive(Reason.CORRUPT, f"the image's property list is damaged: {error}") from None


def _runs(table: bytes, data_at: int) -> list[Run]:
    if len(table) < 204:
        raise BadArchive(Reason.CORRUPT, "a table of chunks is cut short")
    (count,) = struct.unpack_from(">I", table, 200)
    (base,) = struct.unpack_from(">Q", table, 24)
    runs = []
    for n in range(min(count, _MAX_CHUNKS, (len(table) - 204) // 40)):
        kind, _, start, sectors, offset, packed = struct.unpack_from(">IIQQQQ", table, 204 + 40 * n)
        if kind == _END:
            break
        if kind != _COMMENT:
            runs.append(Run(kind, start * _SECTOR, sectors * _SECTOR, data_at + base + offset, packed))
    return runs


def read_dmg(source: Source, partitions: list[Partition]) -> Iterator[Entry]:
    """A partition that holds anything is a member, its file system is opened as a child of its own."""
    view, account = source.view, source.account
    image = Image(view, account)
    plist_at, plist_size = struct.unpack_from(">QQ", bytes(view[-_TRAILER_BYTES:]), 216)
    account.structure(plist_at, plist_size)
    account.structure(len(view) - _TRAILER_BYTES, _TRAILER_BYTES)
    for partition in partitions:
        if all(run.kind in _HOLES for run in partition.runs):
            continue
        member = Member(
            name=f"{name_of(partition.name.encode('utf-8', 'backslashreplace'))}.img",
            size=sum(run.size for run in partition.runs),
            method=_method(partition),
        )
        ranges = [(run.offset, run.packed) for run in partition.runs if run.kind not in _HOLES]
        if not image.fits(ranges):
            message = f"{member.name}: chunks are used again and again"
            yield Entry(member, lambda _passwords, m=message: refuse(Reason.RATIO, m))  # type: ignore[misc]
            continue
        yield Entry(member, lambda _passwords, p=partition: _chunks(view, p, account))  # type: ignore[misc]


def _method(partition: Partition) -> str:
    kinds = {run.kind for run in partition.runs} - set(_HOLES)
    return "+".join(sorted(_METHODS.get(kind, f"{kind:#x}") for kind in kinds))


def _chunks(view: memoryview, partition: Partition, account: Account) -> Chunks:
    at = done = 0
    try:
        for run in partition.runs:
            if run.start != at:
                raise BadArchive(Reason.CORRUPT, f"the chunks of {partition.name!r} leave a gap at byte {at}")
            if run.kind in _HOLES:
                yield from zeros(run.size)
            else:
                yield from _run(view, run)
                account.child(run.offset, run.packed)
            at, done = at + run.size, done + 1
    finally:  # damaged, or more than is wanted: what is left is not read
        for run in partition.runs[done:]:
            account.unread(run.offset, run.packed)


def _run(view: memoryview, run: Run) -> Chunks:
    """Exactly the bytes that the chunk claims; it may hold more (padding), it may not hold less."""
    data, left = view[run.offset : run.offset + run.packed], run.size
    if len(data) < run.packed:
        raise BadArchive(Reason.TRUNCATED, "the image ends within a chunk")
    for chunk in _decoded(data, run.kind):
        yield chunk[:left]
        left -= len(chunk)
        if left <= 0:
            return
    if left > 0:
        raise BadArchive(Reason.CORRUPT, f"a chunk of {run.size} bytes is {left} bytes short")


def _decoded(data: memoryview, kind: int) -> Chunks:
    if kind == _RAW:
        return iter((data,))
    if kind == _ZLIB:
        return inflated(data)
    if kind == _BZIP2:
        return decompressed(data, "bzip2")
    if kind == _XZ:
        return decompressed(data, "xz")
    if kind == _ADC:
        return adc(data)
    return refuse(Reason.UNSUPPORTED_METHOD, f"chunks of kind {kind:#x} are not read")


def adc(data: memoryview) -> Chunks:
    """Apple Data Compression: literal runs, and two sizes of matches in a window of 64 KiB."""
    out, at, end = bytearray(), 0, len(data)
    while at < end:
        code = data[at]
        if code & 0x80:
            size = (code & 0x7F) + 1
            out += data[at + 1 : at + 1 + size]
            at += 1 + size
            continue
        if code & 0x40:
            size, back = (code & 0x3F) + 4, int.from_bytes(data[at + 1 : at + 3], "big") + 1
            at += 3
        else:
            low = data[at + 1] if at + 1 < end else 0
            size, back = (code >> 2 & 0x0F) + 3, ((code & 3) << 8 | low) + 1
            at += 2
        if at > end or back > len(out):
            raise BadArchive(Reason.CORRUPT, "an ADC match points before the beginning")
        start = len(out) - back
        out += out[start : start + size] if back >= size else (out[start:] * (size // back + 1))[:size]
        if len(out) > 2 * MiB:
            yield bytes(out[:MiB])
            del out[:MiB]
    yield bytes(out)


def _read(source: Source) -> Iterator[Entry]:
    """In process but for LZFSE, which only 7-Zip reads."""
    partitions = dmg_partitions(source.view)
    if any(run.kind == LZFSE for partition in partitions for run in partition.runs):
        return read_by_7z(source.job, source.payload, "dmg", source.passwords)
    return read_dmg(source, partitions)


FORMATS = (Format("dmg", _read, (Mark(b"encrcdsa"),)),)  # others are known by their end alone
