"""What Microsoft's compress.exe wrote (SZDD), and QBasic's installer before it (SZ): one file, LZSS."""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator

from stoq_core.errors import Reason

from .declare import Format, Mark, Source, number
from .entry import BadArchive, Chunks, Entry, Member
from .stream import inner_name

_SZDD = struct.Struct("<8sBBI")  # mark, method, the letter that the name lost, bytes
_SZ = struct.Struct("<8sI")
_SZDD_MARK, _SZ_MARK = b"SZDD\x88\xf0\x27\x33", b"SZ \x88\xf0\x27\x33\xd1"
_WINDOW_BYTES = 4_096
_BEGIN = {_SZDD_MARK: _WINDOW_BYTES - 16, _SZ_MARK: _WINDOW_BYTES - 18}
"""Where in its window each begins to write."""
_STEP_BYTES = 64 * 1024
_LZSS = ord("A")


def read_szdd(source: Source) -> Iterator[Entry]:
    """The one member; the last letter of its name, which compress.exe made `_`, is put back."""
    view, name = source.view, source.payload.name.replace("\\", "/").rpartition("/")[2]
    mark = bytes(view[:8])
    form = _SZ if mark == _SZ_MARK else _SZDD
    if len(view) < form.size:
        raise BadArchive(Reason.TRUNCATED, "the file ends within its header")
    letter = 0
    if form is _SZ:
        _, size = form.unpack_from(view)
    else:
        _, method, letter, size = form.unpack_from(view)
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
            end = yield from _unpacked(view, form.size, size, _BEGIN.get(mark, _BEGIN[_SZDD_MARK]))
        except BadArchive:
            source.account.unread(0, len(view))
            raise
        source.account.structure(0, form.size)
        source.account.child(form.size, end - form.size)

    yield Entry(Member(name=name, size=size, method="lzss"), lambda _passwords: opened())


def _unpacked(view: memoryview, at: int, size: int, begin: int) -> Generator[bytes, None, int]:
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
                _copy(history, (begin + made - place - 1) % _WINDOW_BYTES + 1, length)
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
    return bytes(view[offset + 8 : offset + 9]) == b"A" and len(view) - offset > _SZDD.size


def _sz_begins(view: memoryview, offset: int) -> bool:
    return len(view) - offset > _SZ.size and 0 < number(view, offset + 8, 4) < 1 << 30


FORMATS = (
    Format("szdd", read_szdd, (Mark(_SZDD_MARK),), _begins, container=False),
    Format("sz", read_szdd, (Mark(_SZ_MARK),), _sz_begins, container=False),
)
