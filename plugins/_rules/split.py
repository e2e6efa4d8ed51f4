"""Find where each YARA rule of a source begins, also where some of them are broken."""

from __future__ import annotations

import re
from typing import NamedTuple

_NOT_UTF8 = re.compile("[\udc80-\udcff]")
_TOKEN = re.compile(
    r"""
      (?P<skip>\s+ | //[^\n]* | "(?:\\[^\n]|[^"\\\n])*"? | /(?![/*])(?:\\[^\n]|[^/\\\n])*/?)
    | (?P<comment>/\*)
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_IMPORT = re.compile(r'import\s+"(?:\\.|[^"\\\n])*"')
_MODIFIERS = frozenset({"global", "private"})
_KEYWORDS = _MODIFIERS | {"rule"}
_NO_NAME = "?"


class Piece(NamedTuple):
    """A part of a source: `rule` is None before the first rule, `?` without a name; lines count from 1."""

    rule: str | None
    line: int
    text: str


class Split(NamedTuple):
    """The `import` statements of a source, wherever they stand, and its pieces in order."""

    imports: list[str]
    pieces: list[Piece]


def decode(content: bytes) -> str:
    r"""A source as text; a byte that is no UTF-8 becomes `\xNN`, which means that byte to YARA.

    So an old file in Latin-1 keeps its patterns, and nothing of it is refused for a name in a comment.
    """
    text = content.decode("utf-8-sig", "surrogateescape")
    return _NOT_UTF8.sub(lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", text)


def split(text: str) -> Split:
    """Cut a source at the keyword `rule`, which can stand nowhere else than where a rule begins.

    A string or expression that is not closed ends with its line, as does a comment that never closes:
    what follows is looked at again. Linear in the size of the source.
    """
    starts: list[tuple[int, str]] = []
    imports: list[str] = []
    at, begin, wants_name = 0, -1, False
    last_close = text.rfind("*/")
    while found := _next(text, at):
        at, word = found.end(), found["word"]
        if found["skip"] is not None:
            continue
        if found["comment"]:
            closes = at <= last_close
            at = _comment_end(text, at, closes=closes)
            begin = begin if closes or wants_name else -1  # no rule begins before what never closes
            continue
        if wants_name:
            starts.append((begin, _NO_NAME if word is None or word in _KEYWORDS else word))
            begin, wants_name = -1, False
            if word not in _KEYWORDS:
                continue
        if word == "rule":
            begin, wants_name = (found.start() if begin < 0 else begin), True
        elif word in _MODIFIERS:
            begin = found.start() if begin < 0 else begin
        else:
            begin = -1
            if word == "import" and (statement := _IMPORT.match(text, found.start())):
                imports.append(statement[0])
                at = statement.end()
    return Split(imports, _pieces(text, starts))


def _next(text: str, at: int) -> re.Match[str] | None:
    return _TOKEN.match(text, at) if at < len(text) else None


def _comment_end(text: str, at: int, *, closes: bool) -> int:
    if closes:
        return text.find("*/", at) + 2
    line_end = text.find("\n", at)
    return len(text) if line_end < 0 else line_end


def _pieces(text: str, starts: list[tuple[int, str]]) -> list[Piece]:
    ends = [start for start, _ in starts[1:]] + [len(text)]
    pieces, line, before = [], 1, 0
    if not starts or text[: starts[0][0]].strip():
        pieces.append(Piece(None, 1, text[: starts[0][0]] if starts else text))
    for (start, name), end in zip(starts, ends, strict=False):
        line += text.count("\n", before, start)
        before = start
        pieces.append(Piece(name, line, text[start:end]))
    return pieces
