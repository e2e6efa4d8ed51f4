r"""Bytes written as lists of numbers or escapes: `0x4d,0x5a`, `77, 90`, `\x4d\x5a`, `%u5a4d`, `Chr(77)&…`.

The list stands in a run of digits, separators and the marks of numbers. The first values tell whether
the rest is worth converting; a key of one byte (`^ 0x5a`) is looked for as in other encodings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from plugins._formats.encodings.spans import Found, Letters, Span
from plugins._formats.encodings.worth import MIN_BYTES, Content, is_promising, readings, unwrapped

_LEAST_RUN = 32
_PROBE_VALUES = 64
_LEAST_UNKNOWN = 64
_LETTERS = Letters(b"0123456789abcdefABCDEFxXhHuUoO \t\r\n,;:|-\\%&#$")
_WORDED_LETTERS = Letters(b"0123456789abcdefABCDEFxXhHuUoO \t\r\n,;:|-\\%&#$()+._'\"")
_WORDS = re.compile(
    rb"(?:\bchr[wb]?\$?|\[char\]|\[byte\]|\(char\)|\(byte\)|\bunichr|\bchar|\bbyte|tochar)(?=[\s(0-9&])",
    re.IGNORECASE,
)
_PREFIX = rb"(?:0x|&h|\\x|[$#])"
_BETWEEN = rb"(?:[\s,;:|+()_.-]|&(?!h)){1,80}"
_FORMS: tuple[tuple[str, bytes, re.Pattern[bytes], int], ...] = tuple(
    (name, needs, re.compile(pattern, re.IGNORECASE), base)
    for name, needs, pattern, base in (
        ("escapes", b"\\", rb"(?:\\x[0-9a-f]{2}){16,}+", 16),
        ("escapes", b"\\", rb"(?:\\u00[0-9a-f]{2}){16,}+", 16),
        ("wide escapes", b"u", rb"(?:[\\%]u[0-9a-f]{4}){8,}+", 16),
        ("octal escapes", b"\\", rb"(?:\\[0-3]?[0-7]{1,2}){16,}+", 8),
        ("percent", b"%", rb"(?:%[0-9a-f]{2}){16,}+", 16),
        ("entities", b"&#", rb"(?:&#x0{0,4}[0-9a-f]{1,2};?){16,}+", 16),
        ("entities", b"&#", rb"(?:&#0{0,4}[0-9]{1,3};?){16,}+", 10),
        ("hex list", b"",
         _PREFIX + rb"[0-9a-f]{1,2}(?:" + _BETWEEN + _PREFIX + rb"[0-9a-f]{1,2}){15,}+", 16),
        ("hex words", b"",
         rb"(?:0x|&h)[0-9a-f]{8}(?:" + _BETWEEN + rb"(?:0x|&h)[0-9a-f]{8}){3,}+", 16),
        ("list", b"",
         rb"(?<![0-9a-zx.])-?[0-9]{1,3}(?:[\s,;:|+&()_.]{1,80}-?[0-9]{1,3}(?![0-9a-zA-Z])){15,}+", 10),
        ("hex pairs", b"",
         rb"(?<![0-9a-z])[0-9a-f]{2}(?:(?:[\s,;:|-]|\\\r?\n){1,82}[0-9a-f]{2}(?![0-9a-z])){15,}+", 16),
        ("hex list", b"", rb"(?<![0-9a-z])[0-9a-f]{2}h(?:[\s,;:|]{1,80}[0-9a-f]{2}h){15,}+", 16),
        ("hex pairs", b"", rb"(?<![0-9a-z])[0-9a-f]{4}(?:\s{1,4}[0-9a-f]{4}){7,}+", 16),
    )
)  # fmt: skip
_DECIMAL = re.compile(rb"-?[0-9]++")
_OCTAL = re.compile(rb"[0-7]++")
_HEX_WORD = re.compile(rb"(?:0x|&h)([0-9a-f]{8})", re.IGNORECASE)
_HEX_NUMBER = re.compile(rb"(?:0x|&h|&#x|\\x|[$#])0{0,4}([0-9a-f]{1,2})|([0-9a-f]{2})h", re.IGNORECASE)
_DIGITS = b"0123456789abcdefABCDEF"
_PLAIN_PREFIXES = re.compile(rb"\\x|\\u00|%", re.IGNORECASE)
_DUMP_LINE = re.compile(
    rb"(?<![0-9a-z])(?:0x)?0{0,12}([0-9a-f]{1,8})[:|]?[ \t]{1,4}((?:[0-9a-f]{2,8}[ \t|-]{1,3}){4,32})",
    re.IGNORECASE,
)
_DUMP_END = re.compile(
    rb"[^\n]{0,80}\n(?:0x)?0{0,12}([0-9a-f]{1,8})[:|]?[ \t]{1,4}((?:[0-9a-f]{2,8}[ \t|-]{0,3}){1,32})",
    re.IGNORECASE,
)


class _List(NamedTuple):
    """A list as it stands in the text, the name of its form, and the base of its numbers."""

    span: Span
    form: str
    base: int
    text: bytes


_SURE = re.compile(
    rb"(?:uint8array|byte\[\]|bytearray|bytes|blob|buffer\.from)[^0-9a-z;]{0,16}\Z", re.IGNORECASE
)
_SURE_BEFORE = 40


def found_in(text: bytes, keys: tuple[int, ...] = (), *, worded: bool = False) -> Iterator[Found]:
    """All lists that give text or a known type; with `worded` also those whose numbers stand in `Chr()`."""
    letters = _LETTERS
    if worded:
        text = _WORDS.sub(lambda found: b" " * len(found.group()), text)
        letters = _WORDED_LETTERS
    dump = _Dump(text)
    for run in letters.runs(text, _LEAST_RUN):
        part = text[run.start : run.end]
        digits = len(part) - len(part.translate(None, _DIGITS))
        if digits < MIN_BYTES or digits == len(part):
            continue
        if worded:
            part = part.replace(b"'", b" ").replace(b'"', b" ")
        sure = _SURE.search(text, max(0, run.start - _SURE_BEFORE), run.start) is not None
        yield from _of_run(part, run.start, keys, sure=sure)
        yield from dump.add(part, run.start)
    yield from dump.end()


class _Dump:
    """Lines of a hex dump, each with its offset, as long as one goes on where the last one ended."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._start = self._end = 0
        self._next = 0
        self._parts: list[bytes] = []

    def add(self, part: bytes, offset: int) -> Iterator[Found]:
        """The lines of one run."""
        for line in _DUMP_LINE.finditer(part):
            at = int(line[1], 16)
            if at != self._next or not self._parts:
                yield from self.end()
                self._start = offset + line.start()
            self._take(at, line[2], offset + line.end())

    def _take(self, at: int, columns: bytes, end: int) -> None:
        plain = columns.translate(None, b" \t|-")
        data = bytes.fromhex(plain[: len(plain) & ~1].decode("ascii"))
        self._parts.append(data)
        self._next = at + len(data)
        self._end = end

    def end(self) -> Iterator[Found]:
        """What has come together, with a last line that is too short for a run."""
        last = _DUMP_END.match(self._text, self._end) if self._parts else None
        if last and int(last[1], 16) == self._next:
            self._take(self._next, last[2], last.end())
        data = b"".join(self._parts)
        lines, self._parts = len(self._parts), []
        content = unwrapped(data) if lines > 1 and is_promising(data[:48]) else None
        if content is not None:
            names = "+".join(("hex dump", *content.layers))
            yield Found(self._start, self._end - self._start, names, content.data, content.label)


def _of_run(part: bytes, offset: int, keys: tuple[int, ...], *, sure: bool) -> Iterator[Found]:
    for form, needs, pattern, base in _FORMS:
        if needs and needs not in part:
            continue
        for found in pattern.finditer(part):
            span = Span(offset + found.start(), offset + found.end())
            yield from _of_list(_List(span, form, base, found.group()), keys, sure=sure)


def _of_list(numbers: _List, keys: tuple[int, ...], *, sure: bool) -> Iterator[Found]:
    head = _bytes_of(numbers, numbers.text[: _PROBE_VALUES * 12])
    if head is None or len(head) < MIN_BYTES:
        return
    if not (is_promising(head[:48]) or keys or (len(head) >= _LEAST_UNKNOWN and _has_variety(head))):
        return
    data = _bytes_of(numbers, numbers.text)
    if data is None:
        return
    size = numbers.span.end - numbers.span.start
    contents = readings(data, keys)
    if not contents and sure and len(data) >= _LEAST_UNKNOWN and _has_variety(head):
        contents = [Content(data, "unknown")]
    for content in contents:
        names = "+".join((numbers.form, *content.layers))
        yield Found(numbers.span.start, size, names, content.data, content.label)


def _has_variety(head: bytes) -> bool:
    """Tables count up or repeat themselves; packed bytes do not."""
    return len(set(head)) * 2 > len(head) // 2 and sorted(head) != list(head)


def _bytes_of(numbers: _List, text: bytes) -> bytes | None:
    """The values as bytes; None where one is none."""
    if numbers.form == "hex pairs":
        plain = text.translate(None, b" \t\r\n,;:|-\\")
        return bytes.fromhex(plain[: len(plain) & ~1].decode("ascii"))
    if numbers.form in ("escapes", "percent"):
        plain = _PLAIN_PREFIXES.sub(b"", text)
        return bytes.fromhex(plain[: len(plain) & ~1].decode("ascii"))
    if numbers.form == "wide escapes":
        codes = [int(code[2:6], 16) for code in _split(text, 6)]
        # a letter a byte, as `unescape` makes of them; shell code puts two bytes into each
        return (
            bytes(codes) if max(codes, default=0) < 256 else b"".join(n.to_bytes(2, "little") for n in codes)
        )
    if numbers.form == "hex words":
        return b"".join(int(code, 16).to_bytes(4, "little") for code in _HEX_WORD.findall(text))
    return _of_numbers(text, numbers.base)


def _split(text: bytes, size: int) -> list[bytes]:
    return [text[at : at + size] for at in range(0, len(text) // size * size, size)]


def _of_numbers(text: bytes, base: int) -> bytes | None:
    if base == 16:
        return bytes(int(plain or other, 16) for plain, other in _HEX_NUMBER.findall(text))
    values = [int(code, base) for code in (_DECIMAL if base == 10 else _OCTAL).findall(text)]
    if min(values, default=0) < -128 or max(values, default=0) > 255:
        return None
    return bytes(value & 0xFF for value in values)
