"""Objects as PDF writes them: names, strings, arrays, dictionaries, references (ISO 32000-1, 7.3)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

_MOST_DEPTH = 64
_MOST_ITEMS = 100_000
_KEPT_WHEN_FULL = 64
_MOST_NAME = 256
_CHECK_MASK = 0xFFFF
_STOPS = (b"endobj", b"endstream", b"stream", b"obj", b"trailer", b"startxref", b"xref")
_TOKEN = re.compile(
    rb"(?:[\0\t\n\f\r ]++|%[^\r\n]*+)*+"
    rb"(?:(<<|\[)|(>>|\])|/([^\0\t\n\f\r ()<>\[\]{}/%]*+)|(\()|<([^<>()\[\]/%]*+)>?"
    rb"|([^\0\t\n\f\r ()<>\[\]{}/%]++)|([)>{}])|\Z)"
)
_PARENS = re.compile(rb"\\.|[()]", re.DOTALL)
_END = re.compile(rb"endobj|endstream")
_ESCAPE = re.compile(rb"\\(\r\n|[0-7]{1,3}|.)?|\r\n?", re.DOTALL)
_ESCAPED = {
    b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f", b"\n": b"", b"\r": b"", b"\r\n": b"",
}  # fmt: skip
_NUMBER_SIGN = re.compile(rb"#([0-9A-Fa-f]{2})")
_NOT_HEX = bytes(set(range(256)) - set(b"0123456789abcdefABCDEF"))
_WORDS = {b"true": True, b"false": False}


OTHER_FILTER = b"Filter/"
"""Where a dictionary keeps the first of two filters that it names; no name of a file has a slash."""


class Name(bytes):
    """A name without its slash, its `#xx` undone; equal to the same bytes."""

    __slots__ = ()


class Ref(NamedTuple):
    """`12 0 R`."""

    number: int
    generation: int


class Listener(Protocol):
    """Who is told of what is read, at any depth."""

    def name(self, raw: bytes, name: Name) -> None:
        """A name, as written and as meant."""

    def pair(self, key: Name, value: Any) -> None:
        """A name and the name, string or reference right behind it."""

    def dictionary(self, found: dict[bytes, Any]) -> None:
        """A whole dictionary."""


class Parsed(NamedTuple):
    """A value (None for nothing readable), where it ends, and where its stream's bytes begin (or -1)."""

    value: Any
    end: int
    stream: int


def unescaped(raw: bytes) -> bytes:
    """A literal string's bytes (7.3.4.2)."""
    return _ESCAPE.sub(_escape, raw) if b"\\" in raw or b"\r" in raw else raw


def _escape(found: re.Match[bytes]) -> bytes:
    what = found[1]
    if what is None:
        return b"\n" if found[0][:1] == b"\r" else b""
    if what[0] in b"01234567":
        return bytes((int(what, 8) & 255,))
    return _ESCAPED.get(what, what)


def unhexed(raw: bytes) -> bytes:
    """A hexadecimal string's bytes; what is no digit is passed over."""
    digits = raw.translate(None, _NOT_HEX)
    return bytes.fromhex((digits + b"0" * (len(digits) & 1)).decode("ascii"))


def unsigned(raw: bytes) -> Name:
    """A name with its `#xx` undone (7.3.5)."""
    return Name(_NUMBER_SIGN.sub(lambda found: bytes((int(found[1], 16),)), raw))


class Parser:
    """Reads single values out of a text; fails by its clock alone, costs no more than the bytes it passes.

    Nesting below 64 levels is flattened into the last one; past 100,000 items of one value the rest is
    told to the listener but not kept, and `clipped` is set. `passed` counts all bytes that were looked at.
    """

    def __init__(self, view: memoryview, listener: Listener, check: Callable[[], None]) -> None:
        """`check` is called now and then and may raise: when the time is over."""
        self._view = view
        self._check = check
        self._tokens = 0
        self._listener = listener
        self._handlers: tuple[Callable[[re.Match[bytes]], None], ...] = (
            self._open, self._close, self._name, self._literal, self._hex, self._word, self._nothing,
        )  # fmt: skip
        self.clipped = False
        self.passed = 0
        self._begin(0, 0)

    def _begin(self, at: int, limit: int) -> None:
        self._at, self._limit = at, limit
        self._items: list[Any] = []
        self._stack: list[tuple[list[Any], bool]] = []
        self._is_dict = self._done = False
        self._over = self._count = 0
        self._stream = -1

    def value(self, at: int, limit: int) -> Parsed:
        """The value that begins at `at`, read up to `limit` at most."""
        self._begin(at, limit)
        while not self._done:
            token = _TOKEN.match(self._view, self._at, self._limit)
            if token is None or token.lastindex is None:
                self._at = self._limit
                break
            self._at = token.end()
            self._tokens += 1
            if not self._tokens & _CHECK_MASK:
                self._check()
            self._handlers[token.lastindex - 1](token)
        while self._stack:
            self._fold()
        self.passed += self._at - at
        return Parsed(self._items[0] if self._items else None, self._at, self._stream)

    def _push(self, value: Any, *, tell: bool = True) -> None:
        items = self._items
        if tell and items and type(items[-1]) is Name:
            self._listener.pair(items[-1], value)
        items.append(value)
        self._count += 1
        if self._count > _MOST_ITEMS and len(items) > _KEPT_WHEN_FULL:
            del items[:-3]
            self.clipped = True
        if not self._stack:
            self._done = type(value) is not int or len(items) >= 3

    def _open(self, token: re.Match[bytes]) -> None:
        if len(self._stack) >= _MOST_DEPTH:
            self._over += 1
            return
        self._stack.append((self._items, self._is_dict))
        self._items, self._is_dict = [], token[1] == b"<<"

    def _close(self, token: re.Match[bytes]) -> None:
        if self._over:
            self._over -= 1
            return
        wanted = token[2] == b">>"
        if not self._stack or (self._is_dict and not wanted):
            return
        if wanted and not self._is_dict:  # arrays that were left open end with the dictionary around them
            if not any(is_dict for _, is_dict in self._stack):
                return
            while not self._is_dict:
                self._fold()
        self._fold()
        if not self._stack:
            self._done = True
            self._peek()

    def _fold(self) -> None:
        """The innermost array or dictionary is complete."""
        items, is_dict = self._items, self._is_dict
        self._items, self._is_dict = self._stack.pop()
        value: Any = items
        if is_dict:
            value = _paired(items)
            self._listener.dictionary(value)
        self._items.append(value)

    def _peek(self) -> None:
        """Whether a stream follows the dictionary that has just ended."""
        token = _TOKEN.match(self._view, self._at, self._limit)
        if token is not None and token.lastindex == 6 and token[6].startswith(b"stream"):
            self._stream = token.start(6) + 6

    def _name(self, token: re.Match[bytes]) -> None:
        raw = token[3][:_MOST_NAME]
        name = unsigned(raw) if b"#" in raw else Name(raw)
        self._listener.name(raw, name)
        self._push(name)

    def _literal(self, token: re.Match[bytes]) -> None:
        start, depth = token.end(), 1
        for n, one in enumerate(_PARENS.finditer(self._view, start, self._limit), 1):
            if not n & _CHECK_MASK:
                self._check()
            sign = one[0]
            if sign == b"(":
                depth += 1
            elif sign == b")":
                depth -= 1
                if not depth:
                    self._at = one.end()
                    self._push(unescaped(bytes(self._view[start : one.start()])))
                    return
        self.passed += self._limit - start
        found = _END.search(self._view, start, self._limit)  # it never ends: the object does
        self._at = found.start() if found else self._limit
        self._push(unescaped(bytes(self._view[start : self._at])))

    def _hex(self, token: re.Match[bytes]) -> None:
        self._push(unhexed(token[5]))

    def _word(self, token: re.Match[bytes]) -> None:
        word = token[6]
        if word.isdigit() or (word[:1] in b"+-" and word[1:].isdigit()):
            self._push(int(word[:18]), tell=False)
        elif word == b"R":
            self._reference()
        elif word.startswith(_STOPS):
            self._done = True
            self._at = token.start(6)
            if word.startswith(b"stream"):
                self._stream = self._at + 6
        elif self._stack or word == b"null":  # other words in front of a value are passed over
            self._push(_WORDS.get(word), tell=False)

    def _reference(self) -> None:
        items = self._items
        if len(items) >= 2 and type(items[-1]) is int and type(items[-2]) is int:
            generation, number = items.pop(), items.pop()
            self._push(Ref(number, generation))
            self._done = not self._stack

    def _nothing(self, token: re.Match[bytes]) -> None:
        """Signs that mean nothing where they stand."""


def _paired(items: list[Any]) -> dict[bytes, Any]:
    found: dict[bytes, Any] = {}
    at = 0
    while at + 1 < len(items):
        if type(items[at]) is Name:
            key, value = items[at], items[at + 1]
            if key == b"Filter" and found.get(key, value) != value:
                found[OTHER_FILTER] = found[key]  # readers differ on which of two counts
            found[key] = value
            at += 2
        else:
            at += 1
    return found
