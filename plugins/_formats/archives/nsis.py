"""NSIS installers: what is behind the stub (NSIS, Source/exehead/fileform.h), without running the script.

Every block of the data is a member, whether the script names it or not; the script itself is one, too.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from stoq_core.errors import Reason
from stoq_core.job import Job
from stoq_core.limits import MiB

from .by_tool import read_each_by_7z
from .declare import Format, Mark, Source, number
from .entry import CHUNK_BYTES, MAX_DICTIONARY_BYTES, BadArchive, Chunks, Entry, Member, sliced
from .nsis_names import names_of
from .solid import Solid

_FIRST = struct.Struct("<I16sII")  # flags, mark, bytes of the script, bytes of all with this and the checksum
_NO_CHECKSUM = 4
_PACKED = 1 << 31
_STEP_BYTES = 4_096
_WINDOW_BYTES = 32_768
_MOST_SCRIPT_BYTES = 64 * MiB


class _Data(NamedTuple):
    """The data behind the first header: how it is packed, and whether as one stream."""

    view: memoryview
    method: str
    script_bytes: int
    solid: bool


def read_nsis(source: Source) -> Iterator[Entry]:
    """The script, then each block."""
    view, job, account = source.view, source.job, source.account
    if len(view) < _FIRST.size:
        raise BadArchive(Reason.TRUNCATED, "the file ends within the installer's first header")
    flags, _, script_bytes, all_bytes = _FIRST.unpack_from(view)
    end = max(_FIRST.size, all_bytes - (0 if flags & _NO_CHECKSUM else 4))
    data = _data(view[_FIRST.size : end], script_bytes)
    account.structure(0, _FIRST.size)
    account.child(_FIRST.size, max(_FIRST.size, all_bytes) - _FIRST.size)
    if data.method == "bzip2":  # its own kind, which no library reads
        yield from read_each_by_7z(job, source.payload, "nsis")
    elif data.solid:
        yield from _solid(data, job)
    else:
        yield from _blocks(data, job)
    if all_bytes > len(view):
        raise BadArchive(Reason.TRUNCATED, f"{len(view)} of {all_bytes} bytes are there")


def _data(view: memoryview, script_bytes: int) -> _Data:
    """One stream may begin like a block's size: it is one only if the script comes out of that block."""
    if script_bytes > _MOST_SCRIPT_BYTES:
        raise BadArchive(Reason.TOO_LARGE, f"a script of {script_bytes} bytes")
    head = bytes(view[:16]).ljust(16, b"\0")
    blocks = _Data(view, _method(head[4:]), script_bytes, solid=False)
    if int.from_bytes(head[:4], "little") == script_bytes:
        return blocks._replace(method="stored")
    if blocks.method == "bzip2" or _holds_script(blocks):
        return blocks
    return _Data(view, _method(head), script_bytes, solid=True)


def _holds_script(data: _Data) -> bool:
    size = 0
    try:
        for chunk in _opened(data, 0):
            size += len(chunk)
            if size > data.script_bytes:
                return False
    except BadArchive:
        return False
    return size == data.script_bytes


def _method(head: bytes) -> str:
    """By the first bytes, for nothing else tells it."""
    if _is_lzma(head):
        return "lzma"
    if head[0] <= 1 and _is_lzma(head[1:]):
        return "lzma-filter"
    return "bzip2" if head[0] == 0x31 and head[1] < 14 else "deflate"


def _is_lzma(head: bytes) -> bool:
    return head[:3] == b"\x5d\0\0" and head[5] == 0 and head[6] < 0x80


def _solid(data: _Data, job: Job) -> Iterator[Entry]:
    """One stream: the script's size, the script, and then for each block its size and its bytes."""
    stream = Solid(lambda: _DECODERS[data.method](data.view), job, [])
    if _word(stream, 0) != data.script_bytes:
        raise BadArchive(Reason.CORRUPT, "the script is not where the installer says")
    yield _member("script", data, lambda: stream.part(4, data.script_bytes), data.script_bytes)
    names = names_of(b"".join(stream.part(4, data.script_bytes)))
    begin = at = 4 + data.script_bytes
    while at + 4 <= stream.size:
        size, start = _word(stream, at) & ~_PACKED, at + 4
        name = names.get(at - begin, f"block_{at - begin}")
        yield _member(name, data, lambda start=start, size=size: stream.part(start, size), size)  # type: ignore[misc]
        at = start + size
    list(stream.part(stream.size, 1) if stream.damaged else ())  # raises what ended the stream


def _word(stream: Solid, at: int) -> int:
    return int.from_bytes(b"".join(stream.part(at, 4)), "little")


def _blocks(data: _Data, job: Job) -> Iterator[Entry]:
    """Each block by itself: its size, whether it is packed, and its bytes; the first is the script."""
    view, at = data.view, 0
    script = Solid(lambda: _opened(data, 0), job, [])
    yield _member("script", data, lambda: script.part(0, script.size), data.script_bytes)
    names = names_of(b"".join(script.part(0, script.size)))
    begin = at = 4 + (int.from_bytes(view[:4], "little") & ~_PACKED)
    while at + 4 <= len(view):
        word = int.from_bytes(view[at : at + 4], "little")
        name, size = names.get(at - begin, f"block_{at - begin}"), word & ~_PACKED
        yield _member(name, data, lambda at=at: _opened(data, at), 0 if word & _PACKED else size)  # type: ignore[misc]
        at += 4 + size


def _opened(data: _Data, at: int) -> Chunks:
    word = int.from_bytes(data.view[at : at + 4], "little")
    size = word & ~_PACKED
    content = data.view[at + 4 : at + 4 + size]
    yield from _DECODERS[data.method](content) if word & _PACKED else sliced(content)
    if len(content) < size:
        raise BadArchive(Reason.TRUNCATED, f"{len(content)} of {size} packed bytes are there")


def _member(name: str, data: _Data, chunks: Callable[[], Chunks], size: int) -> Entry:
    return Entry(Member(name=name, size=size, method=data.method), lambda _passwords: chunks())


# -- how blocks are packed ----------------------------------------------------------------------------


def _lzma(view: memoryview, *, translated: bool = False) -> Chunks:
    """LZMA with its properties in front and nothing that says where it ends."""
    if len(view) < 5:
        raise BadArchive(Reason.TRUNCATED, "the data ends within its properties")
    code, window = struct.unpack_from("<BI", view)
    if code >= 9 * 5 * 5 or window > MAX_DICTIONARY_BYTES:
        raise BadArchive(Reason.UNSUPPORTED_METHOD, f"LZMA with a window of {window} bytes")
    literal, rest = code % 9, code // 9
    if literal + rest % 5 > 4:
        raise BadArchive(Reason.UNSUPPORTED_METHOD, f"LZMA with the properties {code}")
    how = {
        "id": lzma.FILTER_LZMA1, "dict_size": max(window, 4_096), "lc": literal, "lp": rest % 5,
        "pb": rest // 5,
    }  # fmt: skip
    return _lzma_chunks(view[5:], [{"id": lzma.FILTER_X86}, how] if translated else [how])


def _lzma_filtered(view: memoryview) -> Chunks:
    """The same behind a byte that says whether calls in programs were translated (x86)."""
    return _lzma(view[1:], translated=bytes(view[:1]) == b"\1")


def _lzma_chunks(view: memoryview, filters: list[dict[str, int]]) -> Chunks:
    decoder, at = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters), 0
    while not decoder.eof:
        data = bytes(view[at : at + CHUNK_BYTES]) if decoder.needs_input else b""
        if decoder.needs_input and not data:
            return
        at += len(data)
        try:
            yield decoder.decompress(data, CHUNK_BYTES)
        except lzma.LZMAError as error:
            raise BadArchive(Reason.CORRUPT, f"the compressed data is damaged: {error}") from None


def _deflate(view: memoryview) -> Chunks:
    """Raw deflate, but that a stored block has its length once (RFC 1951, 3.2.4 has the complement, too).

    zlib stops there: the block is copied, and zlib begins anew behind it with the window so far.
    """
    decoder, at, window = zlib.decompressobj(-15), 0, b""
    while at < len(view) and not decoder.eof:
        data = bytes(view[at : at + _STEP_BYTES])
        before = decoder.copy()
        try:
            made, at = decoder.decompress(data), at + len(data)
        except zlib.error as error:
            if "stored" not in str(error):
                raise BadArchive(Reason.CORRUPT, f"the compressed data is damaged: {error}") from None
            good = _good_bytes(before, data)
            made, start = before.decompress(data[:good]), at + good - 1
            size = int.from_bytes(view[start - 2 : start], "little")
            made += bytes(view[start : start + size])
            at = start + size
            window = (window + made)[-_WINDOW_BYTES:]
            decoder = zlib.decompressobj(-15, zdict=window)
        else:
            window = (window + made)[-_WINDOW_BYTES:]
        yield made


def _good_bytes(decoder: zlib._Decompress, data: bytes) -> int:
    """How many bytes zlib takes before it stops: the next is the last that it reads of a stored length."""
    good, bad = 0, len(data)
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            decoder.copy().decompress(data[:middle])
            good = middle
        except zlib.error:
            bad = middle
    return good


_DECODERS: dict[str, Callable[[memoryview], Chunks]] = {
    "lzma": _lzma, "lzma-filter": _lzma_filtered, "deflate": _deflate, "stored": sliced,
}  # fmt: skip


def _end(view: memoryview, offset: int) -> int:
    return min(len(view), offset + max(_FIRST.size, number(view, offset + 24, 4)))


FORMATS = (
    Format(
        "nsis",
        read_nsis,
        (Mark(b"\xef\xbe\xad\xdeNullsoftInst", 4),),
        end=_end,
    ),
)
