"""What readers of media have in common: parts of the file as entries, free bytes, text among samples."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from functools import cache
from itertools import islice, pairwise

from plugins._formats.archives.declare import Check, Source
from plugins._formats.archives.entry import BadArchive, Entry, Member, sliced
from plugins._formats.archives.readers import FORMATS
from plugins._formats.filetype.checks import is_zlib
from stoq_core.errors import Reason

SHORT_BYTES = 64
"""Free bytes up to this length are a name or a remark; longer ones are given as children."""
_MOST_INFLATED_BYTES = 64 << 20
_RUN = re.compile(rb"[\t\r\n -~]{24,}")
_MARKS = re.compile(
    rb"\x1f\x8b\x08[\0-\x1f]|PK\x03\x04|7z\xbc\xaf\x27\x1c|Rar!\x1a\x07|\x7fELF[\x01\x02][\x01\x02]|%PDF-1|\xfd7zXZ\0"
    rb"|BZh[1-9]1AY&SY|MSCF\0{4}|MZ.{58}[\x40-\xff][\0\x01]\0\0|\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    re.DOTALL,
)
_ZLIB = re.compile(rb"[\x28-\x78][\x01\x5e\x9c\xda]")
_READERS_BY_MARK: dict[bytes, list[tuple[int, Check]]] = {}
_FEW_BYTES = 64 * 1024
_MOST_TRIES = 1_000
_LONG = 4
_MIN_DISTINCT, _MIN_STEP = 8, 8
_MOST_RUNS = 16


def part(source: Source, name: str, at: int, size: int, kind: str = "file") -> Entry:
    """A range of the file as a child, claimed as such; the reader has looked that it lies within."""
    data = source.view[at : at + size]
    source.account.child(at, len(data))
    return made(name, data, kind, at)


def made(name: str, data: bytes | memoryview, kind: str = "file", at: int | None = None) -> Entry:
    """Bytes that were made of the file's (inflated, joined) as a child."""
    view = memoryview(data)
    member = Member(name=name, size=len(view), kind=kind)
    return Entry(member, lambda _passwords: sliced(view), at)


def free(source: Source, name: str, at: int, size: int) -> Iterator[Entry]:
    """Bytes that anybody may write: short printable ones are structure, longer ones a child."""
    data = source.view[at : at + size]
    if len(data) > SHORT_BYTES:
        yield part(source, name, at, size)
    elif all(byte >= 9 for byte in data if byte):
        source.account.structure(at, size)


def inflate(data: bytes | memoryview, most: int = _MOST_INFLATED_BYTES) -> tuple[bytes, int]:
    """A zlib stream's plain bytes and how many bytes it took; raises `BadArchive` for what is none."""
    decoder = zlib.decompressobj()
    try:
        plain = decoder.decompress(data, most)
    except zlib.error as error:
        raise BadArchive(Reason.CORRUPT, f"the compressed data is damaged: {error}") from None
    if decoder.unconsumed_tail:
        raise BadArchive(Reason.TOO_LARGE, f"more than {most} bytes come out")
    return plain, len(data) - len(decoder.unused_data)


def inflated(source: Source, name: str, at: int, size: int) -> Iterator[Entry]:
    """A zlib stream as a child, and what stands behind its end within its place."""
    try:
        plain, used = inflate(source.view[at : at + size])
    except BadArchive as error:
        yield part(source, name, at, size)
        raise BadArchive(error.reason or Reason.CORRUPT, f"{name}: {error.message}") from None
    source.account.child(at, used)
    if plain:
        yield made(name, plain, at=at)


def messages(samples: bytes, name: str, *, any_file: bool = False) -> Iterator[Entry]:
    """Text and files that stand among samples as they are: pixels that spell a script, an archive in them."""
    start = _file_at(samples, any_file=any_file)
    if start is not None:
        yield made(f"{name}-from-{start}", samples[start:])
    runs = 0
    for run in _RUN.finditer(samples):
        if _reads(run.group()):
            yield made(f"{name}-text-{run.start()}", run.group())
            runs += 1
            if runs >= _MOST_RUNS:
                return


def _file_at(samples: bytes, *, any_file: bool) -> int | None:
    """Where the first file begins; among few samples any that there is a reader for, else the usual ones."""
    found = _MARKS.search(samples)
    if found or not any_file or len(samples) > _FEW_BYTES:
        return found.start() if found else None
    view = memoryview(samples)
    for hit in islice(_all_marks().finditer(samples), _MOST_TRIES):
        for offset, check in _READERS_BY_MARK[hit.group()]:
            start = hit.start() - offset
            if start >= 0 and check(view, start):
                return start
    for hit in islice(_ZLIB.finditer(samples), _MOST_TRIES):
        head = samples[hit.start() : hit.start() + 4_096]
        if is_zlib(head, view):
            return hit.start()
    return None


@cache
def _all_marks() -> re.Pattern[bytes]:
    """Every mark of four bytes and more that a reader declares, and LZMA's; fills `_READERS_BY_MARK`."""
    for declared in FORMATS.values():
        for mark in declared.marks:
            if len(mark.data) >= _LONG or declared.label == "lzma":
                _READERS_BY_MARK.setdefault(mark.data, []).append((mark.offset, declared.check))
    marks = sorted(_READERS_BY_MARK, key=len, reverse=True)
    return re.compile(b"|".join(re.escape(mark) for mark in marks))


def _reads(run: bytes) -> bool:
    """Letters differ from their neighbours by much more than pixels and samples do."""
    begin = run[:256]
    steps = sum(abs(a - b) for a, b in pairwise(begin))
    return len(set(begin)) >= _MIN_DISTINCT and steps >= _MIN_STEP * len(begin)
