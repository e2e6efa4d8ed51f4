"""Undo a stream's filters, one after another, in chunks (ISO 32000-1, 7.4)."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from stoq_core.errors import Reason

from .damage import CHUNK_BYTES, Chunks, Damaged, Meter
from .lzw import unlzw
from .predictor import number, unpredicted
from .syntax import Name

_MOST_FILTERS = 64
_STEP_BYTES = 64 * 1024
_SPACE = b"\0\t\n\f\r "
_LONG = {
    b"Fl": b"FlateDecode", b"LZW": b"LZWDecode", b"AHx": b"ASCIIHexDecode", b"A85": b"ASCII85Decode",
    b"RL": b"RunLengthDecode", b"DCT": b"DCTDecode", b"CCF": b"CCITTFaxDecode",
}  # fmt: skip
IMAGES = frozenset({b"DCTDecode", b"JPXDecode", b"CCITTFaxDecode", b"JBIG2Decode"})
_NOT_HEX = bytes(set(range(256)) - set(b"0123456789abcdefABCDEF"))
_NOT_A85 = bytes(set(range(256)) - set(range(0x21, 0x76)) - {0x7A})
_FLUSHED = b"\0\0\xff\xff"

Filter = tuple[bytes, dict[bytes, Any]]
"""A filter's full name and its parameters."""


def chain_of(filters: Any, params: Any) -> list[Filter]:
    """The filters without those of images, whose bytes are a file format of their own.

    An image's filter in front of others is passed over: its data may be anything. Raises `Damaged`
    (`unsupported_method`, `too_deep`) for a filter that is not known, and for too many.
    """
    names = filters if isinstance(filters, list) else [] if filters is None else [filters]
    of_each = params if isinstance(params, list) else [params]
    if len(names) > _MOST_FILTERS:
        raise Damaged(f"{len(names)} filters in one stream", Reason.TOO_DEEP)
    chain: list[Filter] = []
    for n, short in enumerate(names):
        name = full_name(short)
        own = of_each[n] if n < len(of_each) and isinstance(of_each[n], dict) else {}
        if name in IMAGES:
            continue
        if name == b"Crypt" and own.get(b"Name", b"Identity") == b"Identity":
            chain.append((name, own))  # not encrypted, though the document is
            continue
        if name not in _DECODERS or name == b"Crypt":
            shown = name[:40].decode("latin-1")
            raise Damaged(f"the filter {shown} is not known", Reason.UNSUPPORTED_METHOD)
        chain.append((name, own))
    return chain


def full_name(short: Any) -> bytes:
    """A filter's name as it is without abbreviation; `?` for what is no name."""
    return bytes(_LONG.get(short, short)) if isinstance(short, Name) else b"?"


def decoded(chunks: Chunks, chain: list[Filter], meter: Meter, *, rows: bool = True) -> Iterator[bytes]:
    """The plain bytes; `meter` pays for what goes from one filter to the next.

    Without `rows` predictors are left as they are. Raises `Damaged` behind what could be decoded.
    """
    problems: list[Damaged] = []
    for n, (name, params) in enumerate(chain):
        if n:
            chunks = _paid(chunks, meter)
        chunks = _until_damage(_DECODERS[name](chunks, params), problems)
        if rows and b"Predictor" in params and name in (b"FlateDecode", b"LZWDecode"):
            chunks = _until_damage(unpredicted(chunks, params), problems)
    yield from chunks
    if problems:
        raise problems[0]


def _until_damage(chunks: Chunks, problems: list[Damaged]) -> Iterator[bytes]:
    """End where the data is damaged, so that the filters behind give out all that they hold."""
    try:
        yield from chunks
    except Damaged as error:
        problems.append(error)


class Sliced:
    """A stream's bytes as they stand, with a look at the clock; `left` of them nobody has asked for yet."""

    def __init__(self, view: memoryview | bytes, meter: Meter) -> None:
        """Nothing is given yet."""
        self._view, self._meter = view, meter
        self.left = len(view)

    def __iter__(self) -> Iterator[bytes]:
        """In steps of 64 KiB."""
        for at in range(0, len(self._view), _STEP_BYTES):
            self._meter.check()
            step = bytes(self._view[at : at + _STEP_BYTES])
            self.left -= len(step)
            yield step


def _paid(chunks: Chunks, meter: Meter) -> Iterator[bytes]:
    for chunk in chunks:
        meter.spend(len(chunk))
        yield chunk


def _flate(chunks: Chunks, _params: dict[bytes, Any]) -> Iterator[bytes]:
    """Deflate within its zlib header, whose checksum is not asked for: many writers get it wrong.

    A stream that ends in the middle is whole if the writer flushed there (RFC 1951, as Z_SYNC_FLUSH).
    """
    source = iter(chunks)
    head = b""
    for chunk in source:
        head = (head + chunk).lstrip(b"\r\n") if len(head) < 2 else head
        if len(head) >= 2:
            break
    if not head:
        return
    skipped = 2 if head[0] & 15 == 8 and len(head) >= 2 else 0
    decoder, tail = zlib.decompressobj(-15), b""
    for chunk in _after(head[skipped:], source):
        tail = (tail + chunk)[-len(_FLUSHED) - 2 :]
        yield from _inflated(decoder, chunk)
        if decoder.eof:
            if isinstance(chunks, Sliced):
                chunks.left += max(0, len(decoder.unused_data) - (4 if skipped else 0))  # the checksum
            return
    if _FLUSHED not in tail:
        raise Damaged("the compressed data ends in the middle")


def _after(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from rest


def _inflated(decoder: Any, data: bytes) -> Iterator[bytes]:
    try:
        while data:
            out = decoder.decompress(data, CHUNK_BYTES)
            data = b"" if decoder.eof else decoder.unconsumed_tail
            yield out
        while not decoder.eof and (out := decoder.decompress(b"", CHUNK_BYTES)):
            yield out
    except zlib.error as error:
        raise Damaged(f"the compressed data is damaged: {error}") from None


def _lzw(chunks: Chunks, params: dict[bytes, Any]) -> Iterator[bytes]:
    return unlzw(chunks, 0 if number(params, b"EarlyChange", 1) == 0 else 1)


def _hex(chunks: Chunks, _params: dict[bytes, Any]) -> Iterator[bytes]:
    digits = b""
    for chunk in chunks:
        text, end, _ = chunk.partition(b">")
        digits += text.translate(None, _NOT_HEX)
        if end:
            break
        whole = len(digits) & ~1
        yield bytes.fromhex(digits[:whole].decode("ascii"))
        digits = digits[whole:]
    yield bytes.fromhex((digits + b"0" * (len(digits) & 1)).decode("ascii"))


def _ascii85(chunks: Chunks, _params: dict[bytes, Any]) -> Iterator[bytes]:
    letters, first = b"", True
    for chunk in chunks:
        begun = chunk.lstrip(_SPACE) if first else chunk
        text, end, _ = (begun.removeprefix(b"<~") if first else begun).partition(b"~")
        first = first and not begun
        letters += text.translate(None, _NOT_A85).replace(b"z", b"!!!!!")
        if end:
            break
        whole = len(letters) - len(letters) % 5
        yield _of_base85(letters[:whole])
        letters = letters[whole:]
    yield _of_base85(letters[:-1] if len(letters) % 5 == 1 else letters)


def _of_base85(letters: bytes) -> bytes:
    try:
        return base64.a85decode(letters)
    except ValueError as error:
        raise Damaged(f"the ASCII85 data is damaged: {error}") from None


def _run_length(chunks: Chunks, _params: dict[bytes, Any]) -> Iterator[bytes]:
    """A length below 128 is followed by one byte more to copy, one above by one to repeat; 128 ends."""
    held, at, ended = b"", 0, False
    for chunk in chunks:
        held, at = held[at:] + chunk, 0
        out: list[bytes] = []
        made = 0
        while at < len(held) and not ended:
            length = held[at]
            need = length + 2 if length < 128 else 2
            ended = length == 128
            if ended or at + need > len(held):
                break
            run = held[at + 1 : at + need] if length < 128 else held[at + 1 : at + 2] * (257 - length)
            at += need
            out.append(run)
            made += len(run)
            if made >= CHUNK_BYTES:
                yield b"".join(out)
                out, made = [], 0
        yield b"".join(out)
        if ended:
            return
    if len(held) - at > 1:
        yield held[at + 1 :] if held[at] < 128 else b""


def _identity(chunks: Chunks, _params: dict[bytes, Any]) -> Chunks:
    return chunks


_DECODERS: dict[bytes, Callable[[Chunks, dict[bytes, Any]], Iterable[bytes]]] = {
    b"FlateDecode": _flate, b"LZWDecode": _lzw, b"ASCIIHexDecode": _hex, b"ASCII85Decode": _ascii85,
    b"RunLengthDecode": _run_length, b"Crypt": _identity,
}  # fmt: skip
