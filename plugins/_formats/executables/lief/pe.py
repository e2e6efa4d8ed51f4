"""A PE file as LIEF sees it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plugins._formats.executables.lief.facts import BinaryFacts, BinarySection, Reading, word, words
from plugins._text.room import text


def parse(lief: Any, source: bytes | str) -> tuple[Any, list[Any]]:
    """The binary, and a list of it (or none); relocations, resources and signatures are not read."""
    config = lief.PE.ParserConfig()
    config.parse_reloc = config.parse_rsrc = config.parse_signature = False
    binary = lief.PE.parse(source, config)
    return binary, [] if binary is None else [binary]


def facts(binary: Any, reading: Reading) -> BinaryFacts:
    """What the file says."""
    header, optional = binary.header, binary.optional_header
    made = BinaryFacts(
        header={
            "machine": word(header.machine),
            "characteristics": words(header.characteristics_list),
            "time_date_stamps": header.time_date_stamps,
            "magic": word(optional.magic),
            "subsystem": word(optional.subsystem),
            "dll_characteristics": words(optional.dll_characteristics_lists),
            "imagebase": optional.imagebase,
            "checksum": optional.checksum,
        },
        entrypoint=optional.addressof_entrypoint,
        is_pie=bool(binary.is_pie),
        has_nx=bool(binary.has_nx),
        overlay_bytes=len(binary.overlay),
    )
    if reading.wants("sections"):
        made.sections = reading.rows(binary.sections, "sections", lambda one: _section(one, reading))
    if reading.wants("imports"):
        made.imports = reading.names(_functions(binary), "imports")
    if reading.wants("exports") and binary.has_exports:
        made.exports = reading.names(binary.get_export().entries, "exports")
    if reading.wants("libraries"):
        made.libraries = reading.names((one for one in binary.imports), "libraries")
    return made


def _functions(binary: Any) -> Iterator[str]:
    for library in binary.imports:
        for one in library.entries:
            yield f"{text(library.name)}:{f'#{one.ordinal}' if one.is_ordinal else text(one.name)}"


def _section(one: Any, reading: Reading) -> BinarySection:
    return BinarySection(
        name=text(one.name),
        type="section",
        virtual_address=one.virtual_address,
        offset=one.pointerto_raw_data,
        size=one.sizeof_raw_data,
        flags=words(one.characteristics_lists),
        entropy=reading.entropy(one, one.sizeof_raw_data),
    )
