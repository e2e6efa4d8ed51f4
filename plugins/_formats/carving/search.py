"""One pass over a payload for the marks of all formats, and what of it holds a second look.

The marks are the readers' own (`archives.readers.FORMATS`) and those of documents and programs. A mark is
but a hint: the format's check decides, in the order of where the formats would begin, and what lies within a
piece that is taken already is left to that piece, as unblob does it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from plugins._formats.archives.declare import Check, Mark, no_end, unchecked
from plugins._formats.archives.pyinstaller import COOKIE, end_of_carchive
from plugins._formats.archives.pyinstaller import bounds as pyinstaller_bounds
from plugins._formats.archives.readers import FORMATS
from plugins._formats.executables import elf, macho
from stoq_core.account import Account, Claim
from stoq_core.payload import Payload

from . import documents
from .streams import ENDS, Work, is_zlib

_MOST_MATCHES = 250_000
"""Of one mark; a payload that has more is said to be searched in part."""

# two bytes, or a mark that plain code and data hold, and no header whose numbers could be checked
_NOT_ANYWHERE = frozenset({"beam", "bplist", "compress", "deb", "marshal", "onenote", "wasm", "zlib"})


class Seek(NamedTuple):
    """What is looked for: a format's label, its marks, how it is checked and where it ends."""

    label: str
    marks: tuple[Mark, ...]
    check: Check
    end: Callable[[memoryview, int], int | None] = no_end
    bounds: Callable[[memoryview, int], tuple[int, int] | None] | None = None
    """Where a format whose mark stands at its end begins and ends; it is given the mark's offset."""


class Piece(NamedTuple):
    """A format that was found from `start` to `end`; `is_end_known` if the format says where it ends."""

    label: str
    start: int
    end: int
    is_end_known: bool


def _programs_and_documents() -> Iterator[Seek]:
    yield Seek("pe", (Mark(b"MZ"),), documents.is_pe, documents.end_of_program)
    yield Seek("elf", (Mark(b"\x7fELF"),), elf.is_elf, elf.end_of_elf)
    thin = (b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe")
    yield Seek("macho", tuple(map(Mark, thin)), macho.is_macho, macho.end_of_macho)
    fat = (Mark(b"\xca\xfe\xba\xbe"), Mark(b"\xca\xfe\xba\xbf"))
    yield Seek("macho", fat, macho.is_fat, macho.end_of_macho)
    yield Seek("swf", (Mark(b"FWS"), Mark(b"CWS"), Mark(b"ZWS")), documents.is_swf)
    yield Seek("ole", (Mark(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),), documents.is_ole, documents.end_of_ole)
    yield Seek("pdf", (Mark(b"%PDF-"),), documents.is_pdf, documents.end_of_pdf)
    yield Seek("rtf", (Mark(b"{\\rt"),), documents.is_rtf)
    yield Seek("lnk", (Mark(b"L\0\0\0\1\x14\2\0"),), documents.is_lnk)
    yield Seek("tnef", (Mark(b"\x78\x9f\x3e\x22"),), documents.is_tnef)
    yield Seek("onenote", (Mark(b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d"),), documents.is_onenote)
    yield Seek("pyinstaller", (Mark(COOKIE),), unchecked, end_of_carchive, pyinstaller_bounds)
    yield Seek("chm", (Mark(b"ITSF"),), documents.is_chm)


@cache
def seeks() -> tuple[Seek, ...]:
    """All that is looked for."""
    found = [
        Seek(
            declared.label,
            declared.marks,
            documents.MORE_CHECKS.get(declared.label, declared.check),
            documents.MORE_ENDS.get(declared.label, declared.end),
        )
        for declared in FORMATS.values()
        if declared.label not in _NOT_ANYWHERE and declared.marks
    ]
    found = [seek for seek in found if seek.check is not unchecked]
    zlib = tuple(Mark(bytes((0x78, level))) for level in (0x01, 0x5E, 0x9C, 0xDA))
    return (*found, Seek("zlib", zlib, _never), *_programs_and_documents())


def _never(_view: memoryview, _at: int) -> bool:
    """A zlib stream's check costs work that is counted; see `_holds`."""
    return False


@cache
def rules() -> tuple[Any, dict[str, tuple[Seek, int]]]:
    """The compiled marks, and by a pattern's name its format and how far behind the start it stands."""
    import yara_x

    lines: list[str] = []
    known: dict[str, tuple[Seek, int]] = {}
    for seek in seeks():
        for mark in seek.marks:
            name = f"$m{len(known)}"
            known[name] = (seek, mark.offset)
            lines.append(f"{name} = {{ {mark.data.hex(' ')} }}")
    rule = "rule marks { strings: " + "\n".join(lines) + " condition: any of them }"
    return yara_x.compile(rule), known


class _Own(threading.local):
    """A thread's scanner: one is used and let go of by one thread."""

    def __init__(self) -> None:
        self.scanner: Any = None


_OWN = _Own()


class Hits(NamedTuple):
    """Where marks stand: (start of the format, order of the format, format); and whether there were more."""

    found: list[tuple[int, int, Seek]]
    is_cut: bool


def hits(payload: Payload) -> Hits:
    """All marks of the payload in the order in which their formats would begin."""
    _, known = rules()
    found: list[tuple[int, int, Seek]] = []
    is_cut = False
    for rule in _scanned(payload):
        for pattern in rule.patterns:
            matches = pattern.matches
            is_cut |= len(matches) >= _MOST_MATCHES
            if matches:
                seek, offset = known[pattern.identifier]
                order = len(found)
                starts = [match.offset - offset for match in matches]
                if seek.bounds is not None:
                    starts, order = _starts(payload, seek.bounds, starts), -1  # it may begin as a stream
                found.extend((start, order, seek) for start in starts if start >= 0)
    found.sort(key=lambda hit: hit[:2])
    return Hits(found, is_cut)


def _starts(
    payload: Payload, bounds: Callable[[memoryview, int], tuple[int, int] | None], marks: list[int]
) -> list[int]:
    """Where formats begin whose marks stand at their ends."""
    view = payload.view()
    return [found[0] for mark in marks if (found := bounds(view, mark)) is not None]


def _scanned(payload: Payload) -> Iterable[Any]:
    """The library's matching rules; it keeps the last file mapped until the next scan."""
    import yara_x

    if _OWN.scanner is None:
        _OWN.scanner = yara_x.Scanner(rules()[0])
        _OWN.scanner.max_matches_per_pattern(_MOST_MATCHES)
    scanner, fd = _OWN.scanner, payload.body.fd
    if fd is not None and os.path.exists(f"/proc/self/fd/{fd}"):
        payload.body.rest()
        matching = tuple(scanner.scan_file(f"/proc/self/fd/{fd}").matching_rules)
        scanner.scan(b"")
        return matching
    return tuple(scanner.scan(payload.content).matching_rules)


def pieces(
    view: memoryview, found: Sequence[tuple[int, int, Seek]], is_open: Callable[[int, str], bool], work: Work
) -> Iterator[Piece]:
    """Each format that holds where `is_open` (asked in ascending order) lets one begin; none in another."""
    until = 0
    for start, _, seek in found:
        if start < until or not is_open(start, seek.label) or not _holds(view, start, seek, work):
            continue
        end = seek.end(view, start)
        if end is None and seek.label in ENDS:
            end = ENDS[seek.label](view, start, work)
        piece = Piece(seek.label, start, len(view) if end is None or end <= start else end, end is not None)
        if start:
            until = piece.end
        yield piece


def _holds(view: memoryview, start: int, seek: Seek, work: Work) -> bool:
    if seek.label == "zlib":
        return not work.spent and is_zlib(view, start, work)
    return seek.check(view, start)


_SEARCHED = frozenset({Claim.SEARCHED, Claim.MEDIA, Claim.UNREAD})


class OpenSpans:
    """Where formats may begin that no opener has accounted for: asked for ascending places."""

    def __init__(self, accounts: Iterable[Account], own: str = "") -> None:
        """What an opener has given as children, or left unclaimed (which became some), is searched there.

        `own` is the payload's own format, whose readers know their marks wherever their structure ends.
        """
        self._own = own
        self._walks = [_Walk(spans, one.size) for one in accounts if (spans := list(one.spans()))]

    def __call__(self, at: int, label: str) -> bool:
        """True where every opener has but searched the bytes as they stand, or played them as media."""
        for walk in self._walks:
            claim = walk.claim(at, known=label == self._own)
            if claim not in _SEARCHED or (claim is Claim.MEDIA and label == "zlib"):
                return False
        return True


class _Walk:
    """One account, walked from front to back."""

    def __init__(self, spans: list[tuple[int, int, Claim]], size: int) -> None:
        self._spans, self._next = spans, 0
        self._ends: dict[Claim, int] = {}
        self._breaks: set[int] = set()
        reached = spans[0][0]
        for start, end, _ in spans:
            if start > reached:
                self._breaks.add(reached)
            reached = max(reached, end)
        if reached < size:
            self._breaks.add(reached)

    def claim(self, at: int, *, known: bool = False) -> Claim | None:
        """What the byte was claimed as; what was given or understood is so whoever else searched it.

        Structure that breaks off is no more than searched: a format may begin in it that goes on behind,
        unless it is the one that the reader of the structure has `known`.
        """
        while self._next < len(self._spans) and self._spans[self._next][0] <= at:
            _, end, kind = self._spans[self._next]
            self._ends[kind] = max(end, self._ends.get(kind, 0))
            self._next += 1
        kinds = [kind for kind, end in self._ends.items() if end > at]
        if not known and kinds == [Claim.STRUCTURE] and self._ends[Claim.STRUCTURE] in self._breaks:
            return Claim.SEARCHED
        return next((kind for kind in kinds if kind not in _SEARCHED), kinds[0] if kinds else None)
