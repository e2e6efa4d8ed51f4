"""All encodings of one payload: as it stands, and in its normal form where that says something else."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator

from plugins._formats.encodings import blocks, numbers, radix64
from plugins._formats.encodings.spans import Found
from plugins._formats.encodings.worth import CERTIFICATE, MIN_BYTES
from plugins._text.gate import tricks_of
from plugins._text.normal import normal_form
from plugins._text.textual import blocks_of, charset_of, pieces_of, text_of

_NUMBER = rb"=?\s{0,4}(?:0[xX]([0-9a-fA-F]{1,2})|([0-9]{1,3}))(?![0-9a-zA-Z.])"
_KEYS = (re.compile(rb"\^" + _NUMBER), re.compile(rb"[xX][oO][rR]" + _NUMBER))
_ESCAPED_SLASH = re.compile(rb"[A-Za-z0-9+/]{4}\\/[A-Za-z0-9+/\\]")
_MAX_KEYS = 4
_NAMED = frozenset(("uu", "yenc", "vbe", "git"))


def found_in(view: memoryview) -> Iterator[tuple[Found, bool]]:
    """What is encoded in the bytes, and whether it was found in the normal form; nothing comes twice.

    Offsets are those in the payload, or in the normal form. A text in UTF-16 or UTF-32 gives the text as
    UTF-8, in which the rest is then found.
    """
    charset = charset_of(view)
    if charset is None or (charset == "utf-8" and blocks.of_ebcdic(bytes(view[:4096]))):
        yield from ((found, False) for found in _unseen(_of_binary(view), set()))
        return
    if charset != "utf-8":
        text = text_of(view, charset)
        if len(text) >= MIN_BYTES:
            yield Found(0, len(view), charset, text, "text"), False
        return
    seen: set[int] = set()
    for offset, block in blocks_of(text_of(view, charset)):
        normal = normal_form(block)
        for found in _unseen(_of_text(block, has_normal_form=normal is not None), seen):
            yield found._replace(offset=found.offset + offset), False
        for found in _unseen(_of_escaped_slashes(block), seen):
            yield found, True
        if normal is not None:
            changed = _Changed(block, normal)
            for found in _unseen(_of_lines(changed.text), seen):
                yield found._replace(offset=changed.offset_of(found.offset)), True


class _Changed:
    """The lines of a normal form that the text itself does not have, and where they stand in it."""

    def __init__(self, text: bytes, normal: bytes) -> None:
        known = set(text.split(b"\n"))
        lines: list[bytes] = []
        self._starts, self._offsets = [0], [0]
        at = made = 0
        for line in normal.split(b"\n"):
            if line not in known:
                lines.append(line)
                self._starts.append(made)
                self._offsets.append(at)
                made += len(line) + 1
            at += len(line) + 1
        self.text = b"\n".join(lines)

    def offset_of(self, offset: int) -> int:
        """Where a byte of these lines stands in the normal form."""
        row = bisect_right(self._starts, offset) - 1
        return self._offsets[row] + offset - self._starts[row]


def _unseen(found: Iterator[Found], seen: set[int]) -> Iterator[Found]:
    for decoded in found:
        if decoded.label == CERTIFICATE or hash(decoded.data) in seen:
            continue
        if not decoded.data.strip(decoded.data[:1]):  # one byte over and over: a row of digits, no text
            continue
        seen.add(hash(decoded.data))
        yield decoded


def _of_text(text: bytes, *, has_normal_form: bool) -> Iterator[Found]:
    tricks = tricks_of(text)
    keys = _keys(text) if "xor" in tricks else ()
    yield from _runs_of(text, tricks, keys, has_normal_form=has_normal_form)
    yield from blocks.found_in(text, tricks, keys)


def _of_escaped_slashes(text: bytes) -> Iterator[Found]:
    r"""Base64 as JSON writers put it down: `\/` for each slash."""
    if b"\\/" in text:
        lines = [line for line in text.split(b"\n") if _ESCAPED_SLASH.search(line)]
        yield from radix64.found_in(b"\n".join(lines).replace(b"\\/", b"/"))


def _of_lines(lines: bytes) -> Iterator[Found]:
    tricks = tricks_of(lines)
    yield from _runs_of(lines, tricks, _keys(lines) if "xor" in tricks else ())


def _runs_of(
    text: bytes, tricks: frozenset[str], keys: tuple[int, ...], *, has_normal_form: bool = False
) -> Iterator[Found]:
    yield from radix64.found_in(text, keys, has_normal_form=has_normal_form, has_pieces="pieces" in tricks)
    yield from numbers.found_in(text, keys)
    if "char" in tricks:
        yield from numbers.found_in(text, keys, worded=True)


def _of_binary(view: memoryview) -> Iterator[Found]:
    """Texts among other bytes, and what names itself; base64 in the letters of UTF-16, too."""
    text = blocks.of_ebcdic(bytes(view[:4096]))
    if text is not None and (text := blocks.of_ebcdic(bytes(view))) is not None:
        yield text
        return
    for offset, block in pieces_of(view):
        tricks = tricks_of(block)
        keys = _keys(block) if "xor" in tricks else ()
        tricks &= _NAMED
        for found in radix64.found_in(block, keys):
            yield found._replace(offset=found.offset + offset)
        if tricks:
            for found in blocks.found_in(block, tricks):
                yield found._replace(offset=found.offset + offset)
        for span, letters in radix64.wide_runs(block):
            for found in radix64.found_in(letters):
                yield found._replace(offset=offset + span.start, size=span.end - span.start)


def _keys(text: bytes) -> tuple[int, ...]:
    """The keys of one byte that the text names, the first ones."""
    found: dict[int, None] = {}
    for pattern in _KEYS:
        for match in pattern.finditer(text):
            key = int(match[1], 16) if match[1] else int(match[2])
            if 0 < key < 256:
                found[key] = None
            if len(found) >= _MAX_KEYS:
                break
    return tuple(found)
