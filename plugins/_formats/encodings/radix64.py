"""Base64, base32 and hex as runs of letters: split over lines and literals, offset, reversed, url-safe."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from plugins._formats.encodings.spans import Found, Letters, Span, grouped, is_same_gap
from plugins._formats.encodings.worth import PROBE_BYTES, Content, begins_a_file, is_promising, unwrapped

LEAST_LETTERS = 22
"""The letters of 16 bytes without padding."""
_LETTERS = Letters(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")
_LINED = Letters(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n")
_LEAST_SHORT = 32
_SEPARATOR = (
    rb"(?:[ \t]{0,8}\\?\r?\n[ \t]{0,80}(?:(?://|[*#>])[ \t]{1,8})?"
    rb"|\\r\\n|\\n|\\/|&#(?:x[0-9a-fA-F]{1,2}|[0-9]{1,2});){1,4}"
)
_LINES = re.compile(rb"[A-Za-z0-9+/_-]++(?:" + _SEPARATOR + rb"[A-Za-z0-9+/_-]++)*+={0,2}")
_BREAK = re.compile(_SEPARATOR)
_SHORT_END = re.compile(rb"[A-Za-z0-9+/_-]{1,21}+={0,2}")
_ESCAPED_SLASH = b"\\/"
_JOINED = re.compile(rb"[\"'][\s)]{0,8}[+&][\s(]{0,40}[\"']")
_JOINED_BEFORE = re.compile(rb"[\"'][\s)]{0,8}[+&][\s(]{0,36}[\"']\Z")
_SHORT_LINES = re.compile(
    rb"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{4,21}+={0,2}(?:\r?\n[A-Za-z0-9+/]{1,21}+={0,2}){3,}+"
)
_SHORT_PIECES = re.compile(
    rb"[\"'][A-Za-z0-9+/_-]{1,64}={0,2}[\"'](?:[\s,+&.]{1,24}[\"'][A-Za-z0-9+/_=-]{1,64}[\"']){3,}+"
)
_NOT_LETTERS = bytes(
    set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")
)
_STANDARD = bytes.maketrans(b"-_", b"+/")
_HEX = b"0123456789abcdefABCDEF"
_UPPER = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LOWER = b"abcdefghijklmnopqrstuvwxyz"
_PLAIN_PART = re.compile(rb"[A-Za-z0-9]{22}")
_HEX_OR_32 = re.compile(rb"[0-9A-F]{32}|[A-Z2-7]{24}")
_HEX_RUN = re.compile(rb"[0-9a-fA-F]{32,}+")
_WIDE_RUN = re.compile(rb"(?:[A-Za-z0-9+/_=-]\x00){32,}+")
_BASE32 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_DIGIT = re.compile(rb"[0-9]")
_WORD = re.compile(rb"[a-z]{12}|[B-Z]{12}")
_PARTS = re.compile(rb"[A-Za-z0-9+/]{22,}+|[A-Za-z0-9]{22,}+")
_MARK = re.compile(rb"[+/_-]")
_INNER_PARTS = re.compile(rb"[A-Za-z0-9+]{22,}+")
_LEAST_FOR_GUESSES = 40
_LONGEST_DIGEST = 128
_DIGESTS = frozenset((32, 40, 56, 64, 96, 128))
_LEAST_FOR_HEX = 33
_LONGEST_PATH = 1_024
_MAX_MARKS = 12
_SURE = re.compile(
    rb"(?:base64,|b64decode\(|base64_decode\(|frombase64string\(|atob\(|a2b_base64\(|unhexlify\(|fromhex\()"
    rb"[\s\"'(b]{0,6}\Z",
    re.IGNORECASE,
)
_SURE_BEFORE = 32


def found_in(
    text: bytes, keys: tuple[int, ...] = (), *, has_normal_form: bool = False, has_pieces: bool = True
) -> Iterator[Found]:
    """All that the text holds in these encodings and that decodes to text or to a known type.

    With `has_normal_form` the pieces of joined literals are left: there they are in one. `has_pieces` says
    that there are arrays of short literals.
    """
    for group in grouped(text, _runs(text)):
        if has_normal_form and _is_piece(text, group[0]):
            continue
        whole = _of_group(text, group, keys) if len(group) > 1 else None
        if whole is not None:
            yield whole
            continue
        for span in group:
            if not (has_normal_form and _is_piece(text, span)):
                yield from _of_span(text, span, keys)
    for span in _of_short_pieces(text, has_literals=has_pieces):
        yield from _of_span(text, span, keys)


def _of_short_pieces(text: bytes, *, has_literals: bool) -> Iterator[Span]:
    """Blocks of lines, and arrays of literals, each too short for a run."""
    for run in _LINED.runs(text, _LEAST_SHORT):
        if text.find(b"\n", run.start, run.end) >= 0:
            yield from (Span(*lines.span()) for lines in _SHORT_LINES.finditer(text, run.start, run.end))
    if has_literals:
        yield from (Span(*pieces.span()) for pieces in _SHORT_PIECES.finditer(text))


def wide_runs(data: bytes) -> Iterator[tuple[Span, bytes]]:
    """Runs of letters with a zero behind each, as UTF-16 has them, and the letters."""
    for found in _WIDE_RUN.finditer(data):
        yield Span(found.start(), found.end()), found.group()[::2]


def _runs(text: bytes) -> Iterator[Span]:
    """Runs with the lines that go on with them; the letter of an escape in front belongs to the escape."""
    end = 0
    for run in _LETTERS.runs(text, LEAST_LETTERS):
        if run.start < end or _is_words(text[run.start : run.end]):
            continue
        lines = _LINES.match(text, run.start)
        end = lines.end() if lines else run.end
        start = run.start
        if start and text[start - 1] == 0x5C and text[start] in b"nrt":
            start += 1
        yield Span(start, end)


def _of_group(text: bytes, group: list[Span], keys: tuple[int, ...]) -> Found | None:
    """The pieces as one, unless each stands for itself: padded, or of a known type."""
    pieces = [text[span.start : span.end] for span in group]
    if any(piece.endswith(b"=") for piece in pieces[:-1]):
        return None
    if any(begins_a_file(_probe(piece)) for piece in pieces[1:]):
        return None
    last = _short_end(text, group)
    pieces.append(text[last.start : last.end])
    content = _guess(b"".join(pieces).translate(None, _NOT_LETTERS), keys)
    return _found(Span(group[0].start, last.end), *content) if content else None


def _short_end(text: bytes, group: list[Span]) -> Span:
    """A last piece that is too short for a run, behind what stands between the others."""
    gap = text[group[-2].end : group[-1].start]
    start = group[-1].end + len(gap)
    piece = _SHORT_END.match(text, start)
    if piece is None or not is_same_gap(text[group[-1].end : start], gap):
        return Span(group[-1].end, group[-1].end)
    return Span(start, piece.end())


def _is_words(letters: bytes) -> bool:
    """True for words, names and paths: most letters are small, or none is and it is no hex or base32."""
    plain = letters.translate(None, b"+/-_")
    if (len(plain) - len(plain.translate(None, _LOWER))) * 4 > len(plain) * 3:
        return True
    if not plain.isupper() and (len(letters) - len(plain)) * 4 <= len(letters):
        return False
    longest = _PLAIN_PART.search(letters)
    return longest is None or (plain.isupper() and not _HEX_OR_32.search(letters))


def _is_piece(text: bytes, span: Span) -> bool:
    return (
        _JOINED.match(text, span.end) is not None
        or _JOINED_BEFORE.search(text, max(0, span.start - 50), span.start) is not None
    )


def _of_span(text: bytes, span: Span, keys: tuple[int, ...]) -> Iterator[Found]:
    letters = text[span.start : span.end].rstrip(b"=")
    found: list[Found] = []
    if letters.translate(None, _NOT_LETTERS) == letters:
        found += _of_letters(letters, span, keys)
    else:
        plain = _BREAK.sub(b"", letters.replace(_ESCAPED_SLASH, b"/")).translate(None, _NOT_LETTERS)
        content = _guess(plain, keys)
        if content is not None:
            found.append(_found(span, *content))
        else:
            for stretch in _even_lines(letters):
                found += _of_lines(letters, stretch, span.start, keys)
    yield from found
    if not found and _SURE.search(text, max(0, span.start - _SURE_BEFORE), span.start):
        yield _as_named(letters.translate(None, _NOT_LETTERS), span)


def _as_named(letters: bytes, span: Span) -> Found:
    """Bytes of no known type, where the text says that it is an encoding."""
    if letters.translate(None, _HEX):
        return Found(span.start, span.end - span.start, "base64", _decoded(letters), "unknown")
    data = bytes.fromhex(letters[: len(letters) & ~1].decode("ascii"))
    return Found(span.start, span.end - span.start, "hex", data, "unknown")


def _of_lines(letters: bytes, stretch: _Stretch, offset: int, keys: tuple[int, ...]) -> Iterator[Found]:
    """Lines of one length; without the last one where they give nothing with it."""
    for end in dict.fromkeys((stretch.end, stretch.before_last)):
        part = letters[stretch.start : end].translate(None, _NOT_LETTERS)
        found = list(_of_letters(part, Span(offset + stretch.start, offset + end), keys))
        yield from found
        if found:
            return


class _Stretch(NamedTuple):
    """Where lines of one length start and end, and where the last of them but one does."""

    start: int
    end: int
    before_last: int


def _even_lines(letters: bytes) -> Iterator[_Stretch]:
    """Lines of one length, with the shorter one behind them, as one stretch each."""
    start = end = last = size = 0
    at = 0
    for line in [*_BREAK.finditer(letters), None]:
        stop = line.start() if line else len(letters)
        length = stop - at
        if end > start and length > size:
            yield _Stretch(start, end, last)
            end = start
        if end <= start:
            start = end = last = at
            size = length
        last = end if end > start else stop
        end = stop
        if length < size or line is None:
            yield _Stretch(start, end, last)
            start = end
        at = line.end() if line else stop


def _of_letters(letters: bytes, span: Span, keys: tuple[int, ...]) -> Iterator[Found]:
    if len(letters) < LEAST_LETTERS:
        return
    content = _guess(letters, keys)
    if content is not None:
        yield _found(span, *content)
        return
    end = 0
    for part in _parts(letters):
        if part.start < end or not _may_give(letters, part):
            continue
        content = _guess(letters[part.start : part.end], keys)
        if content is not None:
            end = part.end
            yield _found(Span(span.start + part.start, span.start + part.end), *content)


def _may_give(letters: bytes, part: Span) -> bool:
    """True for short parts, and for long ones that begin well: each of these is all the rest of the run."""
    head = letters[part.start : part.start + 2 * PROBE_BYTES]
    return part.end - part.start <= _LONGEST_PATH or is_promising(_probe(head))


def _parts(letters: bytes) -> Iterator[Span]:
    """Stretches between the letters that paths, words and the url-safe alphabet have.

    Of a long run what stands behind each of the first such letters, all of it.
    """
    if len(letters) > _LONGEST_PATH:
        for mark in islice(_MARK.finditer(letters, 0, _LONGEST_PATH), _MAX_MARKS):
            yield Span(mark.end(), len(letters))
        return
    if letters.isalnum() and len(letters) < _LEAST_FOR_HEX:
        return
    for pattern in (_PARTS, _INNER_PARTS, _HEX_RUN):
        for part in pattern.finditer(letters):
            if part.end() - part.start() < len(letters):
                yield Span(part.start(), part.end())


def _found(span: Span, encoding: str, content: Content) -> Found:
    names = "+".join((encoding, *content.layers))
    return Found(span.start, span.end - span.start, names, content.data, content.label)


def _guess(letters: bytes, keys: tuple[int, ...]) -> tuple[str, Content] | None:
    """The first reading of the letters that gives something."""
    if not letters.translate(None, _HEX):
        found = _of_hex(letters, keys)
        if found is not None or len(letters) in _DIGESTS:
            return found
    if not letters[:256].translate(None, _BASE32) and not letters.translate(None, _BASE32):
        return _of_base32(letters)
    return None if letters.isupper() else _of_base64(letters, keys)


def _of_hex(letters: bytes, keys: tuple[int, ...]) -> tuple[str, Content] | None:
    size = len(letters) & ~1
    head = bytes.fromhex(letters[: 2 * PROBE_BYTES & ~1][:size].decode("ascii"))
    if is_promising(head) or keys or len(letters) > _LONGEST_DIGEST:
        content = unwrapped(bytes.fromhex(letters[:size].decode("ascii")), keys)
        if content is not None:
            return "hex", content
    if size < 2 * _LONGEST_DIGEST:
        return None
    for name, made in (
        ("reversed hex", bytes.fromhex(letters[::-1][:size].decode("ascii"))),
        ("hex of reversed bytes", bytes.fromhex(letters[:size].decode("ascii"))[::-1]),
    ):
        if begins_a_file(made[:PROBE_BYTES]) and (content := unwrapped(made)) is not None:
            return name, content
    return None


def _of_base32(letters: bytes) -> tuple[str, Content] | None:
    size = len(letters) // 8 * 8
    if is_promising(base64.b32decode(letters[: min(size, 80)])):
        padded = letters + b"=" * (-len(letters) % 8)
        try:
            made = base64.b32decode(padded)
        except binascii.Error:
            made = base64.b32decode(letters[:size])
        content = unwrapped(made)
        return ("base32", content) if content else None
    return None


def _probe(letters: bytes) -> bytes:
    """The first bytes of base64."""
    head = letters[: PROBE_BYTES // 3 * 4 + 4].translate(_STANDARD, _NOT_LETTERS)
    return binascii.a2b_base64(head[: len(head) & ~3])


def _decoded(letters: bytes) -> bytes:
    """All bytes of base64 in either alphabet; a letter that is too many is left out."""
    plain = letters.translate(_STANDARD)
    rest = len(plain) % 4
    plain = plain[:-1] if rest == 1 else plain
    return binascii.a2b_base64(plain + b"=" * (-len(plain) % 4))


def _of_base64(letters: bytes, keys: tuple[int, ...]) -> tuple[str, Content] | None:
    mixed = (b"-" in letters or b"_" in letters) and (b"+" in letters or b"/" in letters)
    if not mixed and is_promising(_probe(letters)):
        content = unwrapped(_decoded(letters), keys)
        if content is not None:
            return "base64", content
    if mixed or len(letters) < _LEAST_FOR_GUESSES:
        return None
    if not _looks_encoded(letters[:256]) and not _looks_encoded(letters[-256:]):
        return None
    turned = letters[: -_LEAST_FOR_GUESSES * 2 - 1 : -1]
    if is_promising(_probe(turned)) and (content := unwrapped(_decoded(letters[::-1]))) is not None:
        return "reversed base64", content
    for start in (1, 2, 3):
        if is_promising(_probe(letters[start : start + 80])):
            content = unwrapped(_decoded(letters[start:]))
            if content is not None:
                return "base64", content
    content = unwrapped(_decoded(letters), keys) if len(letters) % 4 != 1 else None
    return ("base64", content) if content else None


def _looks_encoded(letters: bytes) -> bool:
    """Digits or many large letters, few marks, no long words: what base64 has."""
    marks = len(letters) - len(letters.translate(None, b"+/-_"))
    large = len(letters) - len(letters.translate(None, _UPPER))
    return (
        marks * 8 <= len(letters)
        and (_DIGIT.search(letters) is not None or large * 4 > len(letters))
        and _WORD.search(letters) is None
    )
