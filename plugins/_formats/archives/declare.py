"""How a format is declared: its label, the marks it begins with, a check of its header, its end, its reader.

A reader's module holds `FORMATS`, a tuple of these; `readers.FORMATS` finds them all by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from stoq_core.account import Account
from stoq_core.job import Job
from stoq_core.payload import Payload

from .entry import Entry


class Source(NamedTuple):
    """An archive to open: its bytes, the job it belongs to, the passwords to try.

    `guesses` are further ones, for readers that know a wrong one at once.
    """

    view: memoryview
    payload: Payload
    job: Job
    passwords: Sequence[str]
    guesses: Sequence[str] = ()

    @property
    def account(self) -> Account:
        """Where the reader claims what it walked; what it leaves becomes children."""
        return self.job.account


class Mark(NamedTuple):
    """Bytes that stand `offset` bytes behind the beginning of every file of a format."""

    data: bytes
    offset: int = 0


Reader = Callable[[Source], Iterator[Entry]]
Check = Callable[[memoryview, int], bool]
"""Whether a file of the format begins at an offset: cheap and strict, since marks are hit by chance."""
End = Callable[[memoryview, int], int | None]
"""Where the file that begins at an offset ends, or None where only reading it all would tell."""


def no_end(_view: memoryview, _offset: int) -> None:
    """The format does not say where it ends."""


def unchecked(_view: memoryview, _offset: int) -> bool:
    """For marks that are long enough to need no check."""
    return True


class Format(NamedTuple):
    """One format. Without `marks` it is found by its label alone, as dispatchers give it.

    `container` tells archives of members from single compressed streams.
    """

    label: str
    read: Reader
    marks: tuple[Mark, ...] = ()
    check: Check = unchecked
    end: End = no_end
    container: bool = True


def number(view: memoryview, offset: int, size: int) -> int:
    """A little-endian number; 0 where the view ends before it does."""
    data = bytes(view[offset : offset + size])
    return int.from_bytes(data, "little") if len(data) == size else 0
