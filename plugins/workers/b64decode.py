"""Decode base64: a payload that is nothing else, and every longer run of it inside other bytes."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import msgspec

from plugins._formats.executables.mz import is_executable
from stoq_core.errors import Reason
from stoq_core.job import Job
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_SPACE = b" \t\r\n\v\f"
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
_STANDARD = bytes.maketrans(b"-_", b"+/")
_CHUNK_BYTES = 1 << 20
_LETTERS_A_SPACE = 20  # prose has a space every six letters, base64 a line break every 64 or 76
_SPACE_AT_ENDS = 4
_SAMPLE_BYTES = 4_096
_BACKSLASH = 0x5C
_LEAST_LINE = 16
# A run: lines of the alphabet with one line break between each, a shorter last line, padding. All
# quantifiers are possessive, so that each byte is looked at a bounded number of times.
_RUN = re.compile(
    rb"[A-Za-z0-9+/_-]{16,}+(?:[ \t]{0,8}\r?\n[ \t]{0,80}[A-Za-z0-9+/_-]{16,}+)*+"
    rb"(?:[ \t]{0,8}\r?\n[ \t]{0,80}[A-Za-z0-9+/_-]{1,15}+(?=[=\s\"'<)]|\Z))?+={0,2}"
)
_WIDE_RUN = re.compile(rb"(?:[A-Za-z0-9+/_-]\0){16,}+(?:=\0){0,2}")
_LINE = re.compile(rb"[A-Za-z0-9+/_-]+")
_STANDARD_RUN = re.compile(rb"[A-Za-z0-9+/]{16,}+")
_WORDS = re.compile(rb"\S[ \t]++\S")
_HEX_DIGITS = b"0123456789abcdefABCDEF"


class B64decodeOptions(Options, frozen=True):
    """What counts as base64."""

    min_bytes: Annotated[int, about("shortest decoded size of a run inside other bytes", ge=12)] = 40
    max_runs: Annotated[int, about("runs decoded in one payload", ge=1)] = 1_000


class Run(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a run stands: `offset` and `size` of its text in bytes, the `alphabet`, `wide` for UTF-16."""

    offset: int
    size: int
    alphabet: str = "standard"
    wide: bool = False


class B64decodeResult(msgspec.Struct, frozen=True):
    """`runs` that were decoded, in order, and their `count`."""

    runs: list[Run]
    count: int


class B64decode(Worker[B64decodeOptions]):
    """Yield each run decoded, with its `offset`; standard and url-safe alphabet, also as UTF-16.

    Lines of one length make one run, as in mail and PEM; PEM's and MIME's own lines do not belong to
    it. What only looks like base64 is left: hex digits, words of one letter case, mixed alphabets, a
    length that no base64 has. A payload that is base64 as a whole may be of any size.
    """

    result = B64decodeResult
    errors = {"too_many_runs": "more runs than `max_runs`; the rest was not decoded"}
    findings = {
        "base64_hidden_executable": (
            250,
            "A Windows executable as base64 inside other bytes",
            ("T1027.013",),
        ),
    }

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield a child a run, then one `B64decodeResult`."""
        view = payload.view()
        runs: list[Run] = []
        for one in self._pieces(view):
            if len(runs) >= self.options.max_runs:
                message = f"more than {self.options.max_runs} runs of base64; raise max_runs to decode all"
                job.error("too_many_runs", message, allowed=self.options.max_runs)
                job.unread(Reason.OPTION_LIMIT, message)
                break
            child = job.child(_decoded(view, one), offset=one.start)
            yield child
            runs.append(Run(one.start, one.end - one.start, one.alphabet, one.wide))
            if not one.whole and is_executable(child.body.view()):
                yield self.finding("base64_hidden_executable", f"at offset {one.start}")
        if runs:
            yield B64decodeResult(runs, len(runs))

    def _pieces(self, view: memoryview) -> Iterator[_Piece]:
        whole = _whole(view)
        if whole is not None:
            yield whole
            return
        least = -(-self.options.min_bytes * 4 // 3)
        for found in _RUN.finditer(view):
            if found.end() - found.start() >= least:
                yield from _blocks(view, found.start(), found.end(), least)
        for found in _WIDE_RUN.finditer(view):
            piece = _Piece(found.start(), found.end(), wide=True)
            if found.end() - found.start() >= 2 * least and _valid(view, piece, least):
                yield _named(view, piece)


class _Piece(NamedTuple):
    """A stretch of text to decode."""

    start: int
    end: int
    alphabet: str = "standard"
    wide: bool = False
    whole: bool = False


def _whole(view: memoryview) -> _Piece | None:
    """The payload as one piece, if there is nothing in it but base64, white space and padding."""
    head = bytes(view[:4096])
    if head.translate(None, _ALPHABET + _SPACE + b"=") or _WORDS.search(head):
        return None
    seen = letters = spaces = 0  # without white space; without padding
    for at in range(0, len(view), _CHUNK_BYTES):
        text = bytes(view[at : at + _CHUNK_BYTES]).translate(None, _SPACE)
        body = text.rstrip(b"=") if at + _CHUNK_BYTES >= len(view) else text
        if body.translate(None, _ALPHABET) or len(text) - len(body) > 2:
            return None
        spaces += len(view[at : at + _CHUNK_BYTES]) - len(text)
        seen += len(text)
        letters += len(body)
    piece = _Piece(0, len(view), whole=True)
    good = letters >= 4 and letters % 4 != 1 and (seen == letters or not seen % 4)
    good = good and spaces * _LETTERS_A_SPACE <= letters + _SPACE_AT_ENDS * _LETTERS_A_SPACE
    if not good or (spaces and _WORDS.search(view)):
        return None
    return _named(view, piece) if _looks_encoded(view, piece) else None


def _blocks(view: memoryview, start: int, end: int, least: int) -> Iterator[_Piece]:
    """The run as one piece where its lines have one length, else each line by itself."""
    if start and view[start - 1] == _BACKSLASH and view[start] in b"nrt":
        start += 1  # the letter belongs to an escape of the text around
    text = bytes(view[start:end])
    lines = [(one.start(), one.end()) for one in _LINE.finditer(text)]
    if len(lines) > 1 and text[: lines[0][1]].endswith(b"-----"):
        del lines[0]
    while len(lines) > 1 and text[lines[-1][0] : lines[-1][0] + 2] == b"--":
        del lines[-1]
    padding = len(text) - len(text.rstrip(b"="))
    sizes = [b - a for a, b in lines]
    inner = set(sizes[1:-1]) or {sizes[0]}
    even = len(inner) == 1 and sizes[-1] <= max(inner) and (len(lines) < 2 or sizes[0] >= _LEAST_LINE)
    joined = [(lines[0][0], lines[-1][1])] if even else lines
    for a, b in joined:
        last = b + padding == len(text)
        yield from _pieces_of(view, start + a, start + b, start + b + (padding if last else 0), least)


def _pieces_of(view: memoryview, start: int, end: int, padded: int, least: int) -> Iterator[_Piece]:
    """One piece; text of both alphabets is split where the url-safe characters stand."""
    text = bytes(view[start:end])
    if (b"-" in text or b"_" in text) and (b"+" in text or b"/" in text):
        for found in _STANDARD_RUN.finditer(text):
            piece = _Piece(start + found.start(), start + found.end())
            if found.end() - found.start() >= least and _valid(view, piece, least):
                yield piece
        return
    piece = _Piece(start, padded)
    if _valid(view, piece, least):
        yield _named(view, piece)


def _named(view: memoryview, piece: _Piece) -> _Piece:
    text = bytes(view[piece.start : piece.end])
    return piece._replace(alphabet="urlsafe") if b"-" in text or b"_" in text else piece


def _valid(view: memoryview, piece: _Piece, least: int) -> bool:
    """A length that base64 can have, padding that fits it, and not just hex or words."""
    text = bytes(view[piece.start : piece.end])
    letters = len(text.translate(None, _SPACE + b"\0="))
    padding = text.count(b"=")
    if letters < least - 2 or letters % 4 == 1 or (padding and (letters + padding) % 4):
        return False
    return _looks_encoded(view, piece)


def _looks_encoded(view: memoryview, piece: _Piece) -> bool:
    """One alphabet alone, and neither hex nor words: told by the first letters where they suffice."""
    text = bytes(view[piece.start : piece.end])
    if (b"-" in text or b"_" in text) and (b"+" in text or b"/" in text):
        return False
    if piece.whole and len(text) <= _LEAST_LINE:
        return True
    return any(_is_mixed(part) for part in (text[:_SAMPLE_BYTES], text))


def _is_mixed(text: bytes) -> bool:
    """Letters of both cases, and some that no hex digit is."""
    if not text.translate(None, _HEX_DIGITS + _SPACE + b"\0="):
        return False
    return text.lower() != text and text.upper() != text


def _decoded(view: memoryview, piece: _Piece) -> Iterator[bytes]:
    """The bytes, a megabyte of text at a time."""
    rest = b""
    for at in range(piece.start, piece.end, _CHUNK_BYTES):
        chunk = bytes(view[at : min(at + _CHUNK_BYTES, piece.end)])
        text = rest + chunk.translate(_STANDARD, _SPACE + b"=" + (b"\0" if piece.wide else b""))
        whole = len(text) & ~3
        yield binascii.a2b_base64(text[:whole], strict_mode=True) if whole else b""
        rest = text[whole:]
    if len(rest) > 1:
        yield binascii.a2b_base64(rest + b"=" * (-len(rest) % 4))
