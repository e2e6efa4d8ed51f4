"""What is said about a binary of any format, and how its tables are read within bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, TypeVar

import msgspec

from plugins._text.room import Room, text
from stoq_core.limits import MiB

_T = TypeVar("_T")
_MOST_ROWS, _MOST_FLAGS = 1_000, 64


class BinarySection(msgspec.Struct, frozen=True, omit_defaults=True):
    """A section: addresses and bytes; `entropy` is left out where sections overlap too often."""

    name: str
    type: str
    virtual_address: int
    offset: int
    size: int
    flags: list[str]
    segment: str = ""
    entropy: float | None = None


class BinarySegment(msgspec.Struct, frozen=True):
    """A segment: `flags` of `rwx`, addresses, and bytes in the file and in memory."""

    name: str
    flags: str
    virtual_address: int
    virtual_size: int
    offset: int
    file_size: int


class BinaryFacts(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One binary. `header` as the format has it; `entrypoint` an address, absent where there is none."""

    header: dict[str, Any] = {}
    entrypoint: int | None = None
    is_pie: bool | msgspec.UnsetType = msgspec.UNSET
    has_nx: bool | msgspec.UnsetType = msgspec.UNSET
    sections: list[BinarySection] = []
    segments: list[BinarySegment] = []
    imports: list[str] = []
    exports: list[str] = []
    libraries: list[str] = []
    overlay_bytes: int = 0


class Reading:
    """One payload's bounds: text of lists, and bytes whose entropy may still be counted."""

    def __init__(self, room: Room, size: int, fields: frozenset[str]) -> None:
        """`size` is the payload's; `fields` are those wanted, none meaning all."""
        self.room, self._fields, self._left = room, fields, 2 * size + MiB

    def wants(self, field: str) -> bool:
        """True if the user asked for this field."""
        return not self._fields or field in self._fields

    def rows(self, values: Iterable[Any], what: str, make: Callable[[Any], _T]) -> list[_T]:
        """Each of a table's rows, up to a number."""
        made = [make(one) for one in islice(values, _MOST_ROWS + 1)]
        if len(made) > _MOST_ROWS:
            self.room.cut.append(what)
        return made[:_MOST_ROWS]

    def names(self, values: Iterable[Any], what: str) -> list[str]:
        """The names of symbols or libraries, those without one left out."""
        named = (text(getattr(one, "name", one)) for one in values)
        return self.room.take((one for one in named if one), what)

    def entropy(self, section: Any, size: int) -> float | None:
        """A section's entropy; None once sections that overlap have used up what is allowed."""
        if size > self._left or size < 0:
            return None
        self._left -= size
        return round(float(section.entropy), 3)


def word(value: Any) -> str:
    """An enumeration's name in small letters, or the number that it has no name for."""
    return str(getattr(value, "name", value)).lower()


def words(values: Iterable[Any]) -> list[str]:
    """The names of flags."""
    return [word(one) for one in islice(values, _MOST_FLAGS)]


def rwx(read: object, write: object, execute: object) -> str:
    """Rights as `rwx`, each letter where it is given."""
    return "r" * bool(read) + "w" * bool(write) + "x" * bool(execute)
