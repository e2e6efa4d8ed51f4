"""The data directories of a PE file: imports, exports, thread-local storage, debug, resources, version.

Layout: Microsoft, *PE Format*, Special Sections. Lists end at a number of entries and of characters,
and say so in `cut`.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from typing import Any

import msgspec

from plugins._formats.executables.pe.image import Image, utc
from plugins._text.room import Room, text

_MOST_DEBUG, _MOST_CALLBACKS, _MOST_RESOURCES, _MOST_VERSION = 64, 64, 1_000, 200
_DEBUG_ROW = struct.Struct("<IIHHIIII")
_CODEVIEW, _REPRO = 2, 16
_PDB_BYTES = 1024
_EXPORT, _IMPORT, _RESOURCE, _DEBUG, _TLS, _DELAY = 0, 1, 2, 6, 9, 13
_DEBUG_KINDS = {
    1: "coff", 2: "codeview", 3: "fpo", 4: "misc", 9: "borland", 12: "vc_feature", 13: "pogo", 14: "iltcg",
    16: "repro", 20: "ex_dllcharacteristics",
}  # fmt: skip


class Exports(msgspec.Struct, frozen=True):
    """The library's own `name` for itself, and the `functions` by name (by `#ordinal` where nameless)."""

    name: str
    functions: list[str]


class Debug(msgspec.Struct, frozen=True, omit_defaults=True):
    """An entry of the debug directory; `pdb` path, `guid` and `age` of a CodeView one."""

    type: str
    time: str
    size: int
    pdb: str = ""
    guid: str = ""
    age: int | None = None


class Resource(msgspec.Struct, frozen=True, omit_defaults=True):
    """A resource: type (`RT_VERSION`, or its own name or number), name, language; bytes and entropy."""

    type: str
    name: str
    language: str
    offset: int | None
    size: int
    sha256: str = ""
    entropy: float | None = None


def imports(image: Image, room: Room) -> dict[str, list[str]]:
    """Functions by library, those that are loaded late included; `#ordinal` for those without a name."""
    image.pe.parse_data_directories(directories=[_IMPORT, _DELAY])
    found: dict[str, list[str]] = {}
    for table in ("DIRECTORY_ENTRY_IMPORT", "DIRECTORY_ENTRY_DELAY_IMPORT"):
        for library in getattr(image.pe, table, None) or ():
            names = room.take((_function(one) for one in library.imports), "imports")
            found.setdefault(text(library.dll), []).extend(names)
            if "imports" in room.cut:
                return found
    return found


def _function(one: Any) -> str:
    return text(one.name) if one.name else f"#{one.ordinal}"


def exports(image: Image, room: Room) -> Exports | None:
    """What the file offers to others, or None."""
    image.pe.parse_data_directories(directories=[_EXPORT])
    table = getattr(image.pe, "DIRECTORY_ENTRY_EXPORT", None)
    if table is None:
        return None
    names = room.take((_function(one) for one in table.symbols), "exports")
    return Exports(text(getattr(table, "name", None) or ""), names)


def tls_callbacks(image: Image) -> list[int] | None:
    """Addresses that run before the entry point, relative to the image's base; None without the directory."""
    address, size = _directory(image, _TLS)
    wide = image.pe.OPTIONAL_HEADER.Magic == 0x20B
    pointer = struct.Struct("<Q" if wide else "<I")
    head = image.read(address, 4 * pointer.size) if address and size else b""
    if len(head) < 4 * pointer.size:
        return None
    base = image.pe.OPTIONAL_HEADER.ImageBase
    rows = image.read(pointer.unpack_from(head, 3 * pointer.size)[0] - base, _MOST_CALLBACKS * pointer.size)
    found: list[int] = []
    for (value,) in pointer.iter_unpack(rows[: len(rows) // pointer.size * pointer.size]):
        if not value:
            break
        found.append(value - base)
    return found


def debug(image: Image) -> list[Debug]:
    """The debug directory."""
    address, size = _directory(image, _DEBUG)
    rows = image.read(address, min(size, _MOST_DEBUG * _DEBUG_ROW.size)) if address else b""
    return [_debug(image, row) for row in _DEBUG_ROW.iter_unpack(rows[: len(rows) // 28 * 28])]


def _debug(image: Image, row: tuple[int, ...]) -> Debug:
    _, stamp, _, _, kind, size, _, offset = row
    facts: dict[str, Any] = {"type": _DEBUG_KINDS.get(kind, str(kind)), "time": utc(stamp), "size": size}
    data = bytes(image.view[offset : offset + min(size, _PDB_BYTES)])
    if kind == _CODEVIEW and data[:4] == b"RSDS" and len(data) >= 24:
        guid = str(uuid.UUID(bytes_le=data[4:20]))
        age = int.from_bytes(data[20:24], "little")
        return Debug(**facts, pdb=_path(data[24:]), guid=guid, age=age)
    if kind == _CODEVIEW and data[:4] == b"NB10" and len(data) >= 16:
        return Debug(**facts, pdb=_path(data[16:]), age=int.from_bytes(data[12:16], "little"))
    return Debug(**facts)


def _path(data: bytes) -> str:
    return text(data.partition(b"\0")[0])


def _directory(image: Image, number: int) -> tuple[int, int]:
    """Address and size of a data directory, zeros where the file has none."""
    table = image.pe.OPTIONAL_HEADER.DATA_DIRECTORY
    return (table[number].VirtualAddress, table[number].Size) if number < len(table) else (0, 0)


def resources(image: Image, room: Room) -> list[Resource]:
    """The leaves of the resource tree."""
    image.pe.parse_data_directories(directories=[_RESOURCE])
    found: list[Resource] = []
    for kind, name, data in _leaves(image):
        if len(found) >= _MOST_RESOURCES:
            room.cut.append("resources")
            break
        found.append(_resource(image, kind, name, data))
    return found


def _leaves(image: Image) -> Iterator[tuple[str, str, Any]]:
    """Type, name and data of each leaf: three levels (type, name, language), as the format has it."""
    import pefile

    top = getattr(image.pe, "DIRECTORY_ENTRY_RESOURCE", None)
    for kind in getattr(top, "entries", ()):
        label = text(kind.name) if kind.name else pefile.RESOURCE_TYPE.get(kind.id) or str(kind.id)
        for name in getattr(getattr(kind, "directory", None), "entries", ()):
            called = text(name.name) if name.name else str(name.id)
            for language in getattr(getattr(name, "directory", None), "entries", ()):
                if getattr(language, "data", None) is not None:
                    yield label, called, language.data


def _resource(image: Image, kind: str, name: str, data: Any) -> Resource:
    import pefile

    offset, size = image.at_address(data.struct.OffsetToData), data.struct.Size
    language = str(pefile.LANG.get(data.lang, data.lang)).removeprefix("LANG_").lower()
    facts = {"type": kind, "name": name, "language": language, "offset": offset, "size": size}
    found = image.digests(offset, size) if offset is not None and size else None
    if found is None:
        return Resource(**facts)
    return Resource(**facts, sha256=found.sha256, entropy=found.entropy)


def version_info(image: Image) -> dict[str, str]:
    """The version resource's strings, after `resources` has read them."""
    found: dict[str, str] = {}
    for table in getattr(image.pe, "FileInfo", None) or ():
        for block in table:
            for strings in getattr(block, "StringTable", None) or ():
                for key, value in strings.entries.items():
                    if len(found) < _MOST_VERSION:
                        found.setdefault(text(key), text(value))
    return found
