"""Files that lie in ranges of an image: each range once, and no more bytes than the image can hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stoq_core.account import Account
from stoq_core.errors import Reason
from stoq_core.limits import MiB

from .entry import BadArchive, Chunks, Entry, Member, refuse, sliced

Extent = tuple[int | None, int]
"""Byte offset (None: a hole of zeros) and size in bytes."""

_ZEROS = bytes(64 * 1024)
_TIMES = 2
_SPARE_BYTES = MiB


class Image:
    """One image whose directories name ranges; counts what they name."""

    def __init__(self, view: memoryview, account: Account) -> None:
        self.view = view
        self.account = account
        self._named = self._walked = 0
        self._earlier: set[tuple[Extent, ...]] = set()
        self._current: set[tuple[Extent, ...]] = set()

    def at(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes of structure; raises `truncated` where the image ends before."""
        data = bytes(self.view[offset : offset + size]) if offset >= 0 else b""
        if len(data) < size:
            raise BadArchive(Reason.TRUNCATED, f"the image ends before offset {offset + size}")
        return data

    def folder(self, offset: int, size: int) -> bytes:
        """A folder's bytes; folders, too, are together no larger than twice the image."""
        self._walked += size
        if self._walked > _TIMES * len(self.view) + _SPARE_BYTES:
            raise BadArchive(Reason.RATIO, "the image's folders are together larger than the image can hold")
        return self.at(offset, size)

    def seen(self, extents: Sequence[Extent]) -> bool:
        """True if another tree of the image named exactly these ranges already."""
        return tuple(extents) in self._earlier

    def next_tree(self) -> None:
        """What comes now is another tree of directories over the same ranges."""
        self._earlier |= self._current | {()}
        self._current = set()

    def entry(self, member: Member, extents: Sequence[Extent]) -> Entry:
        """A file in these ranges, or one that is refused (see `fits`)."""
        if not self.fits(extents):
            message = f"{member.name}: the files are together larger than what holds them"
            return Entry(member, lambda _passwords: refuse(Reason.RATIO, message))
        return Entry(member, lambda _passwords: self.chunks(extents), extents[0][0] if extents else None)

    def fits(self, extents: Sequence[Extent]) -> bool:
        """Count these ranges; False once more than twice the image's size was named: a bomb of overlaps."""
        self._current.add(tuple(extents))
        whole = len(self.view)
        self._named += sum(max(0, min(size, whole - at)) for at, size in extents if at is not None)
        return self._named <= _TIMES * len(self.view) + _SPARE_BYTES

    def chunks(self, extents: Sequence[Extent]) -> Chunks:
        """The ranges' bytes, one range after the other."""
        done = 0
        try:
            for offset, size in extents:
                if offset is None:
                    yield from zeros(size)
                else:
                    yield from self._range(offset, size)
                done += 1
        finally:  # damaged, or more than is wanted: what is left is not read
            for offset, size in extents[done:]:
                self.account.unread(offset or 0, size if offset is not None else 0)

    def _range(self, offset: int, size: int) -> Chunks:
        data = self.view[offset : offset + size]
        yield from sliced(data)
        if len(data) < size:
            raise BadArchive(Reason.TRUNCATED, f"the image ends {size - len(data)} bytes too early")
        self.account.child(offset, size)


def zeros(size: int) -> Iterator[bytes]:
    """So many zero bytes, in chunks."""
    while size > 0:
        yield _ZEROS[:size]
        size -= len(_ZEROS)
