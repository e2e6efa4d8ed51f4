"""A Mach-O file, one slice or several, as LIEF sees it."""

from __future__ import annotations

from itertools import islice
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

_READ, _WRITE, _EXECUTE = 1, 2, 4  # vm_prot_t, <mach/vm_prot.h>
_MOST_SLICES, _MOST_COMMANDS = 16, 256


def parse(lief: Any, source: bytes | str) -> tuple[Any, list[Any]]:
    """The file, which must outlive its slices (they are freed with it), and the slices up to a number.

    Bindings and the export trie are not read.
    """
    fat = lief.MachO.parse(source, lief.MachO.ParserConfig.quick)
    return fat, [] if fat is None else list(islice(fat, _MOST_SLICES))


def facts(binary: Any, reading: Reading) -> BinaryFacts:
    """What one slice says."""
    made = BinaryFacts(
        header=_header(binary),
        entrypoint=binary.entrypoint if binary.has_entrypoint else None,
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
    made: dict[str, Any] = {
        "cpu_type": word(header.cpu_type),
        "cpu_subtype": header.cpu_subtype,
        "file_type": word(header.file_type),
        "flags": words(header.flags_list),
        "fat_offset": binary.fat_offset,
        "commands": [word(one.command) for one in islice(binary.commands, _MOST_COMMANDS)],
    }
    if binary.has_uuid:
        made["uuid"] = bytes(binary.uuid.uuid).hex()
    if binary.has_build_version:
        made["platform"] = word(binary.build_version.platform)
        made["minos"] = _dotted(binary.build_version.minos)
        made["sdk"] = _dotted(binary.build_version.sdk)
    elif binary.has_version_min:
        made["minos"], made["sdk"] = _dotted(binary.version_min.version), _dotted(binary.version_min.sdk)
    if binary.has_source_version:
        made["source_version"] = _dotted(binary.source_version.version)
    if binary.has_dylinker:
        made["dylinker"] = text(binary.dylinker.name)
    if binary.has_rpath:
        made["rpaths"] = [text(one.path) for one in islice(binary.rpaths, _MOST_COMMANDS)]
    if binary.has_code_signature:
        made["code_signature"] = {
            "offset": binary.code_signature.data_offset,
            "size": binary.code_signature.data_size,
        }
    if binary.has_encryption_info:
        made["encrypted"] = bool(binary.encryption_info.crypt_id)
    return made


def _dotted(version: Any) -> str:
    return ".".join(str(one) for one in version)


def _section(one: Any, reading: Reading) -> BinarySection:
    return BinarySection(
        name=text(one.name),
        type=word(one.type),
        virtual_address=one.virtual_address,
        offset=one.offset,
        size=one.size,
        flags=words(one.flags_list),
        segment=text(one.segment_name),
        entropy=reading.entropy(one, one.size if one.offset else 0),
    )


def _segment(one: Any) -> BinarySegment:
    rights = int(one.init_protection)
    return BinarySegment(
        name=text(one.name),
        flags=rwx(rights & _READ, rights & _WRITE, rights & _EXECUTE),
        virtual_address=one.virtual_address,
        virtual_size=one.virtual_size,
        offset=one.file_offset,
        file_size=one.file_size,
    )
