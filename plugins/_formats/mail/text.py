"""Turn the bytes of a mail into text: charsets, encoded words (RFC 2047), names without controls."""

from __future__ import annotations

import binascii
import codecs
import re
from typing import Any

from plugins._formats.mail.transfer import base64_run

_WORD = re.compile(r"=\?([^?\s*]{1,60})(?:\*[^?\s]{0,20})?\?([bBqQ])\?([^?\r\n]*+)\?=")
_GAP = re.compile(r"(?<=\?=)[ \t\r\n]{1,200}(?==\?)")
_NOT_FOR_MAIL = frozenset(
    {
        "idna",
        "punycode",
        "undefined",
        "unicode_escape",
        "raw_unicode_escape",
        "mbcs",
        "oem",
        "base64",
        "bz2",
        "hex",
        "quopri",
        "rot13",
        "uu",
        "zlib",
    }
)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_ASCII = bytes(range(32, 127))
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")


def to_text(raw: bytes, charset: str | None = None) -> str:
    """Bytes as text by the charset that the mail names, where it is one for mail; else UTF-8 or Latin-1."""
    for name in (charset, "utf-8"):
        codec = _codec(name or "utf-8")
        if codec is None:
            continue
        try:
            return raw.decode(codec)
        except (LookupError, UnicodeError, ValueError):
            continue
    return raw.decode("latin-1")


def in_ascii(raw: bytes, charset: str) -> bytes | None:
    """Text in a charset whose ASCII letters are other bytes (UTF-16, UTF-7, EBCDIC), as UTF-8; else None.

    Rules and clients see different words in such a text, so that it has to be scanned in both forms.
    """
    codec = _codec(charset)
    if codec is None:
        return None
    try:
        if _ASCII.decode(codec) == _ASCII.decode("ascii"):
            return None
    except (LookupError, UnicodeError, ValueError):
        pass
    try:
        made = raw.decode(codec, "replace").encode("utf-8", "replace")
    except (LookupError, UnicodeError, ValueError):
        return None
    return made if made != raw else None


def _codec(name: str) -> str | None:
    try:
        found = codecs.lookup(name.strip("\"' "))
    except (LookupError, UnicodeError, ValueError):
        return None
    return None if found.name in _NOT_FOR_MAIL else found.name


def header_text(raw: bytes) -> str:
    """A header's value unfolded, with encoded words (RFC 2047) and raw 8-bit bytes decoded."""
    text = raw.decode("ascii") if raw.isascii() else to_text(raw)
    if "=?" in text:
        text = _WORD.sub(_word, _GAP.sub("", text))
    return " ".join(text.split()) if "\n" in text or "\r" in text else text.strip()


def _word(found: re.Match[str]) -> str:
    charset, how, text = found.groups()
    raw = text.encode("utf-8", "replace")
    raw = base64_run(_NOT_BASE64.sub(b"", raw)) if how in "bB" else binascii.a2b_qp(raw, header=True)
    return to_text(raw, charset)


def clean_name(name: Any) -> str:
    """A file name without control characters; direction marks stay, since they are evidence."""
    return _CONTROLS.sub(" ", str(name)).strip()[:1_000]


_PAGES = {
    1200: "utf-16-le", 1201: "utf-16-be", 20127: "ascii", 20866: "koi8_r", 21866: "koi8_u",
    50220: "iso2022_jp", 50221: "iso2022_jp", 51932: "euc_jp", 51936: "gb2312", 51949: "euc_kr",
    52936: "hz", 54936: "gb18030",
    65000: "utf-7", 65001: "utf-8",
    **{28590 + number: f"iso8859_{number}" for number in (*range(1, 12), 13, 14, 15, 16)},
}  # fmt: skip
"""Windows' numbers of code pages that Python does not know as `cp…`."""


def codec_of(page: int) -> str:
    """Python's name for a Windows code page; cp1252 for one that it does not know."""
    try:
        return codecs.lookup(_PAGES.get(page, f"cp{page}")).name
    except LookupError:
        return "cp1252"
