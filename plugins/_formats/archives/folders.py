"""Walking an image's folders: each once, no more and no deeper than is sane, in the order of their names."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Generic, NamedTuple, TypeVar

from stoq_core.errors import Reason

from .entry import BadArchive, Entry

_MAX_DEPTH = 64
Key = TypeVar("Key", bound=Hashable)


class Folder(NamedTuple, Generic[Key]):
    """A folder's path, which ends in `/` or is empty, and what finds it in its image."""

    path: str
    key: Key


def walk(
    root: Key, content: Callable[[Folder[Key]], Iterator[Entry | Folder[Key]]], most: int
) -> Iterator[Entry]:
    """The entries of all folders; `content` yields those of one, and the folders in it.

    Raises `BadArchive` for more than `most` folders, or more than 64 in one another.
    """
    seen: set[Key] = set()
    waiting = [(Folder("", root), 0)]
    while waiting:
        folder, depth = waiting.pop()
        if folder.key in seen:
            continue
        seen.add(folder.key)
        if len(seen) > most or depth > _MAX_DEPTH:
            raise BadArchive(Reason.TOO_MANY_PAYLOADS, "the image has too many folders, or they are too deep")
        below = []
        for found in content(folder):
            if isinstance(found, Folder):
                below.append((found, depth + 1))
            else:
                yield found
        waiting += reversed(below)
