"""An ELF file as LIEF sees it."""

from __future__ import annotations

from typing import Any

from plugins._formats.executables.lief.facts import (
    BinaryFacts,
    BinarySection,
    BinarySegment,
    Reading,
    rwx,
    word,
    words,
)
from plugins._text.room import text

_EXECUTE, _WRITE, _READ = 1, 2, 4  # p_flags, System V ABI, Program Header
_MOST_NOTES = 64


def parse(lief: Any, source: bytes | str) -> tuple[Any, list[Any]]:
    """The binary, and a list of it (or none); relocations are not read."""
    config = lief.ELF.ParserConfig()
    config.parse_relocations = False
    binary = lief.ELF.parse(source, config)
    return binary, [] if binary is None else [binary]


def facts(binary: Any, reading: Reading) -> BinaryFacts:
    """What the file says."""
    made = BinaryFacts(
        header=_header(binary),
        entrypoint=binary.header.entrypoint or None,
        is_pie=bool(binary.is_pie),
        has_nx=bool(binary.has_nx),
        overlay_bytes=len(binary.overlay),
    )
    if reading.wants("sections"):
        made.sections = reading.rows(binary.sections, "sections", lambda one: _section(one, reading))
    if reading.wants("segments"):
        made.segments = reading.rows(binary.segments, "segments", _segment)
    if reading.wants("imports"):
        made.imports = reading.names(binary.imported_symbols, "imports")
    if reading.wants("exports"):
        made.exports = reading.names(binary.exported_symbols, "exports")
    if reading.wants("libraries"):
        made.libraries = reading.names(binary.libraries, "libraries")
    return made


def _header(binary: Any) -> dict[str, Any]:
    header = binary.header
    made = {
        "file_type": word(header.file_type),
        "machine": word(header.machine_type),
        "class": word(header.identity_class),
        "data": word(header.identity_data),
        "os_abi": word(header.identity_os_abi),
    }
    if binary.has_interpreter:
        made["interpreter"] = text(binary.interpreter)
    for entry in binary.dynamic_entries:
        if word(entry.tag) in ("soname", "rpath", "runpath"):
            made[word(entry.tag)] = text(getattr(entry, "name", "") or getattr(entry, word(entry.tag), ""))
    for number, note in enumerate(binary.notes):
        if number >= _MOST_NOTES:
            break
        if word(note.type) == "gnu_build_id":
            made["build_id"] = bytes(note.description)[:64].hex()
    return made


def _section(one: Any, reading: Reading) -> BinarySection:
    in_file = 0 if word(one.type) == "nobits" else one.size
    return BinarySection(
        name=text(one.name),
        type=word(one.type),
        virtual_address=one.virtual_address,
        offset=one.file_offset,
        size=one.size,
        flags=words(one.flags_list),
        entropy=reading.entropy(one, in_file),
    )


def _segment(one: Any) -> BinarySegment:
    flags = one.raw_flags
    return BinarySegment(
        name=word(one.type),
        flags=rwx(flags & _READ, flags & _WRITE, flags & _EXECUTE),
        virtual_address=one.virtual_address,
        virtual_size=one.virtual_size,
        offset=one.file_offset,
        file_size=one.physical_size,
    )
