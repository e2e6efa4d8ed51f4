"""Programs: behind, between and within what their tables name, in notes, resources and certificates."""

from __future__ import annotations

import struct

from tests import binaries
from tests.hide.matrix import place

PE = binaries.pe()
SECTION = binaries.SECTION_OFFSET


@place("pe", "section")
def _section(cargo: bytes) -> bytes:
    return binaries.pe((bytes(64) + cargo + b"\xc3" * 512).ljust(4096, b"\xc3"))


@place("pe", "header slack")
def _header_slack(cargo: bytes) -> bytes | None:
    free = SECTION - 400
    return None if len(cargo) > free else PE[:400] + cargo.ljust(free, b"\0") + PE[SECTION:]


@place("pe", "gap before the section")
def _gap(cargo: bytes) -> bytes:
    room = -(-len(cargo) // 512) * 512 + 512
    head = binaries.pe(raw=(SECTION + room, 512))[:SECTION]
    return head + (b"\1\2\3 " + cargo).ljust(room, b"\0") + b"\xc3" * 512


@place("pe", "overlay")
def _overlay(cargo: bytes) -> bytes:
    return PE + cargo


@place("pe", "overlay behind zeros")
def _overlay_zeros(cargo: bytes) -> bytes:
    return PE + bytes(5_000) + cargo


@place("pe", "overlay behind a config")
def _overlay_config(cargo: bytes) -> bytes:
    config = b';!@Install@!UTF-8!\r\nTitle="x"\r\nRunProgram="a.exe"\r\n;!@InstallEnd@!'
    return PE + config + cargo


@place("pe", "overlay, 100 KB behind it")
def _overlay_more(cargo: bytes) -> bytes:
    return PE + b"lead" + cargo + bytes(range(256)) * 400


@place("pe", "overlay under a two-byte frame")
def _overlay_frame(cargo: bytes) -> bytes:
    return PE + b"\x01\x02" + struct.pack("<I", len(cargo)) + cargo


def _certificate(content: bytes) -> bytes:
    file = bytearray(binaries.pe(directories={4: (SECTION + 512, 8 + len(content))}))
    return bytes(file) + struct.pack("<IHH", 8 + len(content), 0x200, 2) + content


@place("pe", "behind the PKCS#7")
def _behind_pkcs7(cargo: bytes) -> bytes:
    return _certificate(b"\x30\x82\x00\x40" + bytes(64) + cargo)


@place("pe", "for a PKCS#7")
def _for_pkcs7(cargo: bytes) -> bytes:
    return _certificate(cargo)


@place("pe", "behind the certificates")
def _behind_certificates(cargo: bytes) -> bytes:
    return _certificate(b"\x30\x82\x00\x40" + bytes(64)) + cargo


def _resource(kind: int | str, content: bytes) -> bytes:
    """A program whose one resource this is, by number or name of its type."""
    rva = binaries.SECTION_RVA
    named = isinstance(kind, str)
    text = str(kind).encode("utf-16-le") if named else b""
    first = 0x80000000 | 88 if named else kind
    tree = struct.pack("<IIHHHHII", 0, 0, 0, 0, int(named), int(not named), first, 0x80000018)
    tree += struct.pack("<IIHHHHII", 0, 0, 0, 0, 0, 1, 1, 0x80000030)
    tree += struct.pack("<IIHHHHII", 0, 0, 0, 0, 0, 1, 1033, 72)
    data_at = 88 + 2 + len(text) + 6
    tree += struct.pack("<IIII", rva + data_at, len(content), 0, 0)
    tree += struct.pack("<H", len(text) // 2) + text
    section = (tree.ljust(data_at, b"\0") + content).ljust(4096, b"\0")
    return binaries.pe(section, directories={2: (rva, len(section))}, name=b".rsrc")


for _kind in (10, 3, 16, 24, 77, "CABINET", "PAYLOAD"):
    place("pe", f"resource of type {_kind}")(lambda cargo, kind=_kind: _resource(kind, cargo))  # type: ignore[misc]
    place("pe", f"resource of type {_kind}, some way in")(
        lambda cargo, kind=_kind: _resource(kind, b"\1\2\3\4HEAD" + cargo)  # type: ignore[misc]
    )


@place("pe", "under a key of four bytes")
def _xor(cargo: bytes) -> bytes:
    plain = _section(cargo)
    key = (b"\x13\x37\xc0\xde" * (len(plain) // 4 + 1))[: len(plain)]
    return bytes(a ^ b for a, b in zip(plain, key, strict=True))


@place("dos", "behind the image")
def _dos(cargo: bytes) -> bytes:
    return b"MZ" + struct.pack("<HH", 64, 1) + bytes(58) + cargo


@place("dos", "behind a COM program")
def _com(cargo: bytes) -> bytes:
    return b"\xe9\x10\x00" + b"\x90" * 40 + b"\xcd\x20" + cargo


@place("ne", "behind a stub of Windows 3")
def _ne(cargo: bytes) -> bytes:
    return (
        b"MZ" + struct.pack("<HH", 64, 1) + bytes(54) + struct.pack("<I", 64) + b"NE\5\n" + bytes(100) + cargo
    )


def elf(section: bytes = b"", note: bytes = b"", gap: bytes = b"", *, wide: bool = True) -> bytes:
    """An ELF of one segment that holds code, with a note and a gap before its section."""
    code = b"\xc3" * 64 + section
    head, rows = (64, 56) if wide else (52, 32)
    note_row = struct.pack("<III", 4, len(note), 1) + b"GNU\0" + note + bytes(-len(note) % 4) if note else b""
    first = head + 2 * rows
    note_at, code_at = first, first + len(note_row) + len(gap)
    ident = b"\x7fELF" + bytes((2 if wide else 1, 1, 1)) + bytes(9)
    if wide:
        header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x400000 + code_at, 64, 0, 0, 64, 56, 2, 64, 0, 0)
        load = struct.pack("<IIQQQQQQ", 1, 5, code_at, 0x400000 + code_at, 0, len(code), len(code), 16)
        notes = struct.pack("<IIQQQQQQ", 4, 4, note_at, 0, 0, len(note_row), len(note_row), 4)
    else:
        header = struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0x8000 + code_at, 52, 0, 0, 52, 32, 2, 40, 0, 0)
        load = struct.pack("<IIIIIIII", 1, code_at, 0x8000 + code_at, 0, len(code), len(code), 5, 16)
        notes = struct.pack("<IIIIIIII", 4, note_at, 0, 0, len(note_row), len(note_row), 4, 4)
    return ident + header + load + notes + note_row + gap + code


@place("elf", "overlay")
def _elf_overlay(cargo: bytes) -> bytes:
    return elf() + cargo


@place("elf", "overlay of 32 bits, on a page")
def _elf_page(cargo: bytes) -> bytes:
    return elf(wide=False).ljust(4096, b"\0") + cargo


@place("elf", "section")
def _elf_section(cargo: bytes) -> bytes:
    return elf(section=bytes(30) + cargo + bytes(30))


@place("elf", "note")
def _elf_note(cargo: bytes) -> bytes:
    return elf(note=cargo)


@place("elf", "gap")
def _elf_gap(cargo: bytes) -> bytes:
    return elf(gap=b"\1\2\3" + cargo)


@place("elf", "the tail's tail")
def _elf_more(cargo: bytes) -> bytes:
    return elf() + b"words" * 30 + cargo + b"more words" * 500


def macho(section: bytes = b"") -> bytes:
    """A 64-bit Mach-O of one segment behind its header."""
    code = b"\xc3" * 64 + section
    segment = struct.pack("<II16sQQQQIIII", 0x19, 72, b"__TEXT", 0x1000, 4096, 104, len(code), 5, 5, 0, 0)
    return struct.pack("<IIIIIIII", 0xFEEDFACF, 0x01000007, 3, 2, 1, 72, 0, 0) + segment + code


@place("macho", "overlay")
def _macho_overlay(cargo: bytes) -> bytes:
    return macho() + cargo


@place("macho", "segment")
def _macho_segment(cargo: bytes) -> bytes:
    return macho(cargo)


def fat(first: bytes, second: bytes, gap: bytes = b"") -> bytes:
    """Two slices, something between them."""
    at = 4096
    rows = struct.pack(">IIIII", 0x01000007, 3, at, len(first), 12)
    rows += struct.pack(">IIIII", 0x0100000C, 0, at + len(first) + len(gap), len(second), 0)
    return (b"\xca\xfe\xba\xbe\0\0\0\2" + rows).ljust(at, b"\0") + first + gap + second


@place("fat macho", "gap between slices")
def _fat_gap(cargo: bytes) -> bytes:
    return fat(macho(), macho(b"2"), b"\1\2" + cargo)


@place("fat macho", "behind a slice, within its size")
def _fat_slice(cargo: bytes) -> bytes:
    return fat(macho() + cargo, macho(b"2"))


@place("fat macho", "behind the last slice")
def _fat_tail(cargo: bytes) -> bytes:
    return fat(macho(), macho(b"2")) + cargo


@place("lnk", "behind the end")
def _lnk(cargo: bytes) -> bytes:
    header = b"L\0\0\0" + bytes.fromhex("0114020000000000c000000000000046") + struct.pack("<I", 0)
    return header.ljust(76, b"\0") + bytes(4) + cargo


@place("lnk", "a block of extra data")
def _lnk_block(cargo: bytes) -> bytes:
    header = b"L\0\0\0" + bytes.fromhex("0114020000000000c000000000000046") + struct.pack("<I", 0)
    return header.ljust(76, b"\0") + struct.pack("<II", 8 + len(cargo), 0xA0000009) + cargo + bytes(4)


@place("class", "behind the end")
def _class(cargo: bytes) -> bytes:
    return binaries.java_class([binaries.utf8(b"a")]) + cargo


@place("wasm", "a custom section")
def _wasm(cargo: bytes) -> bytes | None:
    if len(cargo) > 8_000:
        return None
    body = b"\4name" + cargo
    return b"\0asm\1\0\0\0\0" + bytes((len(body) & 0x7F | 0x80, len(body) >> 7)) + body


@place("dex", "behind the end")
def _dex(cargo: bytes) -> bytes:
    return b"dex\n035\0" + bytes(24) + struct.pack("<II", 112, 112) + bytes(72) + cargo
