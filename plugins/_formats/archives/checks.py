"""Checksums that run along with the data, and that are asked about at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stoq_core.errors import Reason

from .entry import BadArchive, Chunks

Running = Callable[[Any, int], int]
"""From the next chunk and the checksum so far to the checksum."""


def _crc16_table() -> tuple[int, ...]:
    table = []
    for n in range(256):
        value = n
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC16 = _crc16_table()


def crc16(chunk: bytes | memoryview, value: int) -> int:
    """CRC-16/ARC, as LHA has it: polynomial 8005 reflected, from 0."""
    table = _CRC16
    for byte in chunk:
        value = value >> 8 ^ table[(value ^ byte) & 0xFF]
    return value


def checked(chunks: Chunks, running: Running, expected: int, size: int) -> Chunks:
    """The chunks; raises at the end where the length or the checksum does not hold."""
    value, seen = 0, 0
    for chunk in chunks:
        value = running(chunk, value)
        seen += len(chunk)
        yield chunk
    if seen < size:
        raise BadArchive(Reason.TRUNCATED, f"{seen} of {size} bytes are there")
    if seen > size:
        raise BadArchive(Reason.CORRUPT, f"{seen} bytes came out where {size} are listed")
    if value != expected:
        raise BadArchive(Reason.CORRUPT, "the checksum does not hold")


def fits(make: Callable[[], Chunks], room: int) -> bool:
    """True if the data that a password gives come out whole, or go on for longer than `room` bytes.

    A method that is not read says nothing about the password: its error passes through.
    """
    seen = 0
    try:
        for chunk in make():
            seen += len(chunk)
            if seen > room:
                return True
    except BadArchive as error:
        if error.reason is Reason.UNSUPPORTED_METHOD:
            raise
        return False
    return True
