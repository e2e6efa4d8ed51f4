"""The lesser known of Microsoft's old single-file compressions: QBasic's SZ, and KWAJ.

As the libmspack documentation gives them (*SZDD and KWAJ file formats*).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from stoq_core.errors import Reason

from .declare import Format, Mark, Source, number
from .entry import BadArchive, Chunks, Entry, Member, name_of, refuse, sliced
from .snappy import repeat_last
from .stream import inner_name

_SZ_HEADER = 12
_QBASIC_BEGIN = 4_096 - 18
_STORED, _INVERTED, _LZSS, _LZH, _MSZIP = 0, 1, 2, 3, 4
_METHODS = {_STORED: "stored", _INVERTED: "xor", _LZSS: "lzss", _LZH: "lzh", _MSZIP: "mszip"}
_WINDOW_BYTES = 32 * 1024
_WINDOW = 4_096
_STEP_BYTES = 64 * 1024


def read_sz(source: Source) -> Iterator[Entry]:
    """The one member: LZSS as in SZDD, but the window is filled from another place on."""
    size = number(source.view, 8, 4)
    content = source.view[_SZ_HEADER:]
    source.account.structure(0, _SZ_HEADER)
    member = Member(name=inner_name(source.payload.name), size=size, method="lzss")
    used: list[int] = []
    yield Entry(member, lambda _passwords: _unlzss(content, size, used))
    source.account.child(_SZ_HEADER, used[0] if used else len(content))


def read_kwaj(source: Source) -> Iterator[Entry]:
    """The one member under its name, then the comment that the header may have."""
    view = source.view
    method, data_at, flags = number(view, 8, 2), number(view, 10, 2), number(view, 12, 2)
    if len(view) < 14 or method not in _METHODS:
        raise BadArchive(Reason.UNSUPPORTED_METHOD, f"KWAJ with the method {method}")
    at, size = 14, None
    if flags & 1:
        size, at = number(view, at, 4), at + 4
    at += 2 if flags & 2 else 0
    if flags & 4:
        at += 2 + number(view, at, 2)
    parts = []
    for flag, most in ((8, 9), (16, 4)):
        if flags & flag:
            raw = bytes(view[at : at + most]).partition(b"\0")[0]
            parts.append(name_of(raw, "latin-1"))
            at += len(raw) + 1
    source.account.structure(0, 14)
    name = ".".join(parts) if parts and parts[0] else inner_name(source.payload.name)
    content = view[data_at:]
    source.account.child(data_at, len(content))
    member = Member(name=name, size=size or 0, method=_METHODS[method])
    yield Entry(member, lambda _passwords: _unpacked(content, method, size), data_at)


def _unpacked(view: memoryview, method: int, size: int | None) -> Chunks:
    if method == _STORED:
        return sliced(view)
    if method == _INVERTED:
        return (bytes(byte ^ 0xFF for byte in chunk) for chunk in sliced(view))
    if method == _MSZIP:
        return _mszip(view)
    if method == _LZSS:
        return _unlzss(view, size, [])
    return refuse(Reason.UNSUPPORTED_METHOD, "KWAJ with LZH")


class _Lzss:
    """The last 4 KiB (spaces at first) and what was made behind them; `count` of all that was made."""

    def __init__(self, left: int | None) -> None:
        self.left = left
        self.count = 0
        self._made = bytearray(b" " * _WINDOW)

    def letter(self, letter: int) -> None:
        """One byte as it is."""
        self._made.append(letter)
        self._took(1)

    def match(self, low: int, high: int) -> None:
        """A place in the window, where spaces stood first, and how many bytes to take from there on."""
        start, length = low | (high & 0xF0) << 4, (high & 15) + 3
        length = length if self.left is None else min(length, self.left)
        behind = (_QBASIC_BEGIN + self.count - start) % _WINDOW or _WINDOW
        repeat_last(self._made, behind, length)
        self._took(length)

    def _took(self, length: int) -> None:
        self.count += length
        if self.left is not None:
            self.left -= length

    @property
    def pending(self) -> int:
        """How many bytes wait to be flushed."""
        return len(self._made) - _WINDOW

    def flush(self) -> bytes:
        """What was made since the last time."""
        made = bytes(self._made[_WINDOW:])
        del self._made[:-_WINDOW]
        return made


def _unlzss(view: memoryview, size: int | None, used: list[int]) -> Chunks:
    """Groups of eight, told apart by a byte of flags; `used` gets where it ends."""
    work, at, end = _Lzss(size), 0, len(view)
    while work.left != 0 and at < end:
        flags, at = view[at], at + 1
        for bit in range(8):
            if work.left == 0 or at >= end:
                break
            if flags >> bit & 1:
                work.letter(view[at])
                at += 1
            else:
                if at + 1 < end:
                    work.match(view[at], view[at + 1])
                at += 2
        if work.pending > _STEP_BYTES:
            yield work.flush()
    used.append(min(at, end))
    yield work.flush()
    if work.left:
        raise BadArchive(Reason.TRUNCATED, f"{work.count} of {size} bytes are there")


def _mszip(view: memoryview) -> Chunks:
    """Blocks of up to 32 KiB behind their size and `CK`; each looks back into the one before."""
    at, window = 0, b""
    while number(view, at, 2) and at + 4 <= len(view):
        size = number(view, at, 2)
        if bytes(view[at + 2 : at + 4]) != b"CK":
            raise BadArchive(Reason.CORRUPT, f"there is no block at offset {at}")
        decoder = zlib.decompressobj(-15, zdict=window) if window else zlib.decompressobj(-15)
        try:
            window = decoder.decompress(view[at + 4 : at + 2 + size], _WINDOW_BYTES)
        except zlib.error as error:
            raise BadArchive(Reason.CORRUPT, f"the block at offset {at} is damaged: {error}") from None
        yield window
        if not decoder.eof:
            raise BadArchive(Reason.TRUNCATED, f"the block at offset {at} is cut short")
        at += 2 + size


FORMATS = (
    Format("sz", read_sz, (Mark(b"SZ \x88\xf0\x27\x33\xd1"),), container=False),
    Format("kwaj", read_kwaj, (Mark(b"KWAJ\x88\xf0\x27\xd1"),), container=False),
)
