"""Read TNEF (MS-OXTNEF), the `winmail.dat` of Outlook: attributes, MAPI properties, compressed RTF."""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Iterator
from typing import Any

import msgspec

SIGNATURE = b"\x78\x9f\x3e\x22"
_ATTRIBUTE = struct.Struct("<BII")
_MAX_PROPERTIES, _MAX_VALUES = 4_096, 1_024
_FIXED = {
    0x02: 4,
    0x03: 4,
    0x04: 4,
    0x05: 8,
    0x06: 8,
    0x07: 8,
    0x0A: 4,
    0x0B: 4,
    0x14: 8,
    0x40: 8,
    0x48: 16,
    0x00: 4,
    0x01: 4,
}
_SIZED = frozenset({0x0D, 0x1E, 0x1F, 0x102})
_EPOCH = dt.datetime(1601, 1, 1, tzinfo=dt.UTC)
_RTF_SEED = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript "
    b"\\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par "
    b"\\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"
)
"""What the dictionary of compressed RTF holds at the start (MS-OXRTFCP 2.2.2.1)."""


class Attribute(msgspec.Struct, kw_only=True):
    """One attribute (2.1.3): level 1 of the message, 2 of an attachment; `whole` unless it is cut."""

    level: int
    id: int
    data: memoryview
    offset: int = 0
    """Of the data, in the file."""
    whole: bool = True
    checked: bool = True
    """The checksum holds."""


def attributes(view: memoryview) -> Iterator[Attribute | int]:
    """The attributes in order, then the offset where they end."""
    at = 6
    while at + 9 <= len(view):
        level, number, size = _ATTRIBUTE.unpack_from(view, at)
        if level not in (1, 2):
            break
        data = view[at + 9 : at + 9 + size]
        end = at + 9 + size
        whole = end <= len(view)
        checked = whole and view[end : end + 2] == (sum(data) & 0xFFFF).to_bytes(2, "little")
        yield Attribute(level=level, id=number, data=data, offset=at + 9, whole=whole, checked=checked)
        at = end + 2
        if not whole:
            break
    yield min(at, len(view))


class Property(msgspec.Struct, kw_only=True):
    """One MAPI property: its id (or -1 for a named one), its type, and its first values as bytes."""

    id: int
    type: int
    name: str = ""
    values: list[memoryview] = []


def properties(view: memoryview) -> tuple[list[Property], bool]:
    """The properties of a MsgPropertyList (2.1.3.4), and False where the list is damaged."""
    found: list[Property] = []
    try:
        (count,) = struct.unpack_from("<I", view, 0)
        at = 4
        for _ in range(min(count, _MAX_PROPERTIES)):
            one, at = _property(view, at)
            found.append(one)
    except (struct.error, ValueError):
        return found, False
    return found, count <= _MAX_PROPERTIES


def _property(view: memoryview, at: int) -> tuple[Property, int]:
    kind, number = struct.unpack_from("<HH", view, at)
    at += 4
    one = Property(id=number, type=kind & 0x0FFF, values=[])
    if number >= 0x8000:
        (named,) = struct.unpack_from("<I", view, at + 16)
        at += 20
        one.id = -1
        if named == 0:
            one.name = f"0x{struct.unpack_from('<I', view, at)[0]:04x}"
            at += 4
        else:
            raw, at = _sized(view, at)
            one.name = bytes(raw[:512]).decode("utf-16-le", "replace").rstrip("\0")
    many, sized = bool(kind & 0x1000), one.type in _SIZED
    count = 1
    if many or sized:
        (count,) = struct.unpack_from("<I", view, at)
        at += 4
    if count > len(view):
        raise ValueError(count)
    for number in range(count):
        value, at = _sized(view, at) if sized else _fixed(view, at, one.type)
        if number < _MAX_VALUES:
            one.values.append(value)
    return one, at


def _sized(view: memoryview, at: int) -> tuple[memoryview, int]:
    (size,) = struct.unpack_from("<I", view, at)
    if at + 4 + size > len(view):
        raise ValueError(size)
    return view[at + 4 : at + 4 + size], at + 4 + (size + 3 & ~3)


def _fixed(view: memoryview, at: int, kind: int) -> tuple[memoryview, int]:
    size = _FIXED.get(kind)
    if size is None or at + size > len(view):
        raise ValueError(kind)
    return view[at : at + size], at + size


def value(one: Property, codec: str) -> Any:
    """The first value as text, number, truth value, time or hexadecimal; None for none."""
    if not one.values:
        return None
    raw = bytes(one.values[0][:65_536])
    if one.type in (0x1E, 0x1F):
        return raw.decode("utf-16-le" if one.type == 0x1F else codec, "replace").rstrip("\0")
    if one.type in (0x02, 0x03, 0x0A, 0x14):
        return int.from_bytes(raw[:2] if one.type == 0x02 else raw, "little", signed=True)
    if one.type == 0x0B:
        return any(raw[:2])
    if one.type == 0x40:
        try:
            return _EPOCH + dt.timedelta(microseconds=int.from_bytes(raw, "little") // 10)
        except OverflowError:
            return None
    return raw[:64].hex()


def date(view: memoryview) -> str | None:
    """A DTR structure (2.1.3.3.4) as RFC 3339; it names no zone and is taken for UTC."""
    try:
        year, month, day, hour, minute, second = struct.unpack_from("<HHHHHH", view, 0)
        when = dt.datetime(year, month, day, hour, minute, second, tzinfo=dt.UTC)
        return when.isoformat().replace("+00:00", "Z")
    except (struct.error, ValueError):
        return None


def rtf(view: memoryview, room: int) -> tuple[bytes, bool]:
    """Compressed RTF (MS-OXRTFCP 2.1.3) as RTF, at most `room` bytes; False where it is damaged or longer."""
    try:
        _, size, kind, _ = struct.unpack_from("<IIII", view, 0)
    except struct.error:
        return b"", False
    if kind == 0x414C454D:
        return bytes(view[16 : 16 + min(size, room)]), size <= len(view) - 16
    if kind != 0x75465A4C:
        return b"", False
    made = _inflate(view, min(size, room) if size else room)
    return made, len(made) >= size and size <= room


def _inflate(view: memoryview, most: int) -> bytes:
    window = bytearray(4_096)
    window[: len(_RTF_SEED)] = _RTF_SEED
    place = len(_RTF_SEED)
    made = bytearray()
    at = 16
    while at < len(view) and len(made) < most:
        flags = view[at]
        at += 1
        for bit in range(8):
            if flags >> bit & 1:
                if at + 2 > len(view):
                    return bytes(made[:most])
                token = view[at] << 8 | view[at + 1]
                at += 2
                start, length = token >> 4, (token & 0xF) + 2
                if start == place:
                    return bytes(made[:most])
                letters = bytearray()
                for n in range(length):
                    letter = window[(start + n) & 0xFFF]
                    letters.append(letter)
                    window[place] = letter
                    place = (place + 1) & 0xFFF
                made += letters
            elif at < len(view):
                made.append(view[at])
                window[place] = view[at]
                place = (place + 1) & 0xFFF
                at += 1
    return bytes(made[:most])
