"""LZWDecode: codes of 9 to 12 bits, the highest bit first (ISO 32000-1, 7.4.4)."""

from __future__ import annotations

from collections.abc import Iterator

from .damage import CHUNK_BYTES, Chunks, Damaged

_CLEAR, _END = 256, 257
_FIRST_BITS, _MOST_BITS = 9, 12
_LITERALS = [bytes((n,)) for n in range(256)] + [b"", b""]


def unlzw(chunks: Chunks, early: int) -> Iterator[bytes]:
    """The plain bytes; `early` is EarlyChange: 1 widens codes one string sooner. Raises `Damaged`.

    A string of the table has at most as many bytes as the table has strings, 4,096.
    """
    table, previous, bits = _LITERALS.copy(), b"", _FIRST_BITS
    held = width = made = 0
    out: list[bytes] = []
    for chunk in chunks:
        for byte in chunk:
            held = held << 8 | byte
            width += 8
            if width < bits:
                continue
            width -= bits
            code = held >> width
            held &= (1 << width) - 1
            if code == _END:
                yield b"".join(out)
                return
            if code == _CLEAR:
                table, previous, bits = _LITERALS.copy(), b"", _FIRST_BITS
                continue
            string = _string(table, code, previous)
            if not string:
                yield b"".join(out)
                raise Damaged(f"LZW code {code} stands for nothing yet")
            if previous and len(table) < 1 << _MOST_BITS:
                table.append(previous + string[:1])
            previous = string
            out.append(string)
            made += len(string)
            if len(table) + early >= 1 << bits and bits < _MOST_BITS:
                bits += 1
            if made >= CHUNK_BYTES:
                yield b"".join(out)
                out, made = [], 0
    yield b"".join(out)


def _string(table: list[bytes], code: int, previous: bytes) -> bytes:
    if code < len(table):
        return table[code]
    return previous + previous[:1] if code == len(table) and len(table) < 1 << _MOST_BITS else b""
