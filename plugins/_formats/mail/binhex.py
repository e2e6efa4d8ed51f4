"""Undo BinHex 4.0 (RFC 1741, appendix A): six bits a letter, runs, and a Macintosh file of two forks."""

from __future__ import annotations

import binascii
import re
from typing import NamedTuple

MARK = b"(This file must be converted with BinHex"
_LETTERS = b"!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_TO_BASE64 = bytes.maketrans(_LETTERS, _BASE64)
_NO_LETTER = bytes(set(range(256)) - set(_LETTERS))
_START = re.compile(rb"[\r\n][ \t>]{0,8}:")
_NEAR_BYTES = 256
_RUN = re.compile(rb"\x90(.)", re.DOTALL)


class File(NamedTuple):
    """One file: its name, type and creator; `data` and `resource` as far as they stand there.

    `start` and `end` are the offsets of mark and letters in the text; `whole` if lengths and checksums hold.
    """

    name: bytes
    kind: bytes
    data: bytes
    resource: bytes
    start: int
    end: int
    whole: bool


def files(text: bytes, most: int) -> list[File]:
    """The files of a text, at most `most` bytes of them together."""
    found: list[File] = []
    at = text.find(MARK)
    while at >= 0 and most > 0:
        begin = _START.search(text, at)
        if begin is None:
            break
        stop = text.find(b":", begin.end())
        stop = len(text) if stop < 0 else stop
        letters = text[begin.end() : stop].translate(_TO_BASE64, _NO_LETTER)
        letters = letters[:-1] if len(letters) % 4 == 1 else letters
        packed = binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))
        start = at if begin.start() - at < _NEAR_BYTES else begin.end() - 1
        found.append(_file(_expanded(packed, most), start, min(stop + 1, len(text))))
        most -= len(found[-1].data) + len(found[-1].resource)
        at = text.find(MARK, stop)
    return found


def _expanded(packed: bytes, most: int) -> bytes:
    """Runs: 0x90 and a count repeat the byte before; 0x90 and zero are 0x90 itself."""
    made = bytearray()
    at = 0
    for run in _RUN.finditer(packed):
        made += packed[at : run.start()]
        count = run.group(1)[0]
        if count == 0:
            made.append(0x90)
        elif made:
            made += made[-1:] * (count - 1)
        at = run.end()
        if len(made) > most:
            return bytes(made[:most])
    made += packed[at:].removesuffix(b"\x90")
    return bytes(made[:most])


def _file(plain: bytes, start: int, end: int) -> File:
    length = plain[0] if plain else 0
    name = plain[1 : 1 + length]
    head = plain[2 + length : 22 + length]
    if len(head) < 20:
        return File(b"", b"", plain, b"", start, end, whole=False)
    data_size, resource_size = int.from_bytes(head[10:14], "big"), int.from_bytes(head[14:18], "big")
    whole = _sum(plain[: 20 + length]) == int.from_bytes(head[18:20], "big")
    at = 22 + length
    data = plain[at : at + data_size]
    behind = at + data_size + 2
    resource = plain[behind : behind + resource_size]
    whole = whole and len(resource) == resource_size and len(data) == data_size
    whole = whole and _sum(data) == int.from_bytes(plain[behind - 2 : behind], "big")
    if not whole and not data and not resource:
        return File(name, head[:8], plain, b"", start, end, whole=False)
    return File(name, head[:8], data, resource, start, end, whole=whole)


def _sum(data: bytes) -> int:
    """CRC-16 with the polynomial 0x1021 and no preset."""
    return binascii.crc_hqx(data, 0)
