"""The account of one opened payload: what each range of it was, and what nobody claimed.

An opener claims ranges as it walks; whatever is left when it ends becomes a child (CLEAN, *The account*),
so that no byte of a container is passed over in silence. Claims cost an append each; the sum is linear
in their number but for one sort of what came out of order.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

import msgspec

from .limits import KiB

MIN_GAP_BYTES = 8
"""Shorter leftovers hold no file of any kind; they are counted as structure."""
_CD_ZEROS = 32 * KiB
_CD_MARKS = frozenset({b"CD001", b"BEA01"})
_STEP = 64 * KiB


class Claim(IntEnum):
    """What a range was."""

    STRUCTURE = 0
    CHILD = 1
    PADDING = 2
    MEDIA = 3
    UNREAD = 4
    SEARCHED = 5


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of a payload by what they were; together they are its size.

    `child` was given as other payloads, `plain` was searched as it stands, `unread` was not examined.
    """

    structure: int = 0
    child: int = 0
    padding: int = 0
    media: int = 0
    plain: int = 0
    unread: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.structure + self.child + self.padding + self.media + self.plain + self.unread

    def plus(self, other: Coverage) -> Coverage:
        """The sums of two."""
        return Coverage(
            **{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__}
        )


class Gap(NamedTuple):
    """A range that nobody claimed: `lead`, `gap` or `tail`; offset and size in bytes."""

    name: str
    offset: int
    size: int


class Account:
    """Ranges of one payload of `size` bytes, claimed in any order; what lies outside of it is cut off."""

    __slots__ = ("_claims", "_end", "_kind", "_left", "_ordered", "_start", "size")

    def __init__(self, size: int) -> None:
        """Nothing is claimed yet."""
        self.size = size
        self._claims: list[tuple[int, int, Claim]] = []
        self._ordered = True
        self._start = self._end = 0
        self._kind = Claim.STRUCTURE
        self._left: dict[str, int] = {}

    def structure(self, offset: int, size: int) -> None:
        """Headers, tables, checksums: bytes that the reader itself has read and understood."""
        self._claim(offset, size, Claim.STRUCTURE)

    def child(self, offset: int, size: int) -> None:
        """The bytes that a child was made of, packed or plain."""
        self._claim(offset, size, Claim.CHILD)

    def media(self, offset: int, size: int) -> None:
        """Pixels, samples, glyphs: data that no program runs."""
        self._claim(offset, size, Claim.MEDIA)

    def padding(self, offset: int, size: int) -> None:
        """Bytes that the format leaves free and the reader has found to be zeros or one byte repeated."""
        self._claim(offset, size, Claim.PADDING)

    def searched(self, offset: int, size: int) -> None:
        """Code, tables, text: bytes that hide nothing from whoever searches them as they stand."""
        self._claim(offset, size, Claim.SEARCHED)

    def unread(self, offset: int, size: int) -> None:
        """Bytes that could not be read; the reader says why with `job.unread`."""
        self._claim(offset, size, Claim.UNREAD)

    def _claim(self, offset: int, size: int, kind: Claim) -> None:
        start, end = max(0, offset), min(offset + size, self.size)
        if start >= end:
            return
        if start == self._end and kind is self._kind:
            self._end = end
            return
        if start < self._end:
            self._ordered = False
        self._keep()
        self._start, self._end, self._kind = start, end, kind

    def _keep(self) -> None:
        if self._end > self._start:
            self._claims.append((self._start, self._end, self._kind))
        self._start = self._end

    def _sorted(self) -> list[tuple[int, int, Claim]]:
        self._keep()
        if not self._ordered:
            self._claims.sort()
            self._ordered = True
        return self._claims

    def spans(self) -> Iterator[tuple[int, int, Claim]]:
        """All claims (start, end, kind) in order of their starts; they may overlap."""
        yield from self._sorted()

    def gaps(self, view: memoryview) -> Iterator[Gap]:
        """What nobody claimed and is not one byte repeated, in order, without the zeros in front of it.

        The 32 KiB of zeros that CD images begin with stay. May be asked while claims are still made.
        Where nothing was claimed nothing was opened: the payload is no child of its own.
        """
        self._left.clear()
        claims, at = self._sorted(), 0
        for start, end, _ in [*claims, (self.size, self.size, Claim.STRUCTURE)] if claims else ():
            if start > at:
                yield from self._gap(view, at, start)
            at = max(at, end)

    def _gap(self, view: memoryview, start: int, end: int) -> Iterator[Gap]:
        name = "lead" if start == 0 else "tail" if end == self.size else "gap"
        first = max(start, _without_image(view, _after_zeros(view, start, end)))
        self._counted("padding", first - start)
        start = first
        if end - start < MIN_GAP_BYTES:
            self._counted("structure", end - start)
        elif _repeats(view, start, end):
            self._counted("padding", end - start)
        else:
            yield Gap(name, start, end - start)
            self._counted("child", end - start)

    def _counted(self, kind: str, size: int) -> None:
        self._left[kind] = self._left.get(kind, 0) + size

    def sums(self) -> dict[str, int]:
        """Bytes by kind of claim; a byte that was claimed twice counts for the claim that begins first."""
        found = dict.fromkeys((claim.name.lower() for claim in Claim), 0)
        at = 0
        for start, end, kind in self._sorted():
            if end > at:
                found[kind.name.lower()] += end - max(start, at)
                at = end
        return found

    def coverage(self) -> Coverage:
        """The sums, with what `gaps` has given or found to be nothing; the rest is plain."""
        found = self.sums()
        for kind, size in self._left.items():
            found[kind] += size
        del found["searched"]
        return Coverage(**found, plain=max(0, self.size - sum(found.values())))


def _without_image(view: memoryview, first: int) -> int:
    """`first`, or where the CD image begins whose first mark is there (ECMA-119, 6.2.1; ECMA-167 2/9.1)."""
    marked = next((n for n in (0, 1) if bytes(view[first + n : first + n + 5]) in _CD_MARKS), None)
    return first if marked is None else first - 1 + marked - _CD_ZEROS


def _after_zeros(view: memoryview, start: int, end: int) -> int:
    """The first byte that is not zero, or `end`."""
    while start < end:
        chunk = bytes(view[start : min(start + _STEP, end)])
        rest = chunk.lstrip(b"\0")
        start += len(chunk) - len(rest)
        if rest:
            break
    return start


def _repeats(view: memoryview, start: int, end: int) -> bool:
    """True for one byte over and over."""
    byte = bytes(view[start : start + 1])
    return all(not bytes(view[at : min(at + _STEP, end)]).strip(byte) for at in range(start, end, _STEP))
