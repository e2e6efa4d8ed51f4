"""What Microsoft's compress.exe wrote (SZDD): one file, packed with LZSS."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from stoq_core.errors import Reason

from .declare import Format, Mark
from .entry import BadArchive, Chunks, Entry, Member
from .stream import inner_name

_HEADER = struct.Struct("<8sBBI")  # mark, method, the letter that the name lost, bytes
_WINDOW, _BEGIN = 4_096, 4_096 - 16
_STEP_BYTES = 64 * 1024
_LZSS = ord("A")


def read_szdd(view: memoryview, outer_name: str) -> Iterator[Entry]:
    """The one member; the last letter of its name, which compress.exe made `_`, is put back."""
    if len(view) < _HEADER.size:
        raise BadArchive(Reason.TRUNCATED, "the file ends within its header")
    _, method, letter, size = _HEADER.unpack_from(view)
    if method != _LZSS:
        raise BadArchive(Reason.UNSUPPORTED_METHOD, f"SZDD with the method {method}")
    name = outer_name.replace("\\", "/").rpartition("/")[2]
    if name.endswith("_") and chr(letter).isalnum() and letter < 128:
        name = name[:-1] + chr(letter)
    elif name.lower().endswith(".szdd"):
        name = name[: -len(".szdd")]
    else:
        name = inner_name(outer_name)
    content = view[_HEADER.size :]
    yield Entry(Member(name=name, size=size, method="lzss"), lambda _passwords: _unpacked(content, size))


def _unpacked(view: memoryview, size: int) -> Chunks:
    """Groups of eight, told apart by a byte of flags: a letter, or where in the window how many stand."""
    window, at, made = bytearray(b" " * _WINDOW), _BEGIN, bytearray()
    left, data = size, iter(view)
    try:
        while left > 0:
            flags = next(data)
            for bit in range(8):
                if left <= 0:
                    break
                if flags >> bit & 1:
                    part = bytes((next(data),))
                else:
                    low, high = next(data), next(data)
                    part = _match(window, at, low | (high & 0xF0) << 4, min((high & 15) + 3, left))
                for letter in part:
                    window[at] = letter
                    at = at + 1 & _WINDOW - 1
                made += part
                left -= len(part)
            if len(made) >= _STEP_BYTES:
                yield bytes(made)
                made.clear()
    except StopIteration:
        yield bytes(made)
        raise BadArchive(Reason.TRUNCATED, f"{size - left} of {size} bytes are there") from None
    yield bytes(made)


def _match(window: bytearray, at: int, start: int, length: int) -> bytes:
    """Letters of the window from `start` on; those that the match itself writes are among them."""
    made = bytearray()
    for n in range(length):
        place = start + n & _WINDOW - 1
        behind = place - at & _WINDOW - 1
        made.append(made[behind] if behind < n else window[place])
    return bytes(made)


def _begins(view: memoryview, offset: int) -> bool:
    return bytes(view[offset + 8 : offset + 9]) == b"A" and len(view) - offset > _HEADER.size


FORMATS = (
    Format(
        "szdd",
        lambda source: read_szdd(source.view, source.payload.name),
        (Mark(b"SZDD\x88\xf0\x27\x33"),),
        _begins,
        container=False,
    ),
)
