"""Executables built in code: PE files with the tables that a test asks for, and Java classes."""

from __future__ import annotations

import struct
from collections.abc import Iterable

SECTION_RVA, SECTION_OFFSET = 0x1000, 0x400
BASE = 0x140000000
READ, WRITE, EXECUTE = 0x4000_0000, 0x8000_0000, 0x2000_0000


def pe(
    content: bytes = b"\xc3" * 512,
    *,
    wide: bool = True,
    entry: int = SECTION_RVA,
    directories: dict[int, tuple[int, int]] | None = None,
    flags: int = READ | EXECUTE,
    name: bytes = b".text",
    characteristics: int = 0x22,
    stamp: int = 1_000_000_000,
    raw: tuple[int, int] | None = None,
    sections: int = 1,
) -> bytes:
    """A PE of one section (or of so many that are the same) at `SECTION_RVA` with this content.

    `directories` are addresses and sizes by number; `raw` is the claim about the section in the file.
    """
    dos = b"MZ" + bytes(58) + struct.pack("<I", 64)
    tables = bytearray(16 * 8)
    for number, (address, size) in (directories or {}).items():
        struct.pack_into("<II", tables, number * 8, address, size)
    magic, base = (0x20B, struct.pack("<Q", BASE)) if wide else (0x10B, struct.pack("<II", 0, 0x400000))
    optional = struct.pack("<HBBIIIII", magic, 14, 0, len(content), 0, 0, entry, SECTION_RVA) + base
    optional += struct.pack(
        "<IIHHHHHHIIIIHH", 0x1000, 0x200, 6, 0, 0, 0, 6, 0, 0, 0x100000, 0x400, 0, 3, 0x8160
    )
    optional += (
        struct.pack("<QQQQ", 1, 1, 1, 1) if wide else struct.pack("<IIII", 1, 1, 1, 1)
    ) + struct.pack("<II", 0, 16)
    optional += bytes(tables)
    coff = struct.pack(
        "<HHIIIHH", 0x8664 if wide else 0x14C, sections, stamp, 0, 0, len(optional), characteristics
    )
    offset, size = raw or (SECTION_OFFSET, len(content))
    row = name.ljust(8, b"\0") + struct.pack(
        "<IIIIIIHHI", len(content), SECTION_RVA, size, offset, 0, 0, 0, 0, flags
    )
    head = dos + b"PE\0\0" + coff + optional + row * sections
    return head.ljust(SECTION_OFFSET, b"\0") + content


def imports(library: bytes, names: Iterable[bytes], at: int) -> bytes:
    """An import table (descriptor, 64-bit thunks, names) that stands at the address `at`."""
    listed = list(names)
    thunks_at = at + 40
    names_at = thunks_at + (len(listed) + 1) * 8
    thunks, texts = b"", b""
    for one in listed:
        thunks += struct.pack("<Q", names_at + len(texts))
        texts += b"\0\0" + one + b"\0"
    library_at = names_at + len(texts)
    descriptor = struct.pack("<IIIII", thunks_at, 0, 0, library_at, thunks_at)
    return descriptor + bytes(20) + thunks + bytes(8) + texts + library + b"\0"


def utf8(text: bytes) -> bytes:
    """A constant of a class's pool."""
    return b"\x01" + struct.pack(">H", len(text)) + text


def java_class(
    pool: Iterable[bytes], rest: bytes = b"", *, count: int | None = None, major: int = 67
) -> bytes:
    """A class file of these constants; `rest` follows the pool. Longs and doubles take two numbers."""
    constants = list(pool)
    held = sum(2 if one[:1] in (b"\x05", b"\x06") else 1 for one in constants)
    head = b"\xca\xfe\xba\xbe" + struct.pack(">HHH", 0, major, held + 1 if count is None else count)
    return head + b"".join(constants) + rest
