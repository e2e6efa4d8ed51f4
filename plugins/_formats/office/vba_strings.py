"""Undo what hides strings in VBA source: `Chr(72) & "i"`, reversed, hexadecimal and base64 literals."""

from __future__ import annotations

import base64
import binascii
import re

_NUMBER = r"(?:&H[0-9A-Fa-f]{1,8}&?|\d{1,9})"
_PIECE = re.compile(
    r'"(?P<text>(?:[^"\r\n]|"")*+)"'
    rf"|\bchr[bw]?\$?\s{{0,4}}\(\s{{0,4}}(?P<sum>{_NUMBER}(?:\s{{0,4}}(?:[-+*]|xor)\s{{0,4}}{_NUMBER}){{0,6}})\s{{0,4}}\)"
    r'|\bstrreverse\$?\s{0,4}\(\s{0,4}"(?P<back>(?:[^"\r\n]|"")*+)"\s{0,4}\)',
    re.IGNORECASE,
)
_JOIN = re.compile(r"[ \t]{0,20}[&+][ \t]{0,20}")
_PART = re.compile(rf"(?P<op>[-+*]|xor)?\s{{0,4}}(?P<number>{_NUMBER})", re.IGNORECASE)
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}){6,}+")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{16,}+={0,2}")
_PRINTABLE = re.compile(r"[\t\r\n\x20-\x7e\u00a0-\u00ff]{4,}")
_MOST, _MOST_CHARS = 500, 2_000


def decoded(source: str) -> list[tuple[str, str, str]]:
    """At most 500 of (how, as written, as meant); `how` is `expression`, `reversed`, `hex` or `base64`."""
    found: dict[tuple[str, str], str] = {}
    pieces: list[tuple[int, int, str, str]] = []
    for match in _PIECE.finditer(source):
        how, text = _meaning(match)
        if pieces and _JOIN.fullmatch(source, pieces[-1][1], match.start()):
            pieces.append((match.start(), match.end(), how, text))
            continue
        _finish(source, pieces, found)
        pieces = [(match.start(), match.end(), how, text)]
        if len(found) >= _MOST:
            break
    _finish(source, pieces, found)
    return [(how, written, meant) for (how, written), meant in found.items()][:_MOST]


def _finish(source: str, pieces: list[tuple[int, int, str, str]], found: dict[tuple[str, str], str]) -> None:
    if not pieces:
        return
    written = source[pieces[0][0] : pieces[-1][1]][:_MOST_CHARS]
    meant = "".join(one[3] for one in pieces)
    if len(pieces) > 1 or pieces[0][2] != "text":
        how = "reversed" if len(pieces) == 1 and pieces[0][2] == "reversed" else "expression"
        found.setdefault((how, written), meant[:_MOST_CHARS])
    for how, plain in _unpacked(meant):
        found.setdefault((how, written), plain[:_MOST_CHARS])


def _unpacked(text: str) -> list[tuple[str, str]]:
    """What the whole of a literal says when it is hexadecimal or base64 and reads as text."""
    made: list[tuple[str, bytes]] = []
    if _HEX.fullmatch(text):
        made.append(("hex", bytes.fromhex(text)))
    elif len(text) % 4 == 0 and _BASE64.fullmatch(text):
        try:
            made.append(("base64", base64.b64decode(text)))
        except (binascii.Error, ValueError):
            return []
    found = []
    for how, raw in made:
        wide = len(raw) > 4 and not any(raw[1:40:2])
        plain = raw.decode("utf-16-le" if wide else "latin-1", "replace")
        if _PRINTABLE.fullmatch(plain):
            found.append((how, plain))
    return found


def _meaning(match: re.Match[str]) -> tuple[str, str]:
    if match["text"] is not None:
        return "text", match["text"].replace('""', '"')
    if match["back"] is not None:
        return "reversed", match["back"].replace('""', '"')[::-1]
    value = 0
    for part in _PART.finditer(match["sum"]):
        number = part["number"].rstrip("&")
        operand = int(number.upper().replace("&H", "0x"), 0) if number[0] == "&" else int(number)
        value = _apply(value, (part["op"] or "+").lower(), operand)
    return "char", chr(value & 0xFFFF) if not 0xD800 <= value & 0xFFFF < 0xE000 else ""


def _apply(left: int, op: str, right: int) -> int:
    if op == "xor":
        return left ^ right
    return (left * right if op == "*" else left - right if op == "-" else left + right) & 0xFFFFFFFFFFFF
