"""What Microsoft's compress.exe wrote (SZDD): one file, packed with LZSS."""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator

from stoq_core.errors import Reason

from .declare import Format, Mark, Source, number
from .entry import BadArchive, Chunks, Entry, Member
from .stream import inner_name

_HEADER = struct.Struct("<8sBBI")  # mark, method, the letter that the name lost, bytes
_MARK = b"SZDD\x88\xf0\x27\x33"
_WINDOW_BYTES = 4_096
_BEGIN = _WINDOW_BYTES - 16
"""Where in its window it begins to write."""
_STEP_BYTES = 64 * 1024
_LZSS = ord("A")


def read_szdd(source: Source) -> Iterator[Entry]:
    """The one member; the last letter of its name, which compress.exe made `_`, is put back."""
    view, name = source.view, source.payload.name.replace("\\", "/").rpartition("/")[2]
    if len(view) < _HEADER.size:
        raise BadArchive(Reason.TRUNCATED, "the file ends within its header")
    _, method, letter, size = _HEADER.unpack_from(view)
    if method != _LZSS:
        raise BadArchive(Reason.UNSUPPORTED_METHOD, f"SZDD with the method {method}")
    if name.endswith("_") and chr(letter).isalnum() and letter < 128:
        name = name[:-1] + chr(letter)
    elif name.lower().endswith(".szdd"):
        name = name[: -len(".szdd")]
    else:
        name = inner_name(source.payload.name)

    def opened() -> Chunks:
        try:
            end = yield from _unpacked(view, _HEADER.size, size)
        except (BadArchive, GeneratorExit):  # damaged, or more than is wanted
            source.account.unread(0, len(view))
            raise
        source.account.structure(0, _HEADER.size)
        source.account.child(_HEADER.size, end - _HEADER.size)

    yield Entry(Member(name=name, size=size, method="lzss"), lambda _passwords: opened())


def _unpacked(view: memoryview, at: int, size: int) -> Generator[bytes, None, int]:
    """Groups of eight, told apart by a byte of flags: a letter, or where in the window how many stand.

    Returns where the packed bytes end.
    """
    history, made = bytearray(b" " * _WINDOW_BYTES), 0
    given = len(history)
    while made < size:
        if at >= len(view):
            yield bytes(history[given:])
            raise BadArchive(Reason.TRUNCATED, f"{made} of {size} bytes are there")
        flags = view[at] | 0x100
        at += 1
        while flags > 1 and made < size and at < len(view):
            if flags & 1:
                history.append(view[at])
                at, made = at + 1, made + 1
            else:
                pair = number(view, at, 2)
                place, length = pair & 0xFF | pair >> 4 & 0xF00, min((pair >> 8 & 15) + 3, size - made)
                _copy(history, (_BEGIN + made - place - 1) % _WINDOW_BYTES + 1, length)
                at, made = at + 2, made + length
            flags >>= 1
        if len(history) > _WINDOW_BYTES + _STEP_BYTES:
            yield bytes(history[given:])
            del history[:-_WINDOW_BYTES]
            given = len(history)
    yield bytes(history[given:])
    return at


def _copy(history: bytearray, back: int, length: int) -> None:
    """`length` bytes from `back` before the end on; those that the match itself writes are among them."""
    part = history[-back:] if back <= length else history[len(history) - back : len(history) - back + length]
    history += (part * (length // back + 1))[:length]


def _begins(view: memoryview, offset: int) -> bool:
    """The one method that there is, and data behind the header."""
    return bytes(view[offset + 8 : offset + 9]) == b"A" and len(view) - offset > _HEADER.size


FORMATS = (Format("szdd", read_szdd, (Mark(_MARK),), _begins, container=False),)
