"""What else a header must hold where the mark alone is short enough to be chance."""

from __future__ import annotations

import lzma
import zlib

_INT31 = 1 << 31
_MOST_SKIPPABLE = 64
_OLD_PYTHONS = frozenset({20_121, 50_428, 50_823, 60_202, 60_717})


def is_arj(head: bytes, _view: memoryview) -> bool:
    """A main header of a sane size."""
    return len(head) < 11 or (head[10] == 2 and 30 <= head[4] <= head[2] | head[3] << 8 <= 2600)


def is_cab(head: bytes, _view: memoryview) -> bool:
    """Version 1.x; fields that are reserved may hold anything."""
    return len(head) < 26 or (head[25] == 1 and head[24] <= 9)


def _behind_skippable(head: bytes, view: memoryview) -> bytes:
    """The mark behind frames that decoders of zstd and lz4 skip (RFC 8878, 3.1.2)."""
    at = 0
    for _ in range(_MOST_SKIPPABLE):
        head = bytes(view[at : at + 8])
        if len(head) < 8 or head[0] & 0xF0 != 0x50 or head[1:4] != b"\x2a\x4d\x18":
            break
        at += 8 + int.from_bytes(head[4:8], "little")
    return head[:4]


def is_skippable(head: bytes, view: memoryview) -> bool:
    """A frame to be skipped, with one of zstd behind it, or none."""
    behind = _behind_skippable(head, view)
    return head[0] & 0xF0 == 0x50 and (behind == b"\x28\xb5\x2f\xfd" or not behind)


def is_skippable_lz4(head: bytes, view: memoryview) -> bool:
    """A frame to be skipped, with one of lz4 behind it."""
    return head[0] & 0xF0 == 0x50 and _behind_skippable(head, view) == b"\x04\x22\x4d\x18"


def is_compress(head: bytes, _view: memoryview) -> bool:
    """Two reserved bits, 9 to 16 bits a code."""
    return len(head) < 3 or (not head[2] & 0x60 and 9 <= head[2] & 0x1F <= 16)


def is_arc(head: bytes, view: memoryview) -> bool:
    """The packed size leads to the next member's mark (or the file was cut)."""
    end = int.from_bytes(head[15:19], "little") + (25 if head[1] == 1 else 29)
    return end >= len(view) or view[end] == 0x1A


def is_lzma(head: bytes, view: memoryview) -> bool:
    """Properties below 225, a dictionary that encoders write, a sane length, and bytes that decode.

    Equations of Office documents pass all but the last.
    """
    if len(head) < 14 or head[0] >= 225 or head[13]:  # the range coder's first byte is always zero
        return False
    dictionary = int.from_bytes(head[1:5], "little")
    size = int.from_bytes(head[5:13], "little")
    if size != (1 << 64) - 1 and size >= 1 << 38:
        return False
    low = dictionary & -dictionary
    usual = dictionary >= 4096 and dictionary in (low, low * 3)  # 2^n or 2^n + 2^(n-1)
    return (usual or dictionary == 0xFFFFFFFF) and _lzma_begins(head[0], bytes(view[13:525]))


def _lzma_begins(properties: int, packed: bytes) -> bool:
    """Whether the first bytes come out; a small window is enough for them."""
    rest, lc = divmod(properties, 9)
    pb, lp = divmod(rest, 5)
    if lc + lp > 4:
        return True  # allowed, but not by the library that would be asked
    said = {"id": lzma.FILTER_LZMA1, "lc": lc, "lp": lp, "pb": pb, "dict_size": 4096}
    try:
        lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[said]).decompress(packed, 256)
    except lzma.LZMAError:
        return False
    return True


def is_pe(head: bytes, _view: memoryview) -> bool:
    """The header's offset leads to a PE mark, or to behind what is looked at."""
    start = int.from_bytes(head[0x3C:0x40], "little") if len(head) >= 64 else 0
    return head[start : start + 4] == b"PE\0\0" or start + 4 > len(head)


def is_class(head: bytes, _view: memoryview) -> bool:
    """A class's version (45 and up) stands where a fat Mach-O counts its architectures."""
    return int.from_bytes(head[4:8], "big") >= 45


def is_udf(_head: bytes, view: memoryview) -> bool:
    """Behind the first descriptor one says which standard it is."""
    return bytes(view[0x8801:0x8804]) == b"NSR"


def is_ext(head: bytes, _view: memoryview) -> bool:
    """Blocks of 1 to 64 KiB, and the upper bytes of the feature words zero."""
    return head[1048:1052] <= b"\x06\0\0\0" and head[1101:1104] == bytes(3)


def is_disk(head: bytes, _view: memoryview) -> bool:
    """A table of partitions: states that exist, sizes that are not zero."""
    rows = [head[446 + 16 * n : 462 + 16 * n] for n in range(4)]
    used = [row for row in rows if row[4]]
    whole = all(row[0] in (0, 0x80) for row in rows) and all(any(row[12:16]) for row in used)
    return bool(used) and whole


def is_fat_wordless(head: bytes, view: memoryview) -> bool:
    """A BIOS parameter block whose numbers hold (FAT specification 1.03, 3.1), whatever its last word is."""
    if len(head) < 512 or not (head[0] == 0xE9 or (head[0] == 0xEB and head[2] == 0x90)):
        return False
    sector, cluster = int.from_bytes(head[11:13], "little"), head[13]
    reserved, tables, media = int.from_bytes(head[14:16], "little"), head[16], head[21]
    small, large = int.from_bytes(head[19:21], "little"), int.from_bytes(head[32:36], "little")
    total = small or large
    whole = sector in (512, 1024, 2048, 4096) and cluster > 0 and not cluster & cluster - 1
    return bool(
        whole and reserved and tables in (1, 2) and media >= 0xF0 and total * sector >= len(view) // 2
    )


def is_old_tar(head: bytes, _view: memoryview) -> bool:
    """A tar without `ustar`: the checksum of the first header must hold (V7 layout)."""
    if len(head) < 512 or not head[0]:
        return False
    try:
        claimed = int(head[148:156].strip(b" \0"), 8)
    except ValueError:
        return False
    return claimed == sum(head[:148]) + 8 * 32 + sum(head[156:512])


def is_zlib(head: bytes, _view: memoryview) -> bool:
    """RFC 1950, 2.2: the header's check holds, and what follows inflates as far as it is looked at."""
    if len(head) < 8 or head[0] & 0x8F != 8 or (head[0] << 8 | head[1]) % 31 or head[1] & 0x20:
        return False
    decoder = zlib.decompressobj()
    try:
        made = decoder.decompress(head, 65_536)
    except zlib.error:
        return False
    return decoder.eof or len(made) >= 65_536 or (len(head) >= 4092 and bool(made))


def is_rdb(head: bytes, view: memoryview) -> bool:
    """Behind the plain length of the first value stands a zlib stream."""
    return is_zlib(head[4:], view)


def is_jffs2(head: bytes, _view: memoryview) -> bool:
    """A node's kind has one of four meanings in its upper bits, and its length covers its header."""
    order = "little" if head[:1] == b"\x85" else "big"
    kind, size = (
        int.from_bytes(head[2:4], order),  # type: ignore[arg-type]
        int.from_bytes(head[4:8], order),  # type: ignore[arg-type]
    )
    return (
        kind & 0xFF in (1, 2, 3, 4, 6, 8, 9)
        and kind & 0xC000 in (0xC000, 0x0000, 0x4000, 0x8000)
        and (size >= 12)
    )


def is_bmp(head: bytes, _view: memoryview) -> bool:
    """The header's size is one of those that exist, the pixels stand behind it."""
    size = int.from_bytes(head[14:18], "little")
    return size in (12, 16, 40, 52, 56, 64, 108, 124) and 14 + size <= int.from_bytes(head[10:14], "little")


def is_icon(head: bytes, _view: memoryview) -> bool:
    """Up to 256 pictures, and the first stands behind the list of them."""
    count = int.from_bytes(head[4:6], "little")
    if not 1 <= count <= 256 or len(head) < 22 or head[9]:
        return False
    size, start = int.from_bytes(head[14:18], "little"), int.from_bytes(head[18:22], "little")
    return start >= 6 + 16 * count and 16 <= size < _INT31


def is_mpeg_audio(head: bytes, _view: memoryview) -> bool:
    """Two frames of the same kind, one behind the other (ISO 11172-3, 2.4.1.3)."""
    size = mpeg_frame_bytes(head, 0)
    return size > 0 and head[size : size + 2] == head[:2] and mpeg_frame_bytes(head, size) > 0


_BITRATES = {
    (3, 3): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (3, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 1): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 3): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 1): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def mpeg_frame_bytes(data: bytes | memoryview, start: int) -> int:
    """The size of the MPEG audio frame that begins at `start`, or 0 where none does."""
    word = bytes(data[start : start + 4])
    if len(word) < 4 or word[0] != 0xFF or word[1] & 0xE0 != 0xE0:
        return 0
    version, layer, bits, rate = word[1] >> 3 & 3, word[1] >> 1 & 3, word[2] >> 4, word[2] >> 2 & 3
    if version == 1 or layer == 0 or bits in (0, 15) or rate == 3:
        return 0
    old = 3 if version == 3 else 2
    kbits = _BITRATES[old, layer if old == 3 or layer == 3 else 1][bits]
    hertz, padded = _RATES[version][rate], word[2] >> 1 & 1
    if layer == 3:
        return (12 * kbits * 1000 // hertz + padded) * 4
    samples = 72 if old == 2 and layer == 1 else 144
    return samples * kbits * 1000 // hertz + padded


def is_asar(head: bytes, _view: memoryview) -> bool:
    """Two pickles of Chromium's: sizes of four bytes each, then a string that is JSON."""
    sizes = [int.from_bytes(head[n : n + 4], "little") for n in (0, 4, 8, 12)]
    return sizes[0] == 4 and sizes[1] >= sizes[2] >= sizes[3] > 0 and head[16:17] == b"{"


def is_pyc(head: bytes, _view: memoryview) -> bool:
    """Behind magic, flags, time and size (which differ by version) an object that is code."""
    magic = int.from_bytes(head[:2], "little")
    if not (3000 <= magic < 4000 or 62_000 <= magic < 62_300 or magic in _OLD_PYTHONS):
        return False
    return any(head[start : start + 1] in (b"c", b"\xe3") for start in (8, 12, 16))


def is_marshal(head: bytes, _view: memoryview) -> bool:
    """A module's code object takes nothing; a sane stack, then its instructions, a string of bytes."""
    stack = int.from_bytes(head[13:17], "little") or int.from_bytes(head[9:13], "little")
    return stack < 1 << 16 and any(head[at : at + 1] in (b"s", b"\xf3") for at in (17, 21, 25))


def is_pickle(head: bytes, view: memoryview) -> bool:
    """Protocol 2 to 5, and the last operation is STOP; from protocol 4 on a frame comes first."""
    if len(head) < 4 or view[-1] != ord("."):
        return False
    return head[1] < 4 or head[2] == 0x95 or len(head) < 16


def ends_as_pickle(_head: bytes, view: memoryview) -> bool:
    """Protocols 0 and 1 have no mark but their first operations and STOP at the end."""
    return view[-1] == ord(".")


def is_ftyp(head: bytes, _view: memoryview) -> bool:
    """A box of a size that its list of brands can have (ISO 14496-12, 4.3)."""
    size = int.from_bytes(head[:4], "big")
    return 16 <= size <= 4096 and not size % 4


def is_quicktime(head: bytes, view: memoryview) -> bool:
    """An old movie without `ftyp`: a box whose size leads to another one or to the end."""
    size = int.from_bytes(head[:4], "big")
    if size in (0, 1):
        return head[4:8] == b"mdat"
    if size < 8 or size > len(view):
        return False
    return size == len(view) or bytes(view[size + 4 : size + 8]).isalnum()


def is_sfnt(head: bytes, _view: memoryview) -> bool:
    """A directory of up to 4,096 tables whose search numbers hold (OpenType, *Table directory*)."""
    count, search = int.from_bytes(head[4:6], "big"), int.from_bytes(head[6:8], "big")
    return 1 <= count <= 4096 and (search == 16 << count.bit_length() - 1 or search == 0)


def is_eot(head: bytes, view: memoryview) -> bool:
    """Its own size, a version that exists, and the mark (W3C, Embedded OpenType)."""
    return int.from_bytes(head[:4], "little") == len(view) and head[8:12] in (
        b"\0\0\1\0", b"\1\0\2\0", b"\2\0\2\0",
    )  # fmt: skip


def is_pack(head: bytes, _view: memoryview) -> bool:
    """A tree of 1 to 24 levels behind the length."""
    return len(head) > 8 and 1 <= head[6] <= 24


def is_bzimage(head: bytes, _view: memoryview) -> bool:
    """The boot protocol's version behind its mark (Linux, Documentation/arch/x86/boot.rst)."""
    return 0x0200 <= int.from_bytes(head[0x206:0x208], "little") <= 0x0300
