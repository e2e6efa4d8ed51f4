"""How much text the lists of one result may hold, when a file decides how long they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

_T = TypeVar("_T")
NAME_CHARS = 256
_ENTRY_CHARS = 8  # what an entry costs beside its text


class Room:
    """Characters for all lists of a result, and entries for each; `cut` names lists that had to end."""

    def __init__(self, chars: int, entries: int = 8_192) -> None:
        """`chars` for all lists together, `entries` for each."""
        self._chars, self._entries = chars, entries
        self.cut: list[str] = []

    def spend(self, chars: int, held: int, what: str) -> bool:
        """True if the list `what`, which holds `held` entries, has room for one of `chars` more."""
        if held >= self._entries or chars > self._chars:
            if what not in self.cut:
                self.cut.append(what)
            return False
        self._chars -= chars + _ENTRY_CHARS
        return True

    def take(self, values: Iterable[_T], what: str, size: Callable[[Any], int] = len) -> list[_T]:
        """The values as long as there is room; `size` is a value's length in characters."""
        made: list[_T] = []
        for value in values:
            if not self.spend(size(value), len(made), what):
                break
            made.append(value)
        return made


def text(value: Any) -> str:
    """A name that stands in a file, as text of bounded length without the zeros that fill it up."""
    if isinstance(value, (bytes, bytearray)):
        value = bytes(value[: NAME_CHARS * 4]).rstrip(b"\0").decode("utf-8", "replace")
    return str(value)[:NAME_CHARS]
