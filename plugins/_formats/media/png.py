"""PNG and APNG: what chunks say, text and profiles inflated, pixels looked through (PNG, third edition)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from plugins._formats.archives.declare import Format, Source
from plugins._formats.archives.entry import BadArchive, Entry
from stoq_core.errors import Reason

from .parts import SHORT_BYTES, free, inflated, made, messages

_SIGNATURE = 8
_MOST_CHUNKS = 200_000
_SETTINGS = {
    b"IHDR": 13, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9, b"tIME": 7, b"bKGD": 6, b"sBIT": 4,
    b"acTL": 8, b"fcTL": 26, b"oFFs": 9, b"vpAg": 9, b"cICP": 4, b"CgBI": 4, b"orNT": 1, b"IEND": 0,
    b"mDCV": 24, b"cLLI": 8, b"sTER": 1, b"gIFg": 4,
}  # fmt: skip
"""Chunks of settings, and the bytes that they have at most."""
_COLOURS = {b"PLTE": 768, b"tRNS": 256, b"hIST": 512}
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_MOST_PIXELS = 16 << 20
_MOST_UNFILTERED = 16 << 10


def read_png(source: Source) -> Iterator[Entry]:
    """Texts, profiles, unknown chunks; messages among the pixels; what the image data hold beyond them."""
    view, at = source.view, _SIGNATURE
    source.account.structure(0, _SIGNATURE)
    header, pixels, whole = b"", list[memoryview](), False
    for _ in range(_MOST_CHUNKS):
        size, kind = int.from_bytes(view[at : at + 4]), bytes(view[at + 4 : at + 8])
        if len(kind) < 4 or not kind.isalpha() or at + 12 + size > len(view):
            break
        source.account.structure(at, 8)
        source.account.structure(at + 8 + size, 4)
        if kind == b"IDAT":
            source.account.media(at + 8, size)
            pixels.append(view[at + 8 : at + 8 + size])
        elif kind == b"IHDR" and not header:
            header = bytes(view[at + 8 : at + 8 + min(size, 13)])
        yield from _chunk(source, kind, at + 8, size)
        at += 12 + size
        if kind == b"IEND":
            whole = True
            break
    yield from _pixels(header, pixels)
    if not whole:
        raise BadArchive(Reason.TRUNCATED, "the picture has no end")


def _chunk(source: Source, kind: bytes, at: int, size: int) -> Iterator[Entry]:
    if size <= _SETTINGS.get(kind, -1):
        source.account.structure(at, size)
    elif size <= _COLOURS.get(kind, -1) or kind == b"fdAT":
        source.account.media(at, size)
    elif kind in (b"tEXt", b"iTXt", b"zTXt", b"iCCP"):
        yield from _text(source, kind, at, size)


def _text(source: Source, kind: bytes, at: int, size: int) -> Iterator[Entry]:
    """A keyword, then (11.3.3) Latin-1, a packed text, or a text with languages that may be packed."""
    data = bytes(source.view[at : at + size])
    keyword, _, rest = data.partition(b"\0")
    name = f"{kind.decode()}-{keyword[:79].decode('latin-1')}"
    start = at + len(keyword) + 1
    if kind == b"tEXt" or len(keyword) > SHORT_BYTES + 15:
        yield from free(source, name, at, size)
        return
    source.account.structure(at, len(keyword) + 1)
    if kind == b"iTXt":
        packed = rest[:1] == b"\1"
        skip = 2 + len(rest[2:].partition(b"\0")[0]) + 1
        skip += len(rest[skip:].partition(b"\0")[0]) + 1
        yield from free(source, name + "-languages", start, min(skip, len(rest)))
        start, rest = start + skip, rest[skip:]
        if not packed:
            yield from free(source, name, start, len(rest))
            return
    else:
        source.account.structure(start, 1)
        start, rest = start + 1, rest[1:]
    if rest:
        yield from inflated(source, name, start, len(rest))


def _pixels(header: bytes, parts: list[memoryview]) -> Iterator[Entry]:
    """What the image data inflate to, of a bounded size, and what stands behind their end."""
    if not parts:
        return
    decoder = zlib.decompressobj(-15 if bytes(parts[0][:1]) not in (b"\x78", b"\x58", b"\x48", b"\x38",
                                 b"\x28", b"\x18", b"\x68", b"\x08") else 15)  # fmt: skip
    plain, behind = bytearray(), bytearray()
    try:
        for data in parts:
            if decoder.eof:
                behind += data
                continue
            plain += decoder.decompress(data, max(1, _MOST_PIXELS - len(plain)))
            if decoder.unconsumed_tail:
                break
            behind += decoder.unused_data
    except zlib.error as error:
        yield made("pixels", bytes(plain))
        yield made("image-data", b"".join(parts))
        raise BadArchive(Reason.CORRUPT, f"the image data are damaged: {error}") from None
    if any(behind):
        yield made("behind-image-data", bytes(behind))
    row, expected = _rows(header)
    if 0 < expected < len(plain) and any(plain[expected:]):
        yield made("beyond-pixels", bytes(plain[expected:]))
    raw = bytes(plain[: expected or len(plain)])
    if 0 < row <= len(raw) <= _MOST_UNFILTERED and not header[12]:
        raw = _unfiltered(raw, row, _pixel_bytes(header))
    yield from messages(raw, "pixels", any_file=True)


def _rows(header: bytes) -> tuple[int, int]:
    """Bytes of a row with its filter's and of all rows; zeros for interlaced ones, whose rows differ."""
    if len(header) < 13:
        return 0, 0
    width, height = int.from_bytes(header[:4]), int.from_bytes(header[4:8])
    bits = _CHANNELS.get(header[9], 0) * header[8]
    if header[12]:
        total = 0
        for x, y, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4),
                             (1, 0, 2, 2), (0, 1, 1, 2)):  # fmt: skip
            columns, lines = -(-max(0, width - x) // dx), -(-max(0, height - y) // dy)
            total += lines * (1 + (columns * bits + 7) // 8) if columns else 0
        return 0, total
    row = 1 + (width * bits + 7) // 8
    return row, row * height


def _pixel_bytes(header: bytes) -> int:
    return max(1, _CHANNELS.get(header[9], 1) * header[8] // 8)


def _unfiltered(raw: bytes, row: int, step: int) -> bytes:
    """9.2: each row's bytes are differences to those left, above, or of a mean of these."""
    made_rows, above = bytearray(), bytes(row - 1)
    for at in range(0, len(raw), row):
        kind, line = raw[at], raw[at + 1 : at + row]
        above = _line(kind, line, above, step)
        made_rows += above
    return bytes(made_rows)


def _line(kind: int, line: bytes, above: bytes, step: int) -> bytes:
    if kind == 0:
        return line
    if kind == 2:
        return bytes((a + b) & 255 for a, b in zip(line, above, strict=False))
    made_line = bytearray(step)
    for place, value in enumerate(line):
        left = made_line[place]
        if kind == 1:
            guess = left
        elif kind == 3:
            guess = (left + above[place]) >> 1
        else:
            guess = _paeth(left, above[place], above[place - step] if place >= step else 0)
        made_line.append((value + guess) & 255)
    return bytes(made_line[step:])


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    near_left, near_up, near_corner = abs(guess - left), abs(guess - up), abs(guess - corner)
    if near_left <= near_up and near_left <= near_corner:
        return left
    return up if near_up <= near_corner else corner


FORMATS = (Format("png", read_png),)
