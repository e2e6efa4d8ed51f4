"""Windows programs under a repeating XOR key: what the key leaves alone gives them away.

XOR of a text with itself some bytes further on is the same with and without the key, if the key's length
divides the distance. So a DOS stub's text is looked for in the payload's XOR with itself at a few
distances, each a pass of a long number's arithmetic; the key is what then stands between text and bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from plugins._formats.executables.mz import is_executable
from plugins._formats.executables.pe.extent import end_of_pe
from stoq_core.limits import KiB, MiB

_TEXTS = (b"This program cannot be run in DOS mode", b"This program must be run under Win")
# each serves all keys whose length divides it; longer ones leave too little of the text to be sure
_DISTANCES = (16, 24, 20, 14, 18, 22)
_LEAST_BYTES, _MOST_BYTES, _WINDOW = 97, 8 * MiB, 256 * KiB
_BEFORE_TEXT, _HEAD_BYTES = 512, 4 * KiB
_MOST_PROGRAMS = 16
_HEADER_ZEROS_AT, _HEADER_ZEROS = 0x1C, 32  # e_ovno's neighbours: reserved words up to e_lfanew


class HiddenProgram(NamedTuple):
    """A program that begins at `start` under `key` (as it stands over the first bytes), and its bytes."""

    start: int
    key: bytes
    decoded: bytes


def hidden_programs(view: memoryview, *, is_unknown: bool = True) -> Iterator[HiddenProgram]:
    """Programs under keys of several bytes; those of one byte over a stub's text are others' work.

    Rare lengths of keys are tried where the payload `is_unknown`, the usual ones (2, 3, 4, 6, 8, 12, 16, 24)
    in programs; 8 MiB are looked through, of programs one.
    """
    until, found = 0, 0
    first = _by_header(view)
    if first is not None:
        yield first
        until = first.start + len(first.decoded)
    for start, key in sorted(_by_text(view, is_unknown=is_unknown)):
        if start < until or found >= _MOST_PROGRAMS:
            continue
        program = _program(view, start, key)
        if program is not None:
            yield program
            until, found = start + len(program.decoded), found + 1


def _by_header(view: memoryview) -> HiddenProgram | None:
    """The payload as a whole: where zeros stand in the header, the key shows."""
    zeros = bytes(view[_HEADER_ZEROS_AT : _HEADER_ZEROS_AT + _HEADER_ZEROS])
    if len(zeros) < _HEADER_ZEROS:
        return None
    for length in range(1, 17):
        period = zeros[:length]
        if (period * _HEADER_ZEROS)[:_HEADER_ZEROS] == zeros:
            turn = -_HEADER_ZEROS_AT % length
            key = period[turn:] + period[:turn]
            return _program(view, 0, key) if any(key) and not _is_others(view, key) else None
    return None


def _is_others(view: memoryview, key: bytes) -> bool:
    """True for a key of one byte over a text that rules find, and other workers decode."""
    head = _decoded(view, 0, _HEAD_BYTES, key)
    return len(set(key)) == 1 and any(text in head for text in _TEXTS)


@cache
def _turned(distance: int) -> tuple[bytes, ...]:
    """The texts' XOR with themselves that far on."""
    return tuple(_xor(text[:-distance], text[distance:]) for text in _TEXTS)


def _by_text(view: memoryview, *, is_unknown: bool) -> Iterator[tuple[int, bytes]]:
    """Where programs seem to begin, by the text in their stubs, and under which key."""
    size = min(len(view), _MOST_BYTES if is_unknown else MiB)
    distances = _DISTANCES if is_unknown else _DISTANCES[:2]
    if size < _LEAST_BYTES:
        return
    longest = max(map(len, _TEXTS))
    for begun in range(0, size, _WINDOW):
        part = bytes(view[begun : begun + _WINDOW + longest])
        number = int.from_bytes(part, "little")
        for distance in distances:
            turned = (number ^ number >> 8 * distance).to_bytes(len(part), "little")
            for text, wanted in zip(_TEXTS, _turned(distance), strict=True):
                at = turned.find(wanted)
                while at >= 0:
                    yield from _start(view, begun + at, text, distance)
                    at = turned.find(wanted, at + 1)


def _start(view: memoryview, at: int, text: bytes, distance: int) -> Iterator[tuple[int, bytes]]:
    """The program whose stub's text stands at `at`: the nearest `MZ` before it under that key."""
    key = _xor(bytes(view[at : at + distance]), text[:distance])
    if len(set(key)) == 1:  # in plain sight, or under one byte
        return
    begun = max(0, at - _BEFORE_TEXT)
    before = bytes(view[begun:at])
    turn = -(at - begun) % distance
    plain = _xor(before, (key[turn:] + key[:turn]) * (len(before) // distance + 1))
    mark = plain.rfind(b"MZ")
    while mark >= 0:
        start = begun + mark
        turn = -(at - start) % distance
        turned = _shortest(key[turn:] + key[:turn])
        if _program_begins(view, start, turned):
            yield start, turned
            return
        mark = plain.rfind(b"MZ", 0, mark)


def _shortest(key: bytes) -> bytes:
    for length in range(1, len(key)):
        if not len(key) % length and key[:length] * (len(key) // length) == key:
            return key[:length]
    return key


def _program_begins(view: memoryview, start: int, key: bytes) -> bool:
    head = _decoded(view, start, _HEAD_BYTES, key)
    return is_executable(memoryview(head))


def _program(view: memoryview, start: int, key: bytes) -> HiddenProgram | None:
    """The program as its own tables bound it."""
    if not _program_begins(view, start, key):
        return None
    plain = _decoded(view, start, len(view) - start, key)
    signature = int.from_bytes(plain[0x3C:0x40], "little")
    if signature + 24 > len(plain):
        return None
    return HiddenProgram(start, key, plain[: end_of_pe(memoryview(plain), 0, signature)])


def _decoded(view: memoryview, start: int, size: int, key: bytes) -> bytes:
    made = []
    step = MiB - MiB % len(key)
    for at in range(start, min(start + size, len(view)), step):
        part = bytes(view[at : min(at + step, start + size)])
        made.append(_xor(part, key * (len(part) // len(key) + 1)))
    return b"".join(made)


def _xor(left: bytes, right: bytes) -> bytes:
    """Both, byte by byte, as far as the shorter goes."""
    size = min(len(left), len(right))
    return (int.from_bytes(left[:size], "little") ^ int.from_bytes(right[:size], "little")).to_bytes(
        size, "little"
    )
