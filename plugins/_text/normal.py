"""The normal form of a text: what a script means, without the tricks that keep rules from seeing it.

Control letters, invisible letters, carets, ticks and line continuations go; entities and escapes of
letters and codes of single letters become the letters; literals that are joined become one; what a
`replace`, a reversal, a format or variables of the command shell make of constants is written behind
it. Letter case stays: rules have `nocase` for that. Each step is linear and runs only where the text
has what it is about; the text is meant for searching and need not run.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

from plugins._text.constants import derived
from plugins._text.gate import tricks_of

_ROUNDS = 3
_REVEALING = ("escapes", "char", "entities")
_CONTROL = bytes(set(range(32)) - {9, 10, 13}) + b"\x7f"
_TYPOGRAPHIC = (
    (b"\xe2\x80\x98", b"'"),
    (b"\xe2\x80\x99", b"'"),
    (b"\xe2\x80\x9c", b'"'),
    (b"\xe2\x80\x9d", b'"'),
    (b"\xe2\x80\x93", b"-"),
    (b"\xe2\x80\x94", b"-"),
)
"""Quotes and dashes that PowerShell takes for the plain ones."""
_INVISIBLE = (
    b"\xe2\x80\x8b",
    b"\xe2\x80\x8c",
    b"\xe2\x80\x8d",
    b"\xe2\x81\xa0",
    b"\xef\xbb\xbf",
    b"\xc2\xad",
)
_CONTINUED = (b"\\\n", b"\\\r\n", b"^\n", b"^\r\n", b" `\n", b" `\r\n")
_CONTINUED_IN_BASIC = re.compile(rb" _[ \t]{0,8}\r?\n")
_CARET_IN_WORD = re.compile(rb"\^(?=\w)(?<=\w\^)")
_CARET = re.compile(rb"\^(?=[^\s^])")
_TICK = re.compile(rb"`(?=\w)(?<=[\w.$-]`)")
_EMPTY_IN_WORD = (re.compile(rb"\"\"(?=\w)(?<=\w\"\")"), re.compile(rb"''(?=\w)(?<=\w'')"))
_ENTITY = re.compile(rb"&(?:#([0-9]{1,7})|#[xX]([0-9a-fA-F]{1,6})|([A-Za-z]{2,8}));?")
_NAMED = {
    b"lt": b"<", b"gt": b">", b"amp": b"&", b"quot": b'"', b"apos": b"'", b"nbsp": b" ", b"lpar": b"(",
    b"rpar": b")", b"colon": b":", b"sol": b"/", b"period": b".", b"comma": b",", b"semi": b";",
    b"equals": b"=", b"plus": b"+", b"num": b"#", b"excl": b"!", b"dollar": b"$", b"lsqb": b"[",
    b"lbrack": b"[", b"rsqb": b"]", b"rbrack": b"]", b"lcub": b"{", b"lbrace": b"{", b"rcub": b"}",
    b"rbrace": b"}", b"lowbar": b"_", b"bsol": b"\\", b"grave": b"`", b"ast": b"*", b"percnt": b"%",
    b"Tab": b"", b"NewLine": b"",
}  # fmt: skip
_ESCAPE = re.compile(
    rb"\\(?:x([2-7][0-9a-fA-F])|u00([2-7][0-9a-fA-F])|u\{0{0,4}([2-7][0-9a-fA-F])\}|([01][0-7]{2}))"
    rb"|%u00([2-7][0-9a-fA-F])|%([2-7][0-9a-fA-F])"
)
_CODE = re.compile(
    rb"(?:\bchr[wb]?\$?|\[char\]|\(char\)|\bunichr|\bchar|fromcharcode|fromcodepoint)\s{0,4}\(?\s{0,4}"
    rb"(?:(?:&h|0x)([0-9a-f]{1,4})|([0-9]{1,4}))&?\s{0,4}(?:\)|(?=[\s+&,.;)\]'\"]|\Z))",
    re.IGNORECASE,
)
_CODES = re.compile(
    rb"(?:fromcharcode|fromcodepoint)(?:\.(?:apply|call))?\s{0,4}\([^()\[\]0-9\"']{0,40}[(\[]?\s{0,8}"
    rb"((?:0x[0-9a-f]{1,4}|[0-9]{1,4})(?:\s{0,8},\s{0,8}(?:0x[0-9a-f]{1,4}|[0-9]{1,4}))++)\s{0,8}[)\]]{1,2}",
    re.IGNORECASE,
)
_JOIN = re.compile(rb"[\"'](?:[\s)]{0,8}(?:[+&.]|\|\|)[\s(]{0,40}|\r?\n[ \t]{0,80})[\"']")


class _Last(threading.local):
    """The last text and its normal form: the worker that searches and the one that decodes ask in turn."""

    text: bytes = b""
    form: bytes | None = None


_LAST = _Last()


def normal_form(text: bytes) -> bytes | None:
    """What a text in UTF-8 says otherwise than it stands there, or None where nothing is to be undone.

    The text whole where letters of it were undone, then a line for each constant that was worked out.
    """
    if text != _LAST.text:
        _LAST.form = _undone(text)
        _LAST.text = text
    return _LAST.form


def _undone(text: bytes) -> bytes | None:
    made = text.translate(None, _CONTROL)
    tricks = tricks_of(made)
    for _ in range(_ROUNDS):
        before = made
        for step in _STEPS:
            made = step(made, tricks)
        if made == before:
            break
        tricks, seen = tricks_of(made), tricks
        if seen.isdisjoint(_REVEALING):
            break
    extra = derived(made, tricks)
    parts = extra if made == text else [made, *extra]
    return b"\n".join(parts) if parts else None


def _without_typography(text: bytes, tricks: frozenset[str]) -> bytes:
    if "typography" in tricks and "powershell" in tricks:
        for letter, plain in _TYPOGRAPHIC:
            text = text.replace(letter, plain)
    if "invisible" in tricks:
        for letter in _INVISIBLE:
            text = text.replace(letter, b"")
    return text


def _without_continuations(text: bytes, tricks: frozenset[str]) -> bytes:
    if "continued" not in tricks:
        return text
    for mark in _CONTINUED:
        text = text.replace(mark, b"")
    return _CONTINUED_IN_BASIC.sub(b" ", text)


def _without_marks_in_words(text: bytes, _: frozenset[str]) -> bytes:
    if _CARET_IN_WORD.search(text):
        text = _CARET.sub(b"", text)
    text = _TICK.sub(b"", text)
    for pattern in _EMPTY_IN_WORD:
        text = pattern.sub(b"", text)
    return text


def _without_entities(text: bytes, tricks: frozenset[str]) -> bytes:
    return _ENTITY.sub(_entity, text) if "entities" in tricks else text


def _entity(found: re.Match[bytes]) -> bytes:
    decimal, hexadecimal, name = found.groups()
    if name is not None:
        return _NAMED.get(name, found.group())
    return _letter(int(decimal) if decimal else int(hexadecimal, 16), found.group())


def _letter(code: int, otherwise: bytes) -> bytes:
    """A letter as UTF-8; control letters and what Unicode does not have stay as they were written."""
    if 32 <= code < 127 or code in (9, 10, 13):
        return bytes((code,))
    return chr(code).encode() if 160 <= code < 0xD800 else otherwise


def _without_escapes(text: bytes, tricks: frozenset[str]) -> bytes:
    return _ESCAPE.sub(_unescaped, text) if "escapes" in tricks else text


def _unescaped(found: re.Match[bytes]) -> bytes:
    at = found.lastindex or 0
    code = int(found.group(at), 8 if at == 4 else 16)
    return bytes((code,)) if 32 <= code < 127 else found.group()


def _without_codes(text: bytes, tricks: frozenset[str]) -> bytes:
    if "char" not in tricks:
        return text
    return _CODE.sub(_code, _CODES.sub(_codes, text))


def _code(found: re.Match[bytes]) -> bytes:
    return _quoted(_letter(int(found[1], 16) if found[1] else int(found[2]), b""), found.group())


def _codes(found: re.Match[bytes]) -> bytes:
    texts = (code.strip().lower() for code in found[1].split(b","))
    codes = [int(code, 16 if code.startswith(b"0x") else 10) for code in texts]
    return _quoted(b"".join(_letter(code, b"") for code in codes), found.group())


def _quoted(letters: bytes, otherwise: bytes) -> bytes:
    """A literal; the quote itself would end it."""
    return b'"%b"' % letters.replace(b'"', b"'") if letters else otherwise


def _with_joined_literals(text: bytes, tricks: frozenset[str]) -> bytes:
    # what the codes of letters became may be joined now
    if tricks.isdisjoint(("literals", "char", "continued")):
        return text
    return _JOIN.sub(b"", text)


_STEPS: tuple[Callable[[bytes, frozenset[str]], bytes], ...] = (
    _without_typography,
    _without_continuations,
    _without_marks_in_words,
    _without_entities,
    _without_escapes,
    _without_codes,
    _with_joined_literals,
)
