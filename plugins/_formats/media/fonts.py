"""Fonts: OpenType and its collections, WOFF and WOFF2 unpacked, Type 1; tables that fonts have are media."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from plugins._formats.archives.declare import Format, Source, number
from plugins._formats.archives.entry import BadArchive, Entry
from stoq_core.errors import Reason

from .parts import free, inflate, made, messages, part

_KNOWN = frozenset((
    b"cmap", b"head", b"hhea", b"hmtx", b"maxp", b"name", b"OS/2", b"post", b"cvt ", b"fpgm", b"glyf",
    b"loca",
    b"prep", b"gasp", b"CFF ", b"CFF2", b"VORG", b"EBDT", b"EBLC", b"EBSC", b"CBDT", b"CBLC", b"sbix",
    b"BASE",
    b"GDEF", b"GPOS", b"GSUB", b"JSTF", b"MATH", b"COLR", b"CPAL", b"avar", b"cvar", b"fvar", b"gvar",
    b"HVAR",
    b"MVAR", b"STAT", b"VVAR", b"hdmx", b"kern", b"LTSH", b"PCLT", b"VDMX", b"vhea", b"vmtx", b"feat",
    b"morx",
    b"mort", b"kerx", b"trak", b"prop", b"just", b"lcar", b"opbd", b"bsln", b"ankr", b"acnt", b"bdat",
    b"bloc",
    b"bhed", b"fdsc", b"fmtx", b"gcid", b"ltag", b"xref", b"zapf", b"Zapf", b"Feat", b"Glat", b"Gloc",
    b"Silf",
    b"Sill", b"TSI0", b"TSI1", b"TSI2", b"TSI3", b"TSI5", b"TSIB", b"TSIC", b"TSID", b"TSIJ", b"TSIP",
    b"TSIS",
    b"TSIV", b"TTFA", b"FFTM", b"PfEd", b"TeX ", b"DSIG", b"VTTJ", b"SVG ", b"meta", b"BDF ", b"HVGL",
))  # fmt: skip
_TEXTS = frozenset((b"name", b"meta", b"SVG ", b"DSIG", b"FFTM", b"PfEd"))
_MOST_TABLES, _MOST_FONTS = 4_096, 256
_EOT_PACKED = 0x10000004  # compressed, or under a key of one byte


def read_sfnt(source: Source) -> Iterator[Entry]:
    """Tables of one font, or of each of a collection."""
    view = source.view
    if bytes(view[:4]) != b"ttcf":
        yield from _tables(source, 0)
        return
    count = min(int.from_bytes(view[8:12]), _MOST_FONTS)
    source.account.structure(0, 12 + 4 * count + (12 if view[5] == 2 else 0))
    for place in range(count):
        yield from _tables(source, int.from_bytes(view[12 + 4 * place : 16 + 4 * place]))


def _tables(source: Source, at: int) -> Iterator[Entry]:
    view, count = source.view, min(int.from_bytes(source.view[at + 4 : at + 6]), _MOST_TABLES)
    source.account.structure(at, 12 + 16 * count)
    for place in range(count):
        row = at + 12 + 16 * place
        tag = bytes(view[row : row + 4])
        start, size = (int.from_bytes(view[n : n + 4]) for n in (row + 8, row + 12))
        if start + size > len(view):
            raise BadArchive(Reason.TRUNCATED, f"the table {tag!r} ends behind the font")
        if tag in _KNOWN and tag not in _TEXTS:
            source.account.media(start, size)
        elif tag == b"name":
            source.account.structure(start, size)  # searched as it stands, in the font itself
        else:
            yield from free(source, tag.decode("latin-1").strip() or "table", start, size)


def read_woff(source: Source) -> Iterator[Entry]:
    """Tables, inflated where they are packed; metadata (XML) and private data are children."""
    view = source.view
    count = min(int.from_bytes(view[12:14]), _MOST_TABLES)
    meta_at, meta_size, _, private_at, private_size = struct.unpack(
        ">5I", bytes(view[24:44]).ljust(20, b"\0")
    )
    source.account.structure(0, 44 + 20 * count)
    for place in range(count):
        row = 44 + 20 * place
        tag = bytes(view[row : row + 4])
        at, packed, size = (int.from_bytes(view[row + n : row + n + 4]) for n in (4, 8, 12))
        if at + packed > len(view):
            raise BadArchive(Reason.TRUNCATED, f"the table {tag!r} ends behind the font")
        plain, used = (
            (bytes(view[at : at + packed]), packed) if packed >= size else inflate(view[at : at + packed])
        )
        name = tag.decode("latin-1").strip() or "table"
        if tag in _KNOWN and tag not in _TEXTS:
            source.account.media(at, used)
            yield from messages(plain, name)
        else:
            source.account.child(at, used)
            yield made(name, plain, at=at)
    if meta_at and meta_size:
        plain, used = inflate(view[meta_at : meta_at + meta_size])
        source.account.child(meta_at, used)
        yield made("metadata.xml", plain, at=meta_at)
    if private_at and private_size:
        yield part(source, "private", private_at, private_size)


def read_woff2(source: Source) -> Iterator[Entry]:
    """One brotli stream for all tables, looked through as a whole; metadata and private data are children."""
    view = source.view
    count = int.from_bytes(view[12:14])
    size, packed = int.from_bytes(view[16:20]), int.from_bytes(view[20:24])
    meta_at, meta_size, _, private_at, private_size = struct.unpack(
        ">5I", bytes(view[28:48]).ljust(20, b"\0")
    )
    at = _directory_end(view, min(count, _MOST_TABLES))
    if bytes(view[4:8]) == b"ttcf":
        raise BadArchive(Reason.UNSUPPORTED_METHOD, "a collection of fonts in WOFF2")
    if at + packed > len(view):
        raise BadArchive(Reason.TRUNCATED, "the font ends within its data")
    source.account.structure(0, at)
    source.account.media(at, packed)
    yield from messages(_unbrotli(view[at : at + packed], 4 * size + (1 << 20)), "tables")
    if meta_at and meta_size:
        source.account.child(meta_at, meta_size)
        yield made("metadata.xml", _unbrotli(view[meta_at : meta_at + meta_size], 1 << 24), at=meta_at)
    if private_at and private_size:
        yield part(source, "private", private_at, private_size)


def _directory_end(view: memoryview, count: int) -> int:
    """4.1: flags, a tag where they say none is known, one length or two of one to five bytes."""
    at = 48
    for _ in range(count):
        flags = view[at] if at < len(view) else 0
        at += 5 if flags & 63 == 63 else 1
        known, version = flags & 63, flags >> 6
        transformed = version != 3 if known in (10, 11) else version != 0
        for _ in range(2 if transformed else 1):
            while at < len(view) and view[at] & 0x80:
                at += 1
            at += 1
    return at


def _unbrotli(data: memoryview, most: int) -> bytes:
    import brotli

    decoder, plain = brotli.Decompressor(), bytearray()
    try:
        plain += decoder.process(bytes(data), output_buffer_limit=1 << 16)
        while not decoder.is_finished() and not decoder.can_accept_more_data() and len(plain) < most:
            plain += decoder.process(b"", output_buffer_limit=1 << 16)
    except brotli.error as error:
        raise BadArchive(Reason.CORRUPT, f"the font's data are damaged: {error}") from None
    if not decoder.is_finished():
        raise BadArchive(Reason.CORRUPT, "the font's data do not end where they should")
    return bytes(plain)


def read_type1(source: Source) -> Iterator[Entry]:
    """PFB's segments: PostScript as text, then the part under `eexec`, whose key everybody knows."""
    view, at = source.view, 0
    while at + 6 <= len(view) and view[at] == 0x80 and view[at + 1] in (1, 2):
        size = number(view, at + 2, 4)
        source.account.structure(at, 6)
        data = view[at + 6 : at + 6 + size]
        if view[at + 1] == 1:
            yield part(source, "font.ps", at + 6, size)
        elif b"/Private" in _decrypted(bytes(data[:4_096])):
            source.account.media(at + 6, size)
        at += 6 + size
    if bytes(view[at : at + 2]) == b"\x80\x03":
        source.account.structure(at, 2)


def _decrypted(data: bytes) -> bytes:
    """Adobe Type 1 Font Format, 7.2."""
    key, plain = 55_665, bytearray()
    for byte in data:
        plain.append(byte ^ key >> 8)
        key = (byte + key) * 52_845 + 22_719 & 0xFFFF
    return bytes(plain)


def read_eot(source: Source) -> Iterator[Entry]:
    """A header with names, then the font, which may be packed: media."""
    size, data = number(source.view, 0, 4), number(source.view, 4, 4)
    source.account.structure(0, min(82, size - data))
    if size - data > 82:
        yield from free(source, "names", 82, size - data - 82)
    if number(source.view, 12, 4) & _EOT_PACKED:
        source.account.media(size - data, data)
    else:
        yield part(source, "font.ttf", size - data, data)


FORMATS = (
    Format("ttf", read_sfnt), Format("otf", read_sfnt), Format("woff", read_woff), Format("woff2",
    read_woff2),
    Format("pfb", read_type1), Format("eot", read_eot),
)  # fmt: skip
