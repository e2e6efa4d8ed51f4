"""What each range of a Windows program is: what its tables name is searched as it stands, the rest is not.

Microsoft, *PE Format*: Section Table, COFF Symbol Table, The Attribute Certificate Table.
"""

from __future__ import annotations

from collections.abc import Iterator

from plugins._formats.executables.pe.authenticode import Entry, der_bytes
from plugins._formats.executables.pe.image import Image
from stoq_core.account import Account
from stoq_core.job import Child, Job

_ROW_BYTES, _SYMBOL_BYTES, _PKCS7 = 8, 18, 2
_SECTOR = 512
_ORDINARY = frozenset({
    "RT_ACCELERATOR", "RT_ANICURSOR", "RT_ANIICON", "RT_BITMAP", "RT_CURSOR", "RT_DIALOG", "RT_DLGINCLUDE",
    "RT_FONT", "RT_FONTDIR", "RT_GROUP_CURSOR", "RT_GROUP_ICON", "RT_ICON", "RT_MANIFEST", "RT_MENU",
    "RT_MESSAGETABLE", "RT_PLUGPLAY", "RT_STRING", "RT_VERSION", "RT_VXD",
})  # fmt: skip
_LEAST_RESOURCE, _LEAST_BEHIND = 16, 8


def claim_image(image: Image, account: Account) -> None:
    """Headers, sections and symbols: nothing in them is hidden from a search."""
    pe, view = image.pe, image.view
    account.searched(0, int(pe.OPTIONAL_HEADER.SizeOfHeaders))
    table_at = int(pe.DOS_HEADER.e_lfanew) + 24 + int(pe.FILE_HEADER.SizeOfOptionalHeader)
    account.searched(0, table_at + 40 * int(pe.FILE_HEADER.NumberOfSections))
    for section in pe.sections:
        offset, size = int(section.PointerToRawData), int(section.SizeOfRawData)
        if offset and size:
            account.searched(offset // _SECTOR * _SECTOR, offset % _SECTOR + size)
    symbols_at, symbols = int(pe.FILE_HEADER.PointerToSymbolTable), int(pe.FILE_HEADER.NumberOfSymbols)
    strings_at = symbols_at + symbols * _SYMBOL_BYTES
    if symbols_at and symbols:
        account.searched(symbols_at, symbols * _SYMBOL_BYTES)
        account.searched(strings_at, int.from_bytes(view[strings_at : strings_at + 4], "little"))


def certificate_children(image: Image, entries: list[Entry], job: Job) -> Iterator[Child]:
    """Each entry of the certificate table, and apart from it what stands behind its DER unsigned."""
    for number, entry in enumerate(entries):
        content = image.view[entry.offset : entry.offset + entry.size]
        length = der_bytes(bytes(content[:6])) if entry.kind == _PKCS7 else 0
        behind = content[length:] if length else content[:0]
        if len(behind) < _LEAST_BEHIND or not any(behind):  # padding
            behind = content[:0]
        length = len(content) - len(behind)
        job.account.structure(entry.offset - _ROW_BYTES, _ROW_BYTES)
        job.account.child(entry.offset, entry.size)
        yield job.child([content[:length]], name=f"certificate_{number}.p7b", offset=entry.offset)
        if behind:
            yield job.child([behind], name=f"behind_certificate_{number}", offset=entry.offset + length)


def holds_data(kind: str, size: int) -> bool:
    """Whether a resource is the program's own data, and none of the types that Windows shows."""
    return size > _LEAST_RESOURCE and kind not in _ORDINARY
