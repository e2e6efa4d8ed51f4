"""File systems and images that 7-Zip reads: WIM, NTFS, FAT, ext, HFS, APFS."""

from __future__ import annotations

from collections.abc import Iterator

from stoq_core.body import Body
from stoq_core.payload import Payload

from .by_tool import read_by_7z
from .declare import Check, Format, Mark, Reader, Source, number
from .entry import Entry

_WORD_AT, _WORD = 510, 0xAA55


def _by_7z(kind: str) -> Reader:
    return lambda source: read_by_7z(source.job, source.payload, kind, source.passwords)


def _sector(view: memoryview, offset: int) -> bool:
    """A boot sector's last word, and sectors of a size that there is."""
    return number(view, offset + 510, 2) == 0xAA55 and number(view, offset + 11, 2) in (512, 1024, 2048, 4096)


def _wim(view: memoryview, offset: int) -> bool:
    """[MS-WIM] 2.2: a header of 208 bytes."""
    return number(view, offset + 8, 4) == 208


def _apfs(view: memoryview, offset: int) -> bool:
    """A container's superblock says what it is, and blocks of 4 to 64 KiB."""
    return number(view, offset + 24, 2) == 1 and number(view, offset + 36, 4) in (
        4096,
        8192,
        16384,
        32768,
        65536,
    )


def _ext(view: memoryview, offset: int) -> bool:
    """The superblock: blocks of at most 64 KiB, one of the known revisions and states."""
    at = offset + 1024
    return number(view, at + 24, 4) <= 6 and number(view, at + 76, 4) <= 1 and number(view, at, 4) > 0


def _hfs(view: memoryview, offset: int) -> bool:
    """A volume header whose blocks are a power of two from 512 on, big-endian."""
    size = int.from_bytes(view[offset + 1064 : offset + 1068], "big")
    return size >= 512 and not size & size - 1


_MARKS: dict[str, tuple[tuple[Mark, ...], Check]] = {
    "wim": ((Mark(b"MSWIM\0\0\0"),), _wim),
    "ntfs": ((Mark(b"NTFS    ", 3),), _sector),
    "fat": ((Mark(b"FAT12   ", 54), Mark(b"FAT16   ", 54), Mark(b"FAT32   ", 82)), _sector),
    "ext": ((Mark(b"\x53\xef", 1080),), _ext),
    "hfs": ((Mark(b"H+\0\4", 1024), Mark(b"HX\0\5", 1024)), _hfs),
    "apfs": ((Mark(b"NXSB", 32),), _apfs),
}


def _read_fat(source: Source) -> Iterator[Entry]:
    """7-Zip wants the boot sector's last word, which mounting does not: it is given a copy with the word."""
    payload = source.payload
    if number(source.view, _WORD_AT, 2) != _WORD:
        word = _WORD.to_bytes(2, "little")
        body = Body(bytes(source.view[:_WORD_AT]) + word + bytes(source.view[_WORD_AT + 2 :]))
        payload = Payload(body, payload.meta, payload_id=payload.payload_id)
    yield from read_by_7z(source.job, payload, "fat", source.passwords)


FORMATS = tuple(
    Format(kind, _read_fat if kind == "fat" else _by_7z(kind), marks, check)
    for kind, (marks, check) in _MARKS.items()
)
