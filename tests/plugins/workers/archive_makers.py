"""Archives built in code, byte by byte, for formats that nothing on PyPI writes."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import plistlib
import struct
import zlib
from collections.abc import Callable, Mapping

Members = Mapping[str, bytes]


def cpio(members: Members) -> bytes:
    """A newc cpio."""
    out = b""
    for name, content in (*members.items(), ("TRAILER!!!", b"")):
        fields = [1, 0o100644, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name.encode()) + 1, 0]
        head = b"070701" + b"".join(b"%08X" % one for one in fields) + name.encode() + b"\0"
        out += head + b"\0" * (-len(head) % 4) + content + b"\0" * (-len(content) % 4)
    return out


def compress_z(content: bytes, most_bits: int = 16) -> bytes:
    """What compress(1) writes, without ever clearing its table."""
    out, codes, bits, group = b"\x1f\x9d" + bytes((0x80 | most_bits,)), [], 9, b""
    table = {bytes((n,)): n for n in range(256)}
    following = 257

    def flush() -> None:
        nonlocal out, codes
        value = sum(code << n * bits for n, code in enumerate(codes))
        out += value.to_bytes(bits, "little") if codes else b""
        codes = []

    for byte in content:
        longer = group + bytes((byte,))
        if longer in table:
            group = longer
            continue
        codes.append(table[group])
        if len(codes) == 8:
            flush()
        if following < 1 << most_bits:
            table[longer] = following
            following += 1
            if following > 1 << bits and bits < most_bits:
                flush()
                bits += 1
        group = bytes((byte,))
    if group:
        codes.append(table[group])
    value = sum(code << n * bits for n, code in enumerate(codes))
    return out + value.to_bytes((len(codes) * bits + 7) // 8, "little")


def rpm(payload: bytes, script: bytes = b"") -> bytes:
    """A package with an empty signature, a few tags and this payload."""

    def header(tags: Mapping[int, bytes]) -> bytes:
        index, store = b"", b""
        for tag, value in tags.items():
            index += struct.pack(">IIII", tag, 6, len(store), 1)
            store += value + b"\0"
        return b"\x8e\xad\xe8\x01" + bytes(4) + struct.pack(">II", len(tags), len(store)) + index + store

    tags = {1000: b"sample", 1001: b"1.0", 1124: b"cpio"}
    if script:
        tags[1023] = script
    lead = b"\xed\xab\xee\xdb\x03\x00" + bytes(90)
    return lead + header({}) + header(tags) + payload


def cab(members: Members, *, mszip: bool = False) -> bytes:
    """A cabinet of one folder, stored or MSZIP, with checksums."""
    data = b"".join(members.values())
    blocks, history = [], b""
    for at in range(0, len(data), 32_768):
        plain = data[at : at + 32_768]
        packed = plain
        if mszip:
            packer = (
                zlib.compressobj(9, zlib.DEFLATED, -15, zdict=history)
                if history
                else zlib.compressobj(9, zlib.DEFLATED, -15)
            )
            packed = b"CK" + packer.compress(plain) + packer.flush()
            history = plain
        sizes = struct.pack("<HH", len(packed), len(plain))
        blocks.append(struct.pack("<I", _xor(packed) ^ _xor(sizes)) + sizes + packed)
    files, start = b"", 0
    for name, content in members.items():
        files += struct.pack("<IIHHHH", len(content), start, 0, 0x5A21, 0x6000, 0x80) + name.encode() + b"\0"
        start += len(content)
    files_at = 36 + 8
    data_at = files_at + len(files)
    folder = struct.pack("<IHH", data_at, len(blocks), int(mszip))
    body = b"".join(blocks)
    head = b"MSCF" + struct.pack(
        "<5IBBHHHHH", 0, data_at + len(body), 0, files_at, 0, 3, 1, 1, len(members), 0, 0, 0
    )
    return head + folder + files + body


def _xor(data: bytes) -> int:
    value = 0
    for at in range(0, len(data) // 4 * 4, 4):
        value ^= int.from_bytes(data[at : at + 4], "little")
    return value ^ int.from_bytes(data[len(data) // 4 * 4 :], "big")


def arj(members: Members, *, method: int = 0, pack: Callable[[bytes], bytes] = bytes) -> bytes:
    """An ARJ with a main header; members of one method."""
    out = _arj_header(2, 0, b"", b"", b"all.arj")
    for name, content in members.items():
        packed = pack(content)
        out += _arj_header(0, method, packed, content, name.encode()) + packed
    return out + b"\x60\xea\0\0"


def _arj_header(kind: int, method: int, packed: bytes, content: bytes, name: bytes) -> bytes:
    fixed = struct.pack("<8B", 30, 11, 1, 2, 0x10, method, kind, 0)
    fixed += struct.pack("<4I3H", 1_700_000_000, len(packed), len(content), zlib.crc32(content), 0, 0o644, 0)
    header = fixed + name + b"\0\0"
    return b"\x60\xea" + struct.pack("<H", len(header)) + header + struct.pack("<IH", zlib.crc32(header), 0)


def crc16(data: bytes) -> int:
    """CRC-16/ARC, a bit at a time."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value


def lzh(
    members: Members, *, level: int = 1, method: bytes = b"-lh0-", pack: Callable[[bytes], bytes] = bytes
) -> bytes:
    """An LHA archive with headers of level 0, 1 or 2."""
    out = b""
    for name, content in members.items():
        packed, raw = pack(content), name.encode()
        sizes = method + struct.pack("<II", len(packed), len(content))
        crc = struct.pack("<H", crc16(content))
        if level == 2:
            extension = b"\x01" + raw
            fields = sizes + struct.pack("<IBB", 1_700_000_000, 0x20, 2) + crc + b"U"
            fields += struct.pack("<H", len(extension) + 2) + extension + b"\0\0"
            out += struct.pack("<H", len(fields) + 2) + fields + packed
            continue
        fields = sizes + struct.pack("<HHBBB", 0x6000, 0x5A21, 0x20, level, len(raw)) + raw + crc
        fields += b"U\0\0" if level else b""
        out += bytes((len(fields), sum(fields) & 0xFF)) + fields + packed
    return out + b"\0"


def lh5_literals(content: bytes, slot_bits: int = 4) -> bytes:
    """lh5 data of literals alone: all 256 take 8 bits, distances are one code of no bits (ARJ: 5 bits)."""
    bits = ""
    for at in range(0, len(content), 60_000):
        block = content[at : at + 60_000]
        bits += f"{len(block):016b}"
        bits += f"{0:05b}{10:05b}"  # the code lengths' own code is one symbol, 10, which means length 8
        bits += f"{256:09b}"
        bits += "0" * (2 * slot_bits)
        bits += "".join(f"{byte:08b}" for byte in block)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big") if bits else b""


def xar(members: Members, *, encoding: str = "application/x-gzip") -> bytes:
    """A xar; encodings are those of its table of contents."""
    packers: dict[str, Callable[[bytes], bytes]] = {
        "application/x-gzip": zlib.compress,
        "application/x-bzip2": bz2.compress,
        "application/x-xz": lzma.compress,
        "application/x-lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
        "application/octet-stream": bytes,
    }
    heap, files = b"\0" * 20, ""
    for n, (name, content) in enumerate(members.items()):
        packed = packers[encoding](content)
        digest = hashlib.sha1(content).hexdigest()
        files += (
            f'<file id="{n}"><data><length>{len(packed)}</length><offset>{len(heap)}</offset>'
            f'<size>{len(content)}</size><encoding style="{encoding}"/>'
            f'<extracted-checksum style="sha1">{digest}</extracted-checksum></data>'
            f"<mode>0644</mode><type>file</type><name>{name}</name></file>"
        )
        heap += packed
    toc = f'<?xml version="1.0" encoding="UTF-8"?><xar><toc>{files}</toc></xar>'.encode()
    packed_toc = zlib.compress(toc)
    return struct.pack(">4sHHQQI", b"xar!", 28, 1, len(packed_toc), len(toc), 1) + packed_toc + heap


def dmg(image: bytes, kind: int = 0x80000005) -> bytes:
    """A UDIF image of one partition, in chunks of 64 KiB; the kind is the chunks' compression."""
    packers: dict[int, Callable[[bytes], bytes]] = {
        1: bytes, 0x80000004: adc_literals, 0x80000005: zlib.compress, 0x80000006: bz2.compress,
        0x80000008: lzma.compress, 0x80000007: bytes,
    }  # fmt: skip
    data, rows = b"", b""
    for at in range(0, len(image), 65_536):
        plain = image[at : at + 65_536]
        packed = packers[kind](plain)
        row = struct.pack(">IIQQQQ", kind, 0, at // 512, len(plain) // 512, len(data), len(packed))
        data, rows = data + packed, rows + row
    rows += struct.pack(">IIQQQQ", 0xFFFFFFFF, 0, len(image) // 512, 0, len(data), 0)
    table = struct.pack(">4sIQQQII", b"mish", 1, 0, len(image) // 512, 0, 0, 0).ljust(200, b"\0")
    table += struct.pack(">I", len(rows) // 40) + rows
    plist = plistlib.dumps({"resource-fork": {"blkx": [{"Name": "disk", "Data": table}]}})
    trailer = bytearray(b"koly" + struct.pack(">II", 4, 512)).ljust(512, b"\0")
    struct.pack_into(">QQ", trailer, 216, len(data), len(plist))
    return data + plist + bytes(trailer)


def adc_literals(content: bytes) -> bytes:
    """Apple Data Compression of literal runs, and a match for every run that repeats the one before."""
    out, previous = b"", b""
    for at in range(0, len(content), 64):
        run = content[at : at + 64]
        if run == previous and len(run) == 64:
            out += bytes((0x40 | 60,)) + struct.pack(">H", 63)
        else:
            out += bytes((0x80 | len(run) - 1,)) + run
        previous = run
    return out


def vhd(image: bytes, *, dynamic: bool = True, block: int = 65_536) -> bytes:
    """A VHD; a dynamic one leaves out blocks of zeros."""
    footer = bytearray(b"conectix" + struct.pack(">II", 2, 0x10000)).ljust(512, b"\0")
    struct.pack_into(">Q", footer, 16, 512 if dynamic else 0xFFFFFFFFFFFFFFFF)
    struct.pack_into(">QQ", footer, 40, len(image), len(image))
    struct.pack_into(">I", footer, 60, 3 if dynamic else 2)
    if not dynamic:
        return image + bytes(footer)
    count = -(-len(image) // block)
    table_at = 512 + 1024
    body_at = table_at + -(-4 * count // 512) * 512
    header = bytearray(b"cxsparse" + b"\xff" * 8 + struct.pack(">QIII", table_at, 0x10000, count, block))
    table, body = b"", b""
    for at in range(0, len(image), block):
        plain = image[at : at + block]
        if any(plain):
            table += struct.pack(">I", (body_at + len(body)) // 512)
            body += b"\xff" * 512 + plain.ljust(block, b"\0")
        else:
            table += b"\xff" * 4
    return (
        bytes(footer)
        + bytes(header.ljust(1024, b"\0"))
        + table.ljust(body_at - table_at, b"\xff")
        + body
        + bytes(footer)
    )


def mbr(partition: bytes, start: int = 8) -> bytes:
    """A disk with one partition of type 6 at sector `start`."""
    boot = bytearray(512)
    boot[446:462] = struct.pack("<B3sB3sII", 0x80, bytes(3), 6, bytes(3), start, -(-len(partition) // 512))
    boot[510:] = b"\x55\xaa"
    return bytes(boot) + bytes(512 * (start - 1)) + partition


def gz(content: bytes) -> bytes:
    """A gzip of no time."""
    return gzip.compress(content, mtime=0)
