"""Take the HTML out of an RTF body that Outlook made of it (MS-OXRTFEX 2.1.3): linear, in one pass."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    rb"\\'([0-9a-fA-F]{2})|\\([a-zA-Z]{1,32})(-?\d{1,10})? ?|\\([^a-zA-Z])|([{}])|([^\\{}\r\n]+)|[\r\n\\]",
    re.DOTALL,
)
_BREAKS = {b"par": b"\r\n", b"line": b"\r\n", b"tab": b"\t", b"lquote": b"&lsquo;", b"rquote": b"&rsquo;",
           b"ldblquote": b"&ldquo;", b"rdblquote": b"&rdquo;", b"bullet": b"&bull;", b"endash": b"&ndash;",
           b"emdash": b"&mdash;", b"_": b"&shy;", b"~": b"&nbsp;"}  # fmt: skip
_HEAD_BYTES = 4_096
_MAX_DEPTH = 1_000


def html(rtf: bytes, codec: str = "cp1252") -> bytes | None:
    """The HTML as UTF-8, or None for RTF that was not made of HTML."""
    if b"\\fromhtml1" not in rtf[:_HEAD_BYTES]:
        return None
    reader = _Reader(codec)
    for token in _TOKEN.finditer(rtf):
        reader.take(token)
    return reader.made()


class _Reader:
    """Groups that are dropped, and whether text belongs to the HTML; saved and restored with the groups."""

    def __init__(self, codec: str) -> None:
        self.codec = codec
        self._pieces: list[bytes] = []
        self._raw: list[bytes] = []
        self._stack: list[tuple[bool, bool]] = []
        self._dropped = self._rtf_only = False
        self._star = False
        self._skip = 0

    def take(self, token: re.Match[bytes]) -> None:
        """One token."""
        hexadecimal, word, number, symbol, brace, text = token.groups()
        if brace:
            self._brace(brace)
        elif symbol == b"*":
            self._star = True
        elif word:
            self._word(word, number)
        elif self._dropped or self._rtf_only:
            return
        elif hexadecimal:
            self._letters(bytes((int(hexadecimal, 16),)), one=True)
        elif symbol in (b"\\", b"{", b"}"):
            self._letters(symbol, one=True)
        elif symbol:
            self._letters(_BREAKS.get(symbol, b""), one=True)
        elif text:
            self._letters(text, one=False)

    def _brace(self, brace: bytes) -> None:
        self._star = False
        if brace == b"{":
            if len(self._stack) < _MAX_DEPTH:
                self._stack.append((self._dropped, self._rtf_only))
        elif self._stack:
            self._dropped, self._rtf_only = self._stack.pop()

    def _word(self, word: bytes, number: bytes | None) -> None:
        star, self._star = self._star, False
        if word == b"htmltag":
            self._dropped = self._rtf_only = False
        elif word == b"htmlrtf":
            self._rtf_only = number != b"0"
        elif star or word in (b"fonttbl", b"colortbl", b"stylesheet", b"info", b"pict"):
            self._dropped = True
        elif self._dropped or self._rtf_only:
            return
        elif word == b"u" and number:
            self._flush()
            self._pieces.append(chr(int(number) & 0xFFFF).encode("utf-8", "replace"))
            self._skip = 1
        elif word in _BREAKS:
            self._letters(_BREAKS[word], one=False)

    def _letters(self, letters: bytes, *, one: bool) -> None:
        if self._skip:  # what stands for a letter that was given as a number
            self._skip = 0
            letters = b"" if one else letters[1:]
        self._raw.append(letters)

    def _flush(self) -> None:
        if self._raw:
            self._pieces.append(b"".join(self._raw).decode(self.codec, "replace").encode("utf-8"))
            self._raw = []

    def made(self) -> bytes:
        """All of it."""
        self._flush()
        return b"".join(self._pieces)
