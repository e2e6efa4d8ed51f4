"""Encodings that name themselves: uuencode, xxencode, yEnc, Ascii85, base91, Git's patches, others.

Each is looked for only where its own words stand in the text (see `plugins._text.gate`).
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Callable, Iterator
from itertools import takewhile

from plugins._formats.encodings.screnc import scripts_in
from plugins._formats.encodings.spans import Found, Span
from plugins._formats.encodings.worth import MIN_BYTES, PROBE_BYTES, is_legible, is_promising, unwrapped
from plugins._formats.mail.transfer import uuencoded, yencoded

_XX_LETTERS = b"+-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_UU_LETTERS = bytes(range(32, 96))
_FROM_XX = bytes.maketrans(_XX_LETTERS, _UU_LETTERS)
_XX_BLOCK = re.compile(
    rb"^begin[ \t]{1,4}[0-7]{3,4}[ \t]{1,4}[^\r\n]{1,255}\r?\n((?:[+\-0-9A-Za-z]{1,62}[ \t]{0,4}\r?\n)++)",
    re.MULTILINE,
)
_EMPTY_LINE = b" "
_ASCII85 = re.compile(rb"<~([!-uz\s]++)~?>")
_GIT_LITERAL = re.compile(
    rb"^literal ([0-9]{1,9})\r?\n((?:[A-Za-z][0-9A-Za-z!#$%&()*+;<=>?@^_`{|}~-]{5,65}\r?\n)++)", re.MULTILINE
)
_LITERAL_85 = re.compile(rb"[\"']([0-9A-Za-z!#$%&()*+;<=>?@^_`{|}~.:/\[\]-]{25,}+)[\"']")
_LITERAL_91 = re.compile(rb"[\"']([A-Za-z0-9!#$%&()*+,./:;<=>?@\[\]^_`{|}~]{20,}+)[\"']")
_QP_HEX = re.compile(rb"=[0-9A-F]{2}|=[ \t]{0,4}\r?\n")
_LEAST_QP = 4
_UTF7 = re.compile(rb"\+(?:A[A-Za-z0-9+/]{2,})-?")
_LEAST_UTF7 = 2
_BASE91 = b'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&()*+,./:;<=>?@[]^_`{|}~"'
_Z85 = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_B85 = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
_FROM_Z85 = bytes.maketrans(_Z85, _B85)
_PUNCTUATION = re.compile(rb"[!#$%&()*+;<=>?@^_`{|}~.:\[\]-]")


_FILES = frozenset(("uuencode", "xxencode", "yenc", "git patch"))


def found_in(text: bytes, tricks: frozenset[str], keys: tuple[int, ...] = ()) -> Iterator[Found]:
    """What the text's own words say that it is encoded with."""
    for trick, read in _READERS.items():
        if trick in tricks:
            for span, encoding, data in read(text):
                yield from _judged(span, encoding, data, keys)
    if "base85" in tricks:
        yield from _of_literals(text, keys)


def _judged(span: Span, encoding: str, data: bytes, keys: tuple[int, ...]) -> Iterator[Found]:
    """What holds files by its nature is given even where it is of no known type."""
    content = unwrapped(data, keys)
    size = span.end - span.start
    if content is not None:
        names = "+".join((encoding, *content.layers))
        yield Found(span.start, size, names, content.data, content.label)
    elif len(data) >= MIN_BYTES and encoding in _FILES:
        yield Found(span.start, size, encoding, data, "unknown")


def _uu(text: bytes) -> Iterator[tuple[Span, str, bytes]]:
    everything = Span(0, len(text))
    for decoded in uuencoded(text):
        yield everything, "uuencode", decoded.content
    for found in _XX_BLOCK.finditer(text):
        lines = found[1].translate(_FROM_XX, b" \t\r").split(b"\n")
        data = takewhile(lambda line: line != _EMPTY_LINE, filter(None, lines))
        made = b"".join(map(_xx_line, data))
        if is_promising(made[:PROBE_BYTES]):
            yield Span(found.start(), found.end()), "xxencode", made


def _xx_line(line: bytes) -> bytes:
    size = (line[0] - 32) & 63
    groups = (size + 2) // 3
    try:
        return binascii.a2b_uu(bytes((32 + 3 * groups,)) + line[1 : 1 + 4 * groups])[:size]
    except binascii.Error:
        return b""


def _yenc(text: bytes) -> Iterator[tuple[Span, str, bytes]]:
    for decoded in yencoded(text):
        yield Span(0, len(text)), "yenc", decoded.content


def _scripts(text: bytes) -> Iterator[tuple[Span, str, bytes]]:
    for script in scripts_in(text):
        yield Span(script.offset, script.offset + script.size), "script encoder", script.data


def _ascii85(text: bytes) -> Iterator[tuple[Span, str, bytes]]:
    for found in _ASCII85.finditer(text):
        try:
            yield Span(found.start(), found.end()), "ascii85", base64.a85decode(found[1])
        except ValueError:
            continue


def _git(text: bytes) -> Iterator[tuple[Span, str, bytes]]:
    """`literal` blocks of binary patches: a letter for the length, base85 of a zlib stream."""
    for found in _GIT_LITERAL.finditer(text):
        packed = []
        for line in found[2].split():
            size = line[0] - 64 if line[:1].isupper() else line[0] - 70
            packed.append(_from_base85(line[1:])[:size])
        yield Span(found.start(), found.end()), "git patch", b"".join(packed)


def _from_base85(letters: bytes) -> bytes:
    try:
        return base64.b85decode(letters)
    except ValueError:
        return b""


def _base91(text: bytes) -> Iterator[tuple[Span, str, bytes]]:
    for found in _LITERAL_91.finditer(text):
        if is_promising(_from_base91(found[1][:80])):
            yield Span(found.start(1), found.end(1)), "base91", _from_base91(found[1])


def _from_base91(letters: bytes) -> bytes:
    """Thirteen or fourteen bits a pair of letters (basE91, Joachim Henke)."""
    made = bytearray()
    bits = count = 0
    values = [_BASE91.find(letter) for letter in letters]
    for low, high in zip(values[::2], values[1::2], strict=False):
        value = low + high * 91
        bits |= value << count
        count += 13 if (value & 8191) > 88 else 14
        while count > 7:
            made.append(bits & 255)
            bits >>= 8
            count -= 8
    if len(values) % 2:
        made.append((bits | values[-1] << count) & 255)
    return bytes(made)


def _quoted_printable(text: bytes) -> Iterator[tuple[Span, str, bytes]]:
    """A text of quoted-printable lines (RFC 2045, 6.7)."""
    marks = _QP_HEX.findall(text[: 64 * 1024])
    if (
        len(marks) >= _LEAST_QP
        and len(set(marks)) > 1
        and any(mark[1:2].isspace() or mark == b"=3D" for mark in marks)
    ):
        yield Span(0, len(text)), "quoted-printable", binascii.a2b_qp(text)


def _utf7(text: bytes) -> Iterator[tuple[Span, str, bytes]]:
    if len(_UTF7.findall(text)) >= _LEAST_UTF7:
        made = codecs.decode(text, "utf-7", "ignore").encode("utf-8", "ignore")
        if made != text:
            yield Span(0, len(text)), "utf-7", made


def _rot13(text: bytes) -> Iterator[tuple[Span, str, bytes]]:
    yield Span(0, len(text)), "rot13", text.translate(_ROT13)


_ROT13 = bytes(
    (letter - first + 13) % 26 + first if first else letter
    for letter in range(256)
    for first in (65 if 65 <= letter < 91 else 97 if 97 <= letter < 123 else 0,)
)
_READERS: dict[str, Callable[[bytes], Iterator[tuple[Span, str, bytes]]]] = {
    "uu": _uu,
    "yenc": _yenc,
    "vbe": _scripts,
    "ascii85": _ascii85,
    "git": _git,
    "base91": _base91,
    "qp": _quoted_printable,
    "utf7": _utf7,
    "rot13": _rot13,
}


def _of_literals(text: bytes, keys: tuple[int, ...]) -> Iterator[Found]:
    """Literals of the letters of base85, Ascii85 or Z85: told by what their first letters give."""
    for found in _LITERAL_85.finditer(text):
        letters = found[1]
        if len(_PUNCTUATION.findall(letters, 0, 80)) < 4:
            continue
        for name, decode in _BASES:
            if not is_promising(decode(letters[:60])):
                continue
            content = unwrapped(decode(letters), keys)
            if content is not None:
                names = "+".join((name, *content.layers))
                yield Found(found.start(1), len(letters), names, content.data, content.label)
                break


def _from_ascii85(letters: bytes) -> bytes:
    try:
        return base64.a85decode(letters)
    except ValueError:
        return b""


_BASES: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    ("base85", _from_base85),
    ("ascii85", _from_ascii85),
    ("z85", lambda letters: _from_base85(letters.translate(_FROM_Z85)) if len(letters) % 5 == 0 else b""),
)


def of_ebcdic(data: bytes) -> Found | None:
    """The text of EBCDIC (code pages 037 and 1047), or None: letters, blanks and few bytes of ASCII."""
    sample = data[:4096]
    letters = len(sample) - len(sample.translate(None, _EBCDIC_LETTERS))
    if len(sample) < MIN_BYTES or letters * 10 < len(sample) * 9 or not sample.count(0x40):
        return None
    made = data.decode("cp037").replace("\x85", "\n").encode("utf-8")
    return Found(0, len(data), "ebcdic", made, "text") if is_legible(made[:4096], cut=True) else None


_EBCDIC_LETTERS = "".join(map(chr, range(32, 127))).encode("cp037") + b"\x15\x25\x0d\x05"
