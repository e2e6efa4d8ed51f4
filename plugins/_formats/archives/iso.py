"""ISO 9660 (ECMA-119) with Joliet and Rock Ridge (IEEE P1282): the files of every tree in the image."""

from __future__ import annotations

import calendar
import stat
import struct
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from stoq_core.errors import Reason

from .declare import Format, Mark, Source, number
from .entry import (
    FREE_BYTES,
    MAX_NAME_BYTES,
    BadArchive,
    Entry,
    Member,
    is_field,
    is_text,
    name_of,
    refuse,
    timestamp,
)
from .extents import Extent, Image
from .folders import Folder, walk
from .udf import find_udf, read_udf_tree

_SECTOR = 2048
_FIRST_DESCRIPTOR = 16
_MAX_DESCRIPTORS = 100
_MAX_FOLDERS = 20_000
_MAX_FOLDER_BYTES = 16 * 1024 * 1024
_SYSTEM_FIELDS = frozenset({
    b"SP", b"CE", b"PD", b"ST", b"ER", b"ES", b"RR", b"PX", b"PN", b"SL", b"NM", b"CL", b"PL", b"RE", b"TF",
    b"SF", b"ZF", b"AS", b"AA", b"AL",
})  # fmt: skip
_JOLIET = (b"%/@", b"%/C", b"%/E")
_HIDDEN_PARENT = (b"\0", b"\1")
_DIRECTORY, _ASSOCIATED, _MORE = 2, 4, 128
_KINDS = {stat.S_IFLNK: "symlink", stat.S_IFCHR: "device", stat.S_IFBLK: "device", stat.S_IFIFO: "fifo",
          stat.S_IFSOCK: "socket"}  # fmt: skip


class _Tree(NamedTuple):
    """A volume descriptor's root: where it lies, block size, and what its names are."""

    extent: int
    size: int
    block: int
    joliet: bool
    rock_ridge: bool


class _Record(NamedTuple):
    """One directory record; `names` is what Rock Ridge says of it."""

    extent: int
    size: int
    date: bytes
    flags: int
    interleaved: bool
    name: bytes
    system: bytes


def read_iso(source: Source) -> Iterator[Entry]:
    """Every file once: of the tree with the best names, then of the others what the former do not have.

    Trees may differ on purpose, so each is walked. Broken folders end their tree with a reason.
    """
    image = Image(source.view, source.account)
    problem: BadArchive | None = None
    _claim_partition_table(image)
    for tree in sorted(_trees(image), key=lambda tree: (not tree.rock_ridge, not tree.joliet)):
        try:
            yield from walk((tree.extent, tree.size), partial(_content, image, tree), _MAX_FOLDERS)
        except BadArchive as error:
            problem = problem or error
        image.next_tree()
    if find_udf(image):
        yield from read_udf_tree(image)
    if problem is not None:
        raise problem


def _claim_partition_table(image: Image) -> None:
    """Images for sticks have one in the system area; without it, that is no disk whose end is missing."""
    if bytes(image.view[510:512]) == b"\x55\xaa":
        image.account.structure(446, 66)


def _trees(image: Image) -> list[_Tree]:
    trees = []
    for n in range(_MAX_DESCRIPTORS):
        at = (_FIRST_DESCRIPTOR + n) * _SECTOR
        head = bytes(image.view[at : at + _SECTOR])
        if head[1:6] != b"CD001" or len(head) < 256:
            break
        _claim_descriptor(image, at, head)
        if head[0] == 255:
            break
        if head[0] in (1, 2):
            joliet = head[0] == 2 and head[88:91] in _JOLIET
            block = int.from_bytes(head[128:130], "little")
            extent, size = struct.unpack_from("<I4xI", head, 156 + 2)
            if block in (512, 1024, 2048):
                dot = bytes(image.view[extent * block : extent * block + 255])
                trees.append(_Tree(extent, size, block, joliet, dot[34:36] == b"SP"))
                _claim_path_tables(image, head, block)
    if not trees:
        raise BadArchive(Reason.CORRUPT, "the image has no volume descriptor that names a root")
    return trees


def _claim_descriptor(image: Image, at: int, head: bytes) -> None:
    """8.4: numbers at fixed places, and texts; what programs may use as they like only if it is text."""
    if head[0] == 0:
        image.account.structure(at, 75)
        _claim_boot_catalog(image, int.from_bytes(head[71:75], "little") * _SECTOR)
    elif head[0] == 255:
        image.account.structure(at, 7)
    elif is_field(head[8:72]) and is_field(head[190:813].replace(b"\xff", b"")):
        image.account.structure(at, 883)
    else:
        image.account.structure(at, 8)
        image.account.structure(at + 72, 118)
    if is_field(head[883:1395]):
        image.account.structure(at + 883, 512)


def _claim_boot_catalog(image: Image, at: int) -> None:
    """El Torito 2.0: a validation entry whose sum is zero, then entries of 32 bytes."""
    rows = [bytes(image.view[at + 32 * n : at + 32 * n + 32]) for n in range(_SECTOR // 32)]
    if len(rows[-1]) < 32 or sum(struct.unpack("<16H", rows[0])) & 0xFFFF or rows[0][30:32] != b"\x55\xaa":
        return
    for n, row in enumerate(rows):
        if n and row[0] not in (0x88, 0x90, 0x91, 0x44) and any(row):
            break
        if not any(row[12:]) or not n or row[0] in (0x90, 0x91):
            image.account.structure(at + 32 * n, 32)


def _claim_path_tables(image: Image, head: bytes, block: int) -> None:
    """9.4: both orders of bytes, and their copies; each only if it is one to its last byte."""
    size = min(int.from_bytes(head[132:136], "little"), _MAX_FOLDER_BYTES)
    places = (*struct.unpack_from("<II", head, 140), *struct.unpack_from(">II", head, 148))
    for place in places:
        raw, at = bytes(image.view[place * block : place * block + size]), 0
        while at + 8 < len(raw) and raw[at] and not raw[at + 1]:
            at += 8 + raw[at] + (raw[at] & 1)
        if place and raw and at >= len(raw) - 1:
            image.account.structure(place * block, size)


def _content(
    image: Image, tree: _Tree, folder: Folder[tuple[int, int]]
) -> Iterator[Entry | Folder[tuple[int, int]]]:
    parts: list[Extent] = []
    for record in _records(image, tree, *folder.key):
        facts = _rock_ridge(image, tree, record.system)
        if record.name in _HIDDEN_PARENT:
            continue
        name = folder.path + _name(record, facts, tree)
        start = record.extent * tree.block
        if record.flags & _DIRECTORY:
            yield Folder(name + "/", (record.extent, record.size))
            continue
        parts.append((start, record.size))
        if record.flags & _MORE:
            continue
        yield from _file(image, record, name, facts, parts)
        parts = []


def _file(
    image: Image, record: _Record, name: str, facts: dict[str, bytes], parts: list[Extent]
) -> Iterator[Entry]:
    mode = int.from_bytes(facts.get("PX", b"")[:4], "little")
    kind = _KINDS.get(stat.S_IFMT(mode), "file")
    parts = [(start, size) for start, size in parts if size]
    member = Member(
        name=name,
        size=sum(size for _, size in parts),
        kind=kind,
        method="stored",
        modified=_date(record.date),
        mode=f"{stat.S_IMODE(mode):04o}" if mode else None,
    )
    if kind != "file" and not parts:
        yield Entry(member)
    elif image.seen(parts):
        return
    elif record.interleaved:
        message = f"{name}: interleaved files are not read"
        yield Entry(member, lambda _passwords: refuse(Reason.UNSUPPORTED_METHOD, message))
    else:
        yield image.entry(member, parts)


def _records(image: Image, tree: _Tree, extent: int, size: int) -> Iterator[_Record]:
    if size > _MAX_FOLDER_BYTES:
        raise BadArchive(Reason.CORRUPT, f"a folder claims {size} bytes")
    data, begun = image.folder(extent * tree.block, size), extent * tree.block
    at = 0
    while at < size:
        length = data[at]
        if not length:  # records do not cross sectors
            at = (at // _SECTOR + 1) * _SECTOR
            continue
        record = data[at : at + length]
        if len(record) < 34 or 33 + record[32] > len(record):
            raise BadArchive(Reason.CORRUPT, "a directory record is cut short")
        start, count = struct.unpack_from("<I4xI", record, 2)
        name_end = 33 + record[32]
        system = record[name_end + (~record[32] & 1) :]
        name = record[33:name_end]
        if tree.joliet or len(name) == 1 or is_text(name):
            image.account.structure(begun + at, length - len(system))
        if len(system) <= FREE_BYTES or _all_known(system):
            image.account.structure(begun + at + length - len(system), len(system))
        at += length
        yield _Record(
            start + record[1],
            count,
            record[18:25],
            record[25],
            bool(record[26] or record[27]),
            name,
            system,
        )


def _all_known(area: bytes) -> bool:
    """True for system use fields that there are (SUSP, Rock Ridge, zisofs, XA) to the last byte."""
    at = 0
    if area[6:8] == b"XA":
        at = 14
    while at + 4 <= len(area) and area[at + 2] >= 4 and area[at : at + 2] in _SYSTEM_FIELDS:
        at += area[at + 2]
    return len(area) - at <= 4


def _name(record: _Record, facts: dict[str, bytes], tree: _Tree) -> str:
    if facts.get("NM"):
        return name_of(facts["NM"])
    raw = record.name
    if tree.joliet:
        return raw[:MAX_NAME_BYTES].decode("utf-16-be", "backslashreplace").partition(";")[0]
    return name_of(raw.partition(b";")[0].removesuffix(b"."))


def _rock_ridge(image: Image, tree: _Tree, area: bytes) -> dict[str, bytes]:
    """The system use fields by name; names that go on are joined; at most a few continuations."""
    facts: dict[str, bytes] = {}
    for _ in range(8):
        following: bytes | None = None
        at = 0
        while at + 4 <= len(area) and area[at + 2] >= 4:
            field, data = area[at : at + 2], area[at + 4 : at + area[at + 2]]
            at += area[at + 2]
            if field == b"NM" and data:
                facts["NM"] = (facts.get("NM", b"") + data[1:])[:MAX_NAME_BYTES]
            elif field == b"PX":
                facts["PX"] = data
            elif field == b"CE" and len(data) >= 20:
                block, offset, size = struct.unpack_from("<I4xI4xI", data)
                start = block * tree.block + offset
                following = bytes(image.view[start : start + min(size, _SECTOR)])
                if _all_known(following):
                    image.account.structure(start, len(following))
        if following is None:
            break
        area = following
    return facts


def _date(raw: bytes) -> str | None:
    """9.1.5: years since 1900, ..., quarters of an hour east of Greenwich."""
    year, month, day, hour, minute, second, east = struct.unpack("6Bb", raw)
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    return timestamp(calendar.timegm((year + 1900, month, day, hour, minute, second)) - east * 900)


def _begins(view: memoryview, offset: int) -> bool:
    """A volume descriptor of a known type and version 1."""
    at = offset + _FIRST_DESCRIPTOR * _SECTOR
    return number(view, at + 6, 1) == 1 and bytes(view[at : at + 1]) in (b"\0", b"\1", b"\2", b"\3")


def _end(view: memoryview, offset: int) -> int | None:
    """Behind the blocks that the first descriptor counts (8.4.8)."""
    at = offset + _FIRST_DESCRIPTOR * _SECTOR
    size = number(view, at + 80, 4) * number(view, at + 128, 2)
    return min(len(view), offset + size) if size > _FIRST_DESCRIPTOR * _SECTOR else None


FORMATS = (
    Format(
        "iso",
        read_iso,
        (Mark(b"CD001", _FIRST_DESCRIPTOR * _SECTOR + 1),),
        _begins,
        _end,
    ),
)
