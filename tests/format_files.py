"""Small files of many formats, built in code around a cargo: what a reader has to bring out again."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import lzma
import marshal
import pickle
import plistlib
import sqlite3
import struct
import zipfile
import zlib
from collections.abc import Callable

CARGO = b"The cargo: a text that has to come out again, whichever format carried it. " * 8


def _padded(data: bytes, unit: int) -> bytes:
    return data + bytes(-len(data) % unit)


def qcow2(cargo: bytes, *, packed: bool = False) -> bytes:
    """Version 2, clusters of 64 KiB: header, L1, L2, one data cluster, plain or deflated."""
    bits = 16
    cluster = 1 << bits
    maker = zlib.compressobj(9, zlib.DEFLATED, -12)
    body = maker.compress(_padded(cargo, cluster)) + maker.flush() if packed else _padded(cargo, cluster)
    entry = 3 * cluster
    if packed:
        entry |= 1 << 62 | (len(body) + 511) // 512 - 1 << 62 - (bits - 8)
    head = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, bits, cluster, 0, 1, cluster, 0, 0, 0, 0)
    tables = _padded(struct.pack(">Q", 2 * cluster), cluster) + _padded(struct.pack(">Q", entry), cluster)
    return _padded(head, cluster) + tables + _padded(body, 512)


def qcow1(cargo: bytes) -> bytes:
    """Clusters of 4 KiB, one L2 table of 512 entries."""
    head = struct.pack(">4sIQIIQBBxxIQ", b"QFI\xfb", 1, 0, 0, 0, 4096, 12, 9, 0, 48)
    second = struct.pack(">Q", 8192) + bytes(4088)
    return _padded(head + struct.pack(">Q", 4096), 4096) + second + _padded(cargo, 4096)


def qed(cargo: bytes) -> bytes:
    """Clusters of 64 KiB, tables of one cluster."""
    head = struct.pack("<4sIIIQQQQQII", b"QED\0", 65536, 1, 1, 0, 0, 0, 65536, 65536, 0, 0)
    tables = _padded(struct.pack("<Q", 131072), 65536) + _padded(struct.pack("<Q", 196608), 65536)
    return _padded(head, 65536) + tables + _padded(cargo, 65536)


def vmdk(cargo: bytes, *, packed: bool = False) -> bytes:
    """One grain of 64 KiB; the directory at sector 2, the table at 3, data from 8 on."""
    flags = 1 | (1 << 16 | 1 << 17 if packed else 0)
    head = struct.pack("<4sIIQQQQIQQQB4sH", b"KDMV", 1, flags, 128, 128, 1, 1, 512, 0, 2, 8, 0, b"\n \r\n",
                       int(packed))  # fmt: skip
    data = _padded(cargo, 65536)
    if packed:
        body = zlib.compress(data)
        data = struct.pack("<QI", 0, len(body)) + body
    text = _padded(b"# Disk DescriptorFile\nversion=1\n", 512)
    front = (
        _padded(head, 512) + text + _padded(struct.pack("<I", 3), 512) + _padded(struct.pack("<I", 8), 2048)
    )
    return _padded(front, 4096) + _padded(data, 512)


def vdi(cargo: bytes) -> bytes:
    """One block of 1 MiB behind a table at 512."""
    block = 1 << 20
    head = bytearray(512)
    head[:40] = b"<<< A virtual disk >>>\n".ljust(40, b"\0")
    struct.pack_into("<IIII", head, 0x40, 0xBEDA107F, 0x10001, 400, 1)
    struct.pack_into("<II", head, 0x154, 512, 1024)
    struct.pack_into("<QIIII", head, 0x170, block, block, 0, 1, 1)
    return bytes(head) + _padded(struct.pack("<I", 0), 512) + _padded(cargo, block)


def parallels(cargo: bytes) -> bytes:
    """The newer kind: one cluster of 64 KiB."""
    head = struct.pack("<16sIIIIIQIIIQ", b"WithouFreSpacExt", 2, 16, 1, 128, 1, 128, 0, 128, 0, 0)
    return _padded(head + struct.pack("<I", 1), 65536) + _padded(cargo, 65536)


def _jffs2_node(kind: int, body: bytes) -> bytes:
    head = struct.pack("<HHI", 0x1985, kind, 12 + len(body))
    crc = zlib.crc32(head, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return _padded(head + struct.pack("<I", crc) + body, 4)


def jffs2(cargo: bytes, method: int = 6) -> bytes:
    """A name and one piece of its file."""
    data = {6: zlib.compress, 2: lambda raw: b"".join(bytes((b, 0)) for b in raw)}.get(method, bytes)(cargo)
    name = struct.pack("<IIIIBBxxII", 1, 0, 2, 0, 1, 8, 0, 0) + b"f"
    piece = struct.pack("<IIIHHIIIIIIIBBHII", 2, 1, 0o100644, 0, 0, len(cargo), 0, 0, 0, 0, len(data),
                        len(cargo), method, method, 0, 0, 0)  # fmt: skip
    return _jffs2_node(0xE001, name) + _jffs2_node(0xE002, piece + data) + b"\xff" * 512


def ubifs(cargo: bytes) -> bytes:
    """A data node, deflated without a header, and its name."""
    maker = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = maker.compress(cargo) + maker.flush()

    def node(kind: int, body: bytes) -> bytes:
        rest = struct.pack("<QIBBxx", 7, 24 + len(body), kind, 0) + body
        return _padded(struct.pack("<II", 0x06101831, zlib.crc32(rest) ^ 0xFFFFFFFF) + rest, 8)

    name = struct.pack("<II8xQBBHI", 1, 0, 65, 0, 0, 1, 0) + b"f\0"
    return node(2, name) + node(1, struct.pack("<II8xIHH", 65, 0, len(cargo), 2, 0) + data)


def romfs(cargo: bytes) -> bytes:
    """One file behind the volume's name."""
    entry = struct.pack(">IIII", 2, 0, len(cargo), 0) + _padded(b"f\0", 16) + _padded(cargo, 16)
    total = 16 + 16 + len(entry)
    return _padded(struct.pack(">8sII", b"-rom1fs-", total, 0) + _padded(b"v\0", 16) + entry, 1024)


def cramfs(cargo: bytes) -> bytes:
    """One file of at most a page."""
    assert len(cargo) <= 4096
    page = zlib.compress(cargo)
    data_at = 76 + 12 + 4

    def inode(mode: int, size: int, name_bytes: int, offset: int) -> bytes:
        return struct.pack("<III", mode, size, name_bytes // 4 | offset // 4 << 6)

    folder = inode(0o100644, len(cargo), 4, data_at) + b"f\0\0\0"
    head = struct.pack("<II8s16s16s16s", 0x28CD3D45, 0, bytes(8), b"Compressed ROMFS", bytes(16), b"v")
    head = head[:8] + bytes(8) + head[16:64] + inode(0o040755, len(folder), 0, 76)
    return _padded(head + folder + struct.pack("<I", data_at + 4 + len(page)) + page, 4096)


def android_boot(cargo: bytes) -> bytes:
    """Version 0: a kernel and a ramdisk."""
    kernel, ramdisk = b"kernel" * 100, gzip.compress(cargo, mtime=0)
    head = struct.pack("<8s10I", b"ANDROID!", len(kernel), 0, len(ramdisk), 0, 0, 0, 0, 2048, 0, 0)
    return _padded(head, 2048) + _padded(kernel, 2048) + _padded(ramdisk, 2048)


def android_sparse(cargo: bytes) -> bytes:
    """A stored chunk and a hole."""
    data = _padded(cargo, 4096)
    blocks = len(data) // 4096
    head = struct.pack("<IHHHHIIII", 0xED26FF3A, 1, 0, 28, 12, 4096, blocks + 4, 2, 0)
    chunk = struct.pack("<HHII", 0xCAC1, 0, blocks, 12 + len(data)) + data
    return head + chunk + struct.pack("<HHII", 0xCAC3, 0, 4, 12)


def uimage(cargo: bytes) -> bytes:
    """A header whose checksum holds."""
    body = gzip.compress(cargo, mtime=0)
    fields = [0x27051956, 0, 0, len(body), 0, 0, zlib.crc32(body), 5, 2, 2, 1, b"kernel"]
    fields[1] = zlib.crc32(struct.pack(">7I4B32s", *fields))
    return struct.pack(">7I4B32s", *fields) + body


def device_tree(cargo: bytes) -> bytes:
    """A FIT image: /images/k with `data`."""
    body = gzip.compress(cargo, mtime=0).ljust(256, b"\0")
    words = struct.pack(">I4sI8sI4s", 1, b"", 1, b"images\0", 1, b"k\0")
    words += struct.pack(">III", 3, len(body), 0) + _padded(body, 4) + struct.pack(">IIII", 2, 2, 2, 9)
    strings = b"data\0"
    total = 56 + len(words) + len(strings)
    head = struct.pack(
        ">10I", 0xD00DFEED, total, 56, 56 + len(words), 40, 17, 16, 0, len(strings), len(words)
    )
    return head + bytes(16) + words + strings


def asar(cargo: bytes) -> bytes:
    """One file in a folder."""
    tree = json.dumps({"files": {"d": {"files": {"f": {"size": len(cargo), "offset": "0"}}}}}).encode()
    size = len(tree) + 3 & ~3
    return struct.pack("<IIII", 4, size + 8, size + 4, len(tree)) + tree.ljust(size, b"\0") + cargo


def lzip(cargo: bytes) -> bytes:
    """LZMA with an end mark, checksum and sizes."""
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16}]
    body = lzma.compress(cargo, lzma.FORMAT_RAW, filters=filters)
    # a raw stream has no end mark: that of .lzma files with an unknown size does
    body = lzma.compress(cargo, lzma.FORMAT_ALONE, filters=filters)[13:]
    return b"LZIP\x01\x10" + body + struct.pack("<IQQ", zlib.crc32(cargo), len(cargo), 26 + len(body))


def pbzx(cargo: bytes) -> bytes:
    """One chunk of xz."""
    body = lzma.compress(cargo)
    return b"pbzx" + struct.pack(">QQQ", 1 << 24, len(cargo), len(body)) + body


def snappy_literals(cargo: bytes) -> bytes:
    """A raw block: its length, then literals of up to 60 bytes and, where a part repeats, a copy."""
    made, size = bytearray(), len(cargo)
    while size > 127:
        made.append(size & 127 | 128)
        size >>= 7
    made.append(size)
    for at in range(0, len(cargo), 60):
        piece = cargo[at : at + 60]
        made += bytes((len(piece) - 1 << 2,)) + piece
    return bytes(made)


def snappy(cargo: bytes) -> bytes:
    """Framed: a packed chunk."""
    body = bytes(4) + snappy_literals(cargo)
    return b"\xff\x06\0\0sNaPpY\0" + len(body).to_bytes(3, "little") + body


def sz(cargo: bytes) -> bytes:
    """QBasic's: letters alone."""
    made = b"SZ \x88\xf0\x27\x33\xd1" + struct.pack("<I", len(cargo))
    return made + b"".join(b"\xff" + cargo[at : at + 8] for at in range(0, len(cargo), 8))


def kwaj(cargo: bytes) -> bytes:
    """MSZIP under a name."""
    maker = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = b"CK" + maker.compress(cargo) + maker.flush()
    name = b"setup\0txt\0"
    head = b"KWAJ\x88\xf0\x27\xd1" + struct.pack("<HHH", 4, 14 + len(name), 8 | 16) + name
    return head + struct.pack("<H", len(block)) + block + bytes(2)


def deflate(cargo: bytes) -> bytes:
    """RFC 1951 without anything around it."""
    maker = zlib.compressobj(9, zlib.DEFLATED, -15)
    return maker.compress(cargo) + maker.flush()


def lzop(cargo: bytes) -> bytes:
    """A stored block and one of literals alone."""
    head = struct.pack(">HHHBBIIIIB", 0x1030, 0x20A0, 0x940, 1, 5, 1, 0o644, 0, 0, 1) + b"f"
    made = b"\x89LZO\0\r\n\x1a\n" + head + struct.pack(">I", zlib.adler32(head))
    for at in range(0, len(cargo), 200):
        plain = cargo[at : at + 200]
        made += struct.pack(">III", len(plain), len(plain), zlib.adler32(plain)) + plain
    return made + bytes(4)


def pyc(cargo: bytes) -> bytes:
    """A module of this Python with a constant of bytes."""
    code = compile(f"x = {cargo!r}", "m.py", "exec")
    return b"\xa7\r\r\n" + bytes(12) + marshal.dumps(code)


def bare_marshal(cargo: bytes) -> bytes:
    """The same without a header."""
    return pyc(cargo)[16:]


def wasm(cargo: bytes, *, data: bool = False) -> bytes:
    """A custom section, or a segment of data."""

    def number(value: int) -> bytes:
        return bytes((value & 127 | 128, value >> 7 & 127 | 128, value >> 14))

    if data:
        body = b"\1\0\x41\0\x0b" + number(len(cargo)) + cargo
        return b"\0asm\1\0\0\0\x0b" + number(len(body)) + body
    body = b"\4mine" + cargo
    return b"\0asm\1\0\0\0\0" + number(len(body)) + body


def sqlite(cargo: bytes) -> bytes:
    """A table with one blob."""
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE t (b BLOB)")
        database.execute("INSERT INTO t VALUES (?)", (cargo,))
        return database.serialize()


def onenote(cargo: bytes) -> bytes:
    """A section with one file data store object."""
    head = bytes.fromhex("e4525c7b8cd8a74daeb15378d02996d3") + bytes(1008)
    mark = bytes.fromhex("e716e3bd65261145a4c48d4d0b7a9eac")
    return head + mark + struct.pack("<QIQ", len(cargo), 0, 0) + _padded(cargo, 8) + bytes(16)


def iwa(cargo: bytes) -> bytes:
    """Chunks of snappy without checksums."""
    body = snappy_literals(cargo)
    return b"\0" + len(body).to_bytes(3, "little") + body


def beam(cargo: bytes) -> bytes:
    """Literals, deflated."""
    body = struct.pack(">I", len(cargo)) + zlib.compress(cargo)
    chunk = b"LitT" + struct.pack(">I", len(body)) + _padded(body, 4)
    return b"FOR1" + struct.pack(">I", 4 + len(chunk)) + b"BEAM" + chunk


def rdb(cargo: bytes) -> bytes:
    """Two values."""
    return b"".join(struct.pack(">I", len(part)) + zlib.compress(part) for part in (b"first" * 9, cargo))


def lz4_block(cargo: bytes) -> bytes:
    """Behind its size: one run of letters and no copy."""
    rest = len(cargo) - 15
    return struct.pack("<I", len(cargo)) + b"\xf0" + b"\xff" * (rest // 255) + bytes((rest % 255,)) + cargo


def arc(cargo: bytes) -> bytes:
    """One stored member."""
    crc = 0
    for byte in cargo:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    head = struct.pack("<BB13sIHHHI", 0x1A, 2, b"f.txt", len(cargo), 0, 0, crc, len(cargo))
    return head + cargo + b"\x1a\0"


def jmod(cargo: bytes) -> bytes:
    """A zip, stored, behind four bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("classes/f", cargo)
    return b"JM\1\0" + out.getvalue()


def trx(cargo: bytes) -> bytes:
    """One partition."""
    body = gzip.compress(cargo, mtime=0)
    return struct.pack("<4sIIHHIII", b"HDR0", 28 + len(body), 0, 0, 1, 28, 0, 0) + body


ARCHIVES: dict[str, Callable[[bytes], bytes]] = {
    "pickle": lambda cargo: pickle.dumps({"a": cargo}),
    "pickle-2": lambda cargo: pickle.dumps([1, gzip.compress(cargo, mtime=0)], 2),
    "pyc": pyc, "marshal": bare_marshal, "wasm": wasm, "wasm-data": lambda cargo: wasm(cargo, data=True),
    "sqlite": sqlite, "sqlite-spilled": lambda cargo: sqlite(cargo * 20), "onenote": onenote,
    "bplist": lambda cargo: plistlib.dumps({"d": cargo}, fmt=plistlib.FMT_BINARY), "iwa": iwa, "beam": beam,
    "rdb": rdb, "lz4block": lz4_block, "trx": trx, "jmod": jmod,
    "qcow": qcow2, "qcow-packed": lambda cargo: qcow2(cargo, packed=True), "qcow-1": qcow1, "qed": qed,
    "vmdk": vmdk, "vmdk-packed": lambda cargo: vmdk(cargo, packed=True), "vdi": vdi, "parallels": parallels,
    "jffs2": jffs2, "jffs2-rtime": lambda cargo: jffs2(cargo, 2),
    "jffs2-stored": lambda cargo: jffs2(cargo, 0),
    "ubifs": ubifs, "romfs": romfs, "cramfs": cramfs, "androidboot": android_boot,
    "androidsparse": android_sparse, "uimage": uimage, "devicetree": device_tree, "asar": asar, "lzip": lzip,
    "pbzx": pbzx, "snappy": snappy, "snappyraw": snappy_literals, "sz": sz, "kwaj": kwaj, "lzop": lzop,
    "zlib": zlib.compress, "deflate": deflate,
}  # fmt: skip
"""By label; what follows a hyphen is a kind of it."""


# media: the cargo is a remark, a picture or an unknown part of a small file that is otherwise well formed


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(chunks: bytes = b"", *, pixels: bytes = b"", kind: int = 0) -> bytes:
    """One row of grey pixels under a filter, other chunks before it."""
    row = pixels or bytes(16)
    head = struct.pack(">IIBBBBB", len(row), 1, 8, 0, 0, 0, 0)
    if kind == 1:
        row = bytes((b - a) & 255 for a, b in zip(b"\0" + row, row, strict=False))
    data = zlib.compress(bytes((kind,)) + row)
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + chunks + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")
    )


def gif(extensions: bytes = b"") -> bytes:
    """One pixel."""
    image = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x4c\x01\0"
    return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6) + extensions + image + b"\x3b"


def gif_blocks(data: bytes) -> bytes:
    """Sub-blocks and their end."""
    parts = (data[at : at + 255] for at in range(0, len(data), 255))
    return b"".join(bytes((len(part),)) + part for part in parts) + b"\0"


def jpeg(segments: bytes = b"") -> bytes:
    """A scan of a few bytes; not a picture that anybody could see."""
    frame = b"\xff\xc0" + struct.pack(">HBHHBBBB", 11, 8, 1, 1, 1, 1, 0x11, 0)
    scan = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 0, 63, 0) + b"\x12\x34\xff\x00\x56"
    return b"\xff\xd8" + segments + frame + scan + b"\xff\xd9"


def segment(kind: int, data: bytes) -> bytes:
    """A marker segment."""
    return bytes((0xFF, kind)) + struct.pack(">H", 2 + len(data)) + data


def mp3(frames: bytes = b"") -> bytes:
    """A tag of version 2.3 and two frames of 417 bytes."""
    size = len(frames)
    safe = bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + safe + frames + (b"\xff\xfb\x90\x00" + bytes(413)) * 2


def id3_frame(name: bytes, data: bytes) -> bytes:
    """A frame of version 2.3."""
    return name + struct.pack(">IH", len(data), 0) + data


def flac(blocks: bytes = b"") -> bytes:
    """Settings and other blocks of metadata, without sound."""
    info = struct.pack(">HH", 4096, 4096) + bytes(30)
    return b"fLaC" + b"\0\0\0\x22" + info + blocks + b"\x81\0\0\x04" + bytes(4)


def riff(kind: bytes, chunks: bytes) -> bytes:
    """A form and its chunks."""
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + kind + chunks


def riff_chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk, padded to an even size."""
    return kind + struct.pack("<I", len(data)) + _padded(data, 2)


def box(kind: bytes, data: bytes) -> bytes:
    """A box."""
    return struct.pack(">I4s", 8 + len(data), kind) + data


def mp4(boxes: bytes = b"") -> bytes:
    """A type, other boxes, an empty movie."""
    return box(b"ftyp", b"isom\0\0\2\0isommp41") + boxes + box(b"moov", box(b"mvhd", bytes(100)))


def element(kind: int, data: bytes) -> bytes:
    """An element of Matroska with a size of four bytes."""
    return kind.to_bytes((kind.bit_length() + 7) // 8) + struct.pack(">I", 0x10000000 | len(data)) + data


def matroska(elements: bytes = b"") -> bytes:
    """A header and a segment."""
    return element(0x1A45DFA3, element(0x4282, b"matroska")) + element(0x18538067, elements)


def tiff(cargo: bytes) -> bytes:
    """One strip, and a description that stands behind it."""
    rows = (
        (256, 3, 1, 1),
        (257, 3, 1, 1),
        (259, 3, 1, 1),
        (270, 2, len(cargo), 100),
        (273, 4, 1, 90),
        (279, 4, 1, 10),
    )
    table = struct.pack("<H", len(rows)) + b"".join(struct.pack("<HHII", *row) for row in rows) + bytes(4)
    return (b"II*\0\x08\0\0\0" + table).ljust(100, b"\0") + cargo


def bmp() -> bytes:
    """Four pixels of 24 bits."""
    return (
        b"BM"
        + struct.pack("<IHHI", 70, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, 2, 2, 1, 24, 0, 16, 0, 0, 0, 0)
        + bytes(16)
    )


def woff(cargo: bytes) -> bytes:
    """One table and private data."""
    table = zlib.compress(bytes(200))
    at = 44 + 20
    private = at + len(table)
    head = struct.pack(">4sIIHHIHHIIIII", b"wOFF", 0x10000, private
        + len(cargo), 1, 0, 300, 1, 0, 0, 0, 0, private,
                       len(cargo))  # fmt: skip
    return head + struct.pack(">4sIIII", b"glyf", at, len(table), 200, 0) + table + cargo


def sfnt(cargo: bytes) -> bytes:
    """Two tables, of which nobody knows the second."""
    head = struct.pack(">4sHHHH", b"\0\1\0\0", 2, 32, 1, 0)
    rows = struct.pack(">4sIII", b"glyf", 0, 44, 16) + struct.pack(">4sIII", b"zzzz", 0, 60, len(cargo))
    return head + rows + bytes(16) + cargo


_PICTURE = struct.pack(">II9sII4I", 3, 9, b"image/png", 0, 0, 0, 0, 0, 0)[:-4]

MEDIA: dict[str, Callable[[bytes], bytes]] = {
    "png-text": lambda cargo: png(_chunk(b"tEXt", b"Comment\0" + cargo)),
    "png-packed-text": lambda cargo: png(_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(cargo))),
    "png-international": lambda cargo: png(_chunk(b"iTXt", b"XML\0\1\0en\0x\0" + zlib.compress(cargo))),
    "png-profile": lambda cargo: png(_chunk(b"iCCP", b"p\0\0" + zlib.compress(cargo))),
    "png-unknown": lambda cargo: png(_chunk(b"prVt", cargo)),
    "png-tail": lambda cargo: png() + cargo,
    "png-pixels": lambda cargo: png(pixels=cargo),
    "png-filtered": lambda cargo: png(pixels=cargo, kind=1),
    "png-settings": lambda cargo: png(_chunk(b"gAMA", cargo)),
    "gif-comment": lambda cargo: gif(b"\x21\xfe" + gif_blocks(cargo)),
    "gif-application": lambda cargo: gif(b"\x21\xff" + gif_blocks(b"NETSCAPE2.0" + cargo)),
    "gif-tail": lambda cargo: gif() + cargo,
    "jpeg-comment": lambda cargo: jpeg(segment(0xFE, cargo)),
    "jpeg-application": lambda cargo: jpeg(segment(0xE9, b"Mine\0" + cargo)),
    "jpeg-exif": lambda cargo: jpeg(segment(0xE1, b"Exif\0\0" + cargo)),
    "jpeg-resource": lambda cargo: jpeg(segment(0xED, b"Photoshop 3.0\0008BIM\4\4\0\0"
        + struct.pack(">I", len(cargo)) + cargo)),
    "jpeg-tail": lambda cargo: jpeg() + cargo,
    "mp3-picture": lambda cargo: mp3(id3_frame(b"APIC", b"\0image/png\0\3\0" + cargo)),
    "mp3-object": lambda cargo: mp3(id3_frame(b"GEOB", b"\0a/b\0n\0d\0" + cargo)),
    "mp3-private": lambda cargo: mp3(id3_frame(b"PRIV", cargo)),
    "mp3-padding": lambda cargo: mp3(id3_frame(b"TIT2", b"\0t") + bytes(20) + cargo),
    "mp3-between": lambda cargo: mp3() + cargo + mp3()[10:],
    "flac-application": lambda cargo: flac(b"\2" + len(cargo).to_bytes(3) + cargo),
    "flac-padding": lambda cargo: flac(b"\1" + len(cargo).to_bytes(3) + cargo),
    "flac-picture": lambda cargo: flac(b"\6" + (len(_PICTURE) + 4 + len(cargo)).to_bytes(3) + _PICTURE
        + struct.pack(">I", len(cargo)) + cargo),
    "wav-unknown": lambda cargo: riff(b"WAVE", riff_chunk(b"fmt ", bytes(16))
        + riff_chunk(b"data", bytes(64)) + riff_chunk(b"zzzz", cargo)),
    "wav-list": lambda cargo: riff(b"WAVE", riff_chunk(b"LIST", b"INFO" + riff_chunk(b"ICMT", cargo))),
    "wav-tail": lambda cargo: riff(b"WAVE", riff_chunk(b"data", bytes(64))) + cargo,
    "riff-junk": lambda cargo: riff(b"AVI ", riff_chunk(b"JUNK", cargo)),
    "webp-exif": lambda cargo: riff(b"WEBP", riff_chunk(b"VP8 ", bytes(20)) + riff_chunk(b"EXIF", cargo)),
    "mp4-free": lambda cargo: mp4(box(b"free", cargo)),
    "mp4-data": lambda cargo: mp4(box(b"mdat", cargo)),
    "mp4-unknown": lambda cargo: mp4(box(b"zzzz", cargo)),
    "mp4-user": lambda cargo: mp4(box(b"moov", box(b"udta", box(b"\xa9cmt", cargo)))),
    "mp4-tail": lambda cargo: mp4() + cargo,
    "mkv-attachment": lambda cargo: matroska(element(0x1941A469, element(0x61A7, element(0x465C, cargo)))),
    "mkv-void": lambda cargo: matroska(element(0xEC, cargo)),
    "mkv-tail": lambda cargo: matroska() + cargo,
    "tiff-description": tiff,
    "bmp-tail": lambda cargo: bmp() + cargo,
    "woff-private": woff,
    "ttf-unknown": sfnt,
    "ttf-tail": lambda cargo: sfnt(b"") + cargo,
}  # fmt: skip
"""By label and the place where the cargo is."""
