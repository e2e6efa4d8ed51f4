"""Python's marshal format as far as tables of contents need it: no code is made, nothing nests for long.

Layout: CPython, Python/marshal.c. The interpreter's own reader is not meant for hostile bytes.
"""

from __future__ import annotations

from typing import Any

from .declare import number

_REF = 0x80
_MOST_DEPTH, _MOST_VALUES = 8, 1_000_000
_NONE = b"NTF."
_LONG_TEXTS, _SHORT_TEXTS = b"suatA", b"zZ"
_LONG_LISTS, _SHORT_LIST = b"[(<>", b")"


class Marshalled:
    """Reads one value from `view`, offset `at`. Raises `ValueError` for what is none, or too much."""

    def __init__(self, view: memoryview, at: int) -> None:
        """Nothing is read yet."""
        self._view, self._at = view, at
        self._left = _MOST_VALUES
        self._known: list[Any] = []

    def value(self, depth: int = 0) -> Any:
        """Lists and tuples as lists, texts as bytes, dictionaries as lists of pairs, numbers."""
        self._left -= 1
        code = self._taken(1)[0]
        kind = bytes((code & ~_REF,))
        if depth > _MOST_DEPTH or self._left < 0:
            raise ValueError("values within values without end")
        place = len(self._known)
        if code & _REF:
            self._known.append(None)
        made = self._made(kind, depth)
        if code & _REF:
            self._known[place] = made
        return made

    def _made(self, kind: bytes, depth: int) -> Any:
        if kind in _NONE:
            return {b"T": 1, b"F": 0}.get(kind)
        if kind == b"i":
            return int.from_bytes(self._taken(4), "little", signed=True)
        if kind == b"r":
            return self._known[self._count(4)]
        if kind in _LONG_TEXTS:
            return self._taken(self._count(4))
        if kind in _SHORT_TEXTS:
            return self._taken(self._count(1))
        if kind in _LONG_LISTS or kind == _SHORT_LIST:
            count = self._count(1 if kind == _SHORT_LIST else 4)
            return [self.value(depth + 1) for _ in range(count)]
        if kind == b"{":
            return self._pairs(depth)
        if kind == b"l":
            return self._long()
        raise ValueError(f"there is no value at offset {self._at - 1}")

    def _pairs(self, depth: int) -> list[Any]:
        pairs = []
        while bytes(self._view[self._at : self._at + 1]) != b"0":
            pairs.append([self.value(depth + 1), self.value(depth + 1)])
        self._at += 1
        return pairs

    def _long(self) -> int:
        """Digits of 15 bits; a negative count is a negative number."""
        count = int.from_bytes(self._taken(4), "little", signed=True)
        digits = self._taken(2 * abs(count))
        if abs(count) > _MOST_DEPTH:
            raise ValueError("a number without end")
        value = sum(int.from_bytes(digits[2 * n : 2 * n + 2], "little") << 15 * n for n in range(abs(count)))
        return value if count >= 0 else -value

    def _count(self, size: int) -> int:
        self._taken(size)
        return number(self._view, self._at - size, size)

    def _taken(self, size: int) -> bytes:
        if not 0 <= size <= len(self._view) - self._at:
            raise ValueError("the table is cut short")
        self._at += size
        return bytes(self._view[self._at - size : self._at])
