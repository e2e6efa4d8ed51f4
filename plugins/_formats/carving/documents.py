"""Documents and programs that stand inside other bytes: how each is told from its mark alone, and its end.

Sources: [MS-CFB] 2.2 and 2.3 (compound files), ISO 32000-2 7.5 (PDF), [MS-SHLLINK] 2.1, [MS-OXTNEF] 2.1.3,
[MS-ONESTORE] 2.3.1; ITSF as its readers describe it.
"""

from __future__ import annotations

import re

from plugins._formats.archives.declare import Check, End, number
from plugins._formats.archives.entry import BadArchive
from plugins._formats.archives.readers import FORMATS
from plugins._formats.archives.unix import cpio_header
from plugins._formats.executables.mz import is_executable
from plugins._formats.executables.pe.extent import end_of_pe

_FREE, _DIFAT_AT, _DIFAT_ROWS = 0xFFFFFFFF, 76, 109
_OBJECT = re.compile(rb"\d[\s\0]+obj\b")
_OBJECT_WITHIN = 16 * 1024
_PDF_ENDS = re.compile(rb"%%EOF\r?\n?")
_SPACE, _LEAST_MEDIA = 0x20, 0xF0
_NSIS_FLAGS, _NSIS_LEAST, _NSIS_MOST = 0x20, 28, 1 << 27
_RTF = re.compile(rb"\{\\rt(?:f|\W)")
_LNK_CLASS = bytes.fromhex("0114020000000000c000000000000046")


def is_ole(view: memoryview, at: int) -> bool:
    """A compound file's header: version 3 or 4, its order of bytes, sectors of the size that goes with it."""
    version, order, shift = number(view, at + 26, 2), number(view, at + 28, 2), number(view, at + 30, 2)
    return version in (3, 4) and order == 0xFFFE and shift in (9, 12)


def end_of_ole(view: memoryview, at: int) -> int | None:
    """Behind the last sector that the table of sectors calls used; None for tables beyond the header's."""
    shift, tables = number(view, at + 30, 2), number(view, at + 44, 4)
    sector, rows = 1 << shift, 1 << shift >> 2
    if tables > _DIFAT_ROWS:
        return None
    for index in range(tables - 1, -1, -1):
        table = at + (number(view, at + _DIFAT_AT + 4 * index, 4) + 1) * sector
        words = memoryview(bytes(view[table : table + sector]).ljust(sector, b"\xff")).cast("I")
        for row in range(rows - 1, -1, -1):
            if words[row] != _FREE:
                return min(len(view), at + (index * rows + row + 2) * sector)
    return None


def is_pdf(view: memoryview, at: int) -> bool:
    """A version, and an object not far behind: programs that write PDFs hold the mark, too."""
    head = bytes(view[at : at + _OBJECT_WITHIN])
    return head[5:6].isdigit() and head[6:7] == b"." and _OBJECT.search(head, 8) is not None


def end_of_pdf(view: memoryview, at: int) -> int | None:
    """Behind the last end mark before another PDF begins; None without any."""
    following = re.compile(rb"%PDF-\d\.\d").search(view, at + 8)
    until = len(view) if following is None else following.start()
    ends = [mark.end() for mark in _PDF_ENDS.finditer(view, at, until)]
    return ends[-1] if ends else None


def is_rtf(view: memoryview, at: int) -> bool:
    r"""`{\rtf` or a shorter form that Word takes, followed by a control word."""
    head = bytes(view[at : at + 64])
    return _RTF.match(head) is not None and head.count(b"\\") > 1


def is_lnk(view: memoryview, at: int) -> bool:
    """The header's size and class."""
    return bytes(view[at + 4 : at + 20]) == _LNK_CLASS


def is_tnef(view: memoryview, at: int) -> bool:
    """A key, and the level of the first attribute."""
    return number(view, at + 6, 1) in (1, 2) and number(view, at + 9, 2) <= 0x9


def is_onenote(view: memoryview, at: int) -> bool:
    """The file format's own id stands behind those of the file."""
    return bytes(view[at + 48 : at + 64]) == bytes.fromhex("3fdd9a101b91f549a5d01791edc8aed8")


def is_chm(view: memoryview, at: int) -> bool:
    """Version 2 or 3, a header of the size that goes with it."""
    return number(view, at + 4, 4) in (2, 3) and number(view, at + 8, 4) in (0x58, 0x60)


def is_pe(view: memoryview, at: int) -> bool:
    """A program that is not the payload itself under another `MZ`."""
    if not is_executable(view, at):
        return False
    signature = at + number(view, at + 0x3C, 4)
    own = number(view, 0x3C, 4) if bytes(view[:2]) == b"MZ" else -1
    return signature + 24 <= len(view) and (not at or signature != own)


def end_of_program(view: memoryview, at: int) -> int:
    """Where its tables end."""
    return end_of_pe(view, at, at + number(view, at + 0x3C, 4))


def _holding(place: int, data: bytes) -> Check:
    """Bytes that stand at a place of every file of a format whose reader asks for no more than its mark."""
    return lambda view, at: bytes(view[at + place : at + place + len(data)]) == data


def _is_nsis(view: memoryview, at: int) -> bool:
    """Known flags, and sizes that can be."""
    flags, header_bytes, data_bytes = (number(view, at + place, 4) for place in (0, 20, 24))
    return flags < _NSIS_FLAGS and _NSIS_LEAST < header_bytes < _NSIS_MOST and data_bytes > _NSIS_LEAST


def _is_zip(view: memoryview, at: int) -> bool:
    """What the reader asks for, a name that is text, and sizes that agree where nothing is packed."""
    zip_format = FORMATS["zip"]
    if not zip_format.check(view, at) or bytes(view[at : at + 4]) != b"PK\3\4":
        return bytes(view[at : at + 4]) == b"PK\5\6" and zip_format.check(view, at)
    flags, method = number(view, at + 6, 2), number(view, at + 8, 2)
    name = bytes(view[at + 30 : at + 30 + number(view, at + 26, 2)])
    if any(byte < _SPACE for byte in name) or flags & 0xC000:
        return False
    return bool(method or flags & 9) or number(view, at + 18, 4) == number(view, at + 22, 4)


def _is_ext(view: memoryview, at: int) -> bool:
    """The reader's check, and counts, states and sizes that a superblock has (Linux, *ext4 Super Block*)."""
    block = at + 1024
    blocks, free = number(view, block + 4, 4), number(view, block + 12, 4)
    state, errors, inode = (number(view, block + place, 2) for place in (58, 60, 88))
    sane = 0 < number(view, block + 20, 4) + 1 <= 2 and state <= 7 and 1 <= errors <= 3
    return FORMATS["ext"].check(view, at) and sane and free <= blocks and inode in (0, 128, 256, 512, 1024)


def _is_lzop(view: memoryview, at: int) -> bool:
    """A version of the program that there was."""
    return 0x09 <= number(view, at + 9, 1) <= 0x20 and number(view, at + 13, 1) <= 0x20


def _is_snappy(view: memoryview, at: int) -> bool:
    """A chunk of a kind that there is follows (Snappy framing format, 4)."""
    return number(view, at + 10, 1) in (0, 1, 0xFE, 0xFF) and 0 < number(view, at + 11, 3) < 1 << 17


def _is_szdd(view: memoryview, at: int) -> bool:
    """A length of what is packed."""
    return 0 < number(view, at + 8, 4) < 1 << 30


def _is_kwaj(view: memoryview, at: int) -> bool:
    """A method, and where the data begins."""
    return number(view, at + 8, 2) <= 4 and 14 <= number(view, at + 10, 2) <= 1024


def _is_cpio(view: memoryview, at: int) -> bool:
    """The reader's check, and another header where this member ends, or the trailer."""
    if not FORMATS["cpio"].check(view, at):
        return False
    mark = bytes(view[at : at + 2])
    text = mark == b"07"
    try:
        _, _, size, name_bytes, header, align = cpio_header(view, at)
    except BadArchive:
        return False
    name = bytes(view[at + header : at + header + name_bytes - 1])
    begun = at + -(-(header + name_bytes) // align) * align
    following = bytes(view[begun + -(-size // align) * align :][:2])
    is_whole = following == mark or (text and begun + size >= len(view))
    return name == b"TRAILER!!!" or (is_whole and all(byte >= _SPACE for byte in name))


def _is_fat(view: memoryview, at: int) -> bool:
    """A volume of known sizes: clusters, tables, media and sectors (Microsoft, *FAT*, BPB)."""
    cluster, reserved, tables, media = (
        number(view, at + place, size) for place, size in ((13, 1), (14, 2), (16, 1), (21, 1))
    )
    sane = cluster and not cluster & cluster - 1 and reserved and tables in (1, 2) and media >= _LEAST_MEDIA
    table = at + reserved * number(view, at + 11, 2)
    begins = bytes(view[table : table + 3]) == bytes((media, 0xFF, 0xFF))
    return bool(sane and begins) and FORMATS["fat"].check(view, at) and _end_of_fat(view, at) is not None


def _end_of_fat(view: memoryview, at: int) -> int | None:
    """Behind its sectors."""
    sectors = number(view, at + 19, 2) or number(view, at + 32, 4)
    return min(len(view), at + sectors * number(view, at + 11, 2)) if sectors else None


MORE_ENDS: dict[str, End] = {"fat": _end_of_fat}
"""By label: of formats whose readers need none."""
MORE_CHECKS: dict[str, Check] = {
    "zip": _is_zip,
    "ext": _is_ext,
    "nsis": _is_nsis,
    "cpio": _is_cpio,
    "fat": _is_fat,
    "sz": _is_szdd,
    "kwaj": _is_kwaj,
    "lzop": _is_lzop,
    "snappy": _is_snappy,
    "vhd": _holding(8, b"\0\0\0\2\0\1\0\0"),  # features, version
    "vhdx": _holding(65_536, b"head"),  # [MS-VHDX] 2.2
    "dmg": _holding(8, b"\0\0\0\2"),  # the version of an encrypted image's header
    "vdi": _holding(68, b"\1\0\1\0"),  # version 1.1
    "parallels": _holding(16, b"\2\0\0\0"),  # version
    "cramfs": _holding(0, b"\x45\x3d\xcd\x28"),
}
"""By label: for readers whose marks alone are enough where a payload begins with them."""


def is_swf(view: memoryview, at: int) -> bool:
    """A version, a length, and a body that begins as its packing says."""
    mark, version, head = bytes(view[at : at + 3]), number(view, at + 3, 1), bytes(view[at + 8 : at + 17])
    if not 0 < version < 64 or len(head) < 9:
        return False
    if mark == b"CWS":
        return head[0] & 0x0F == 8 and not int.from_bytes(head[:2], "big") % 31
    if mark == b"ZWS":
        return head[4] < 225 and not head[5]
    return number(view, at + 4, 4) >= 13 and bool(head[0] >> 3)
