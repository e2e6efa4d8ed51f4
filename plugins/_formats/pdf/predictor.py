"""Undo the predictors of FlateDecode and LZWDecode: PNG's per row, TIFF's horizontal one (7.4.4.4)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from stoq_core.limits import MiB

from .damage import CHUNK_BYTES, Chunks, Damaged

_MOST_ROW = 16 * MiB
_TIFF, _FIRST_PNG = 2, 10


def unpredicted(chunks: Chunks, params: dict[bytes, Any]) -> Iterator[bytes]:
    """The rows as they were; numbers out of range raise `Damaged`, a short last row stays as it is."""
    predictor = number(params, b"Predictor", 1)
    if predictor < _TIFF:
        yield from chunks
        return
    colors, bits = number(params, b"Colors", 1), number(params, b"BitsPerComponent", 8)
    row = (colors * bits * number(params, b"Columns", 1) + 7) // 8
    if not 0 < row <= _MOST_ROW or bits not in (1, 2, 4, 8, 16) or colors < 1:
        raise Damaged("the predictor's numbers do not hold")
    pixel = max(1, colors * bits // 8)
    png = predictor >= _FIRST_PNG
    previous, held, out, made = bytes(row), bytearray(), [], 0
    for chunk in chunks:
        held += chunk
        at = 0
        while len(held) - at >= row + png:
            kind = held[at] if png else (1 if bits == 8 else 0)
            previous = _row(kind, bytes(held[at + png : at + png + row]), previous if png else b"", pixel)
            at += row + png
            out.append(previous)
            made += row
            if made >= CHUNK_BYTES:
                yield b"".join(out)
                out, made = [], 0
        del held[:at]
    if len(held) > png:
        rest = bytes(held[png:])
        kind = held[0] if png else 0
        out.append(_row(kind, rest, previous[: len(rest)], pixel) if png else rest)
    yield b"".join(out)


def number(params: dict[bytes, Any], key: bytes, otherwise: int) -> int:
    """A whole number of the parameters, or what the standard says where there is none."""
    value = params.get(key)
    return value if type(value) is int else otherwise


def _row(kind: int, row: bytes, above: bytes, pixel: int) -> bytes:
    """One row, by its filter type (PNG 9.2); a type that there is none of leaves it as it is."""
    if kind == 1:
        return _sub(row, pixel)
    if kind == 2:
        return _up(row, above)
    if kind in (3, 4):
        return (_average if kind == 3 else _paeth)(row, above, pixel)
    return row


def _sub(row: bytes, pixel: int) -> bytes:
    made = bytearray(len(row))
    for n in range(min(pixel, len(row))):
        sums = accumulate(row[n::pixel], _sum)
        made[n::pixel] = bytes(sums)
    return bytes(made)


def _sum(left: int, one: int) -> int:
    return (left + one) & 255


def _up(row: bytes, above: bytes) -> bytes:
    """All bytes at once: sums of seven bits each, the eighth put back without a carry."""
    size = len(row)
    low, high = int.from_bytes(b"\x7f" * size, "big"), int.from_bytes(b"\x80" * size, "big")
    one, two = int.from_bytes(row, "big"), int.from_bytes(above, "big")
    return (((one & low) + (two & low)) ^ ((one ^ two) & high)).to_bytes(size, "big")


def _average(row: bytes, above: bytes, pixel: int) -> bytes:
    made = bytearray(row)
    for n, one in enumerate(row):
        left = made[n - pixel] if n >= pixel else 0
        made[n] = (one + (left + above[n]) // 2) & 255
    return bytes(made)


def _paeth(row: bytes, above: bytes, pixel: int) -> bytes:
    made = bytearray(row)
    for n, one in enumerate(row):
        left, corner = (made[n - pixel], above[n - pixel]) if n >= pixel else (0, 0)
        up = above[n]
        guess = left + up - corner
        to_left, to_up, to_corner = abs(guess - left), abs(guess - up), abs(guess - corner)
        best = left if to_left <= to_up and to_left <= to_corner else up if to_up <= to_corner else corner
        made[n] = (one + best) & 255
    return bytes(made)
