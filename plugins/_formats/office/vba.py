"""Read VBA projects (MS-OVBA) within bounds: find them, inflate their streams, name their modules."""

from __future__ import annotations

import codecs
import struct
from collections.abc import Iterator

import msgspec

from plugins._formats.office.compound import Compound, Entry

_MAX_STREAM = 8 * 1024 * 1024
_MAX_MODULES = 2_000
_MAX_SOURCE = 32 * 1024 * 1024
_SOURCE_MARK = b"\x00Attribut"
"""How each compressed module begins: a flag byte of no copy tokens, then `Attribute VB_Name`."""
_CHUNK_BYTES = 4_096
_LEAST_SOURCE = 16
_MIN_COMPILED = 128
"""What is in front of a module's source is its compiled code (2.3.4.3), a header at least."""
_ENDINGS = {0x21: "bas", 0x22: "cls"}


class Damaged(Exception):
    """The stream cannot be inflated further."""


class Module(msgspec.Struct, kw_only=True):
    """One module: its name, the path of its stream, and its source; `lost` where no directory names it."""

    name: str
    path: str
    source: str
    extension: str = "bas"
    lost: bool = False


class Project(msgspec.Struct, kw_only=True):
    """What a compound file holds: modules, and what could not be read."""

    modules: list[Module] = []
    problems: list[str] = []
    stomped: list[str] = []
    """Modules with compiled code whose source was taken away."""
    projects: int = 0
    room: int = _MAX_SOURCE

    @property
    def full(self) -> bool:
        """No more is read: a bomb, not a project."""
        return self.room <= 0 or len(self.modules) >= _MAX_MODULES

    def add(self, module: Module) -> None:
        """Keep a module."""
        self.modules.append(module)
        self.room -= len(module.source)
        if self.full:
            self.problems.append("more modules or more source than are read")


def inflate(data: bytes | memoryview, most: int) -> tuple[bytes, bool]:
    """A CompressedContainer (2.4.1) as bytes, at most `most`; False where it is damaged or longer."""
    if not len(data) or data[0] != 1:
        return b"", False
    made = bytearray()
    at = 1
    while at + 2 <= len(data):
        (head,) = struct.unpack_from("<H", data, at)
        end = min(len(data), at + (head & 0x0FFF) + 3)
        if head >> 12 & 7 != 3:
            return bytes(made), False
        if not head & 0x8000:
            made += data[at + 2 : at + 2 + _CHUNK_BYTES]
            at += 2 + _CHUNK_BYTES
        else:
            if not _chunk(data, at + 2, end, made):
                return bytes(made[:most]), False
            at = end
        if len(made) > most:
            return bytes(made[:most]), False
    return bytes(made), True


def _chunk(data: bytes | memoryview, at: int, end: int, made: bytearray) -> bool:
    """One CompressedChunk (2.4.1.1.4), which makes at most 4,096 bytes."""
    start = len(made)
    while at < end:
        flags = data[at]
        at += 1
        for bit in range(8):
            if at >= end:
                break
            if not flags >> bit & 1:
                made.append(data[at])
                at += 1
                continue
            done = len(made) - start
            if at + 2 > end or not 0 < done <= _CHUNK_BYTES:
                return False
            token = data[at] | data[at + 1] << 8
            at += 2
            bits = max(4, (done - 1).bit_length())
            offset = (token >> 16 - bits) + 1
            length = (token & 0xFFFF >> bits) + 3
            if offset > done:
                return False
            _copy(made, offset, min(length, _CHUNK_BYTES + 8 - done))
    return len(made) - start <= _CHUNK_BYTES + 8


def _copy(made: bytearray, offset: int, length: int) -> None:
    """Repeat what stands `offset` bytes back, over itself where it is shorter than `length`."""
    piece = bytes(made[-offset:])
    made += (piece * (length // offset + 1))[:length]


def read(compound: Compound) -> Project:
    """All modules of all projects; streams with source that no directory names are found, too."""
    project = Project()
    done: set[int] = set()
    for storage in compound.storages:
        if storage.path[-1].upper() == "VBA" and not storage.orphan:
            directory = compound.find(*storage.path, "dir")
            if directory is not None:
                project.projects += 1
                _modules(compound, storage, directory, project, done)
    room = 2 * len(compound.view)
    for entry in compound.streams:
        if entry.sid not in done and not project.full and room > 0:
            room -= min(entry.size, _MAX_STREAM)
            _lost_module(compound, entry, project)
    return project


def _modules(compound: Compound, storage: Entry, directory: Entry, project: Project, done: set[int]) -> None:
    raw, whole = inflate(compound.read(directory, _MAX_STREAM), _MAX_STREAM)
    if not whole:
        project.problems.append(f"{directory.shown}: the project's directory is damaged")
    for row in _rows(raw):
        if project.full:
            return
        entry = next(filter(None, (compound.find(*storage.path, name) for name in row.streams)), None)
        if entry is None:
            project.problems.append(f"{storage.shown}: the stream of module {row.name[:80]!r} is not there")
            continue
        if entry.sid in done:
            continue
        done.add(entry.sid)
        stream = compound.read(entry, _MAX_STREAM)
        source, whole = inflate(memoryview(stream)[row.offset :], _MAX_STREAM)
        if row.offset >= _MIN_COMPILED and len(stream) - row.offset < _LEAST_SOURCE and not source:
            project.stomped.append(row.name)
        elif not whole and row.offset < len(stream):
            done.discard(entry.sid) if not source else None
            project.problems.append(f"{entry.shown}: the source of this module is damaged")
        if source:
            project.add(
                Module(name=row.name, path=entry.shown, source=row.text(source), extension=row.extension)
            )


def _lost_module(compound: Compound, entry: Entry, project: Project) -> None:
    stream = compound.read(entry, _MAX_STREAM)
    at = stream.find(_SOURCE_MARK)
    if at < 3:
        return
    source, _ = inflate(memoryview(stream)[at - 3 :], _MAX_STREAM)
    if source.startswith(b"Attribut"):
        name = entry.path[-1] if entry.path else "module"
        project.add(Module(name=name, path=entry.shown, source=source.decode("cp1252", "replace"), lost=True))


class _Row(msgspec.Struct):
    """One MODULE record (2.3.4.2.3.2)."""

    name: str
    streams: list[str] = []
    offset: int = 0
    extension: str = "bas"
    codec: str = "cp1252"

    def text(self, source: bytes) -> str:
        return source.decode(self.codec, "replace")


def _rows(raw: bytes) -> Iterator[_Row]:
    """The modules that a `dir` stream (2.3.4.2) lists; its records are id, size, data."""
    at, codec = 0, "cp1252"
    row: _Row | None = None
    while at + 6 <= len(raw):
        kind, size = struct.unpack_from("<HI", raw, at)
        size = 6 if kind == 0x09 else size  # PROJECTVERSION says 4 and has 6
        data = raw[at + 6 : at + 6 + size]
        at += 6 + size
        if kind == 0x03 and size == 2:
            codec = _codec(int.from_bytes(data, "little"))
        elif kind == 0x19:
            if row is not None:
                yield row
            row = _Row(name=data.decode(codec, "replace"), codec=codec)
        elif row is not None:
            _fill(row, kind, data)
    if row is not None:
        yield row


def _fill(row: _Row, kind: int, data: bytes) -> None:
    if kind == 0x47:
        row.name = data.decode("utf-16-le", "replace") or row.name
    elif kind == 0x1A:
        row.streams.append(data.decode(row.codec, "replace"))
    elif kind == 0x32:
        row.streams.append(data.decode("utf-16-le", "replace"))
    elif kind == 0x31 and len(data) == 4:
        row.offset = int.from_bytes(data, "little")
    elif kind in _ENDINGS:
        row.extension = _ENDINGS[kind]


def _codec(page: int) -> str:
    name = {10000: "mac_roman", 65001: "utf-8"}.get(page, f"cp{page}")
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "cp1252"
