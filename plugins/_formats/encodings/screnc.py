"""Scripts that Microsoft's Script Encoder has made unreadable (`JScript.Encode`, `VBScript.Encode`).

`#@~^`, eight letters of base64 (the length), the text, eight letters (a checksum), `^#~@`. Each letter is
replaced by the row of one of three tables, which of them a cycle of 64 says; there is no formula behind them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

_START, _END = b"#@~^", b"^#~@"
_LENGTH_LETTERS = 8
_CHECKSUM_LETTERS = 8
_FIRST = 32
_ROWS = bytes.fromhex(
    "2e2d324775307a522156602942715b6a5e382f4933265c3d496258417d3a3429353236655b2039767c5c727a56437f73"
    "386b6639634e703345452b6b6868627151594f667809765e62317d44644a23546d7543714a4c417e3a604a4c415e7e53"
    "404c407745424a2c27612a485d74722227754b37316f44374e794d3b59524c2f22506f5467266a2a72477d6a6474392d"
    "547b202b3f7f2d382e2c774c30675d6e537e6b476c66346f357879255d742130436423264d5a76525b25636c243f482b"
    "7b5528787023296941282e34734c0959212a3324447f4e3f6d507755093b5356557c73693a35615f6163654b50465867"
    "583b5131574969224f6c6d465a4d6848257c2728365c46703d4a6e24327a79412f373d5f605f4b514f5a20422c366557"
)
_TAB = b"\x57\x6e\x7b"
_ORDER = b"0120121221210212021200122102122100212120200120210212001220012021"
_AS_THEY_ARE = frozenset(b"<>@")
_ESCAPES = ((b"@&", b"\n"), (b"@#", b"\r"), (b"@*", b">"), (b"@!", b"<"), (b"@$", b"@"))


class Script(NamedTuple):
    """A decoded script, and where its encoded text stands."""

    offset: int
    size: int
    data: bytes


def scripts_in(text: bytes) -> Iterator[Script]:
    """Each encoded script; one without its end reaches as far as the text does."""
    at = text.find(_START)
    while at >= 0:
        begin = at + len(_START) + _LENGTH_LETTERS
        end = text.find(_END, begin)
        stop = len(text) if end < 0 else end + len(_END)
        body = text[begin:] if end < 0 else text[begin : max(begin, end - _CHECKSUM_LETTERS)]
        yield Script(at, stop - at, _decoded(body))
        at = text.find(_START, stop)


def _decoded(body: bytes) -> bytes:
    for escape, plain in _ESCAPES:
        body = body.replace(escape, plain)
    made = bytearray(body)
    index = 0
    for at, letter in enumerate(body):
        if letter >= 128:
            continue
        row = ord(_ORDER[index % 64 : index % 64 + 1]) - 0x30
        index += 1
        if letter == 9:
            made[at] = _TAB[row]
        elif letter >= _FIRST and letter not in _AS_THEY_ARE:
            made[at] = _ROWS[3 * (letter - _FIRST) + row]
    return bytes(made)
