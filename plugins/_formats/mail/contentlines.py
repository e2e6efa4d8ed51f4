"""Read the lines of calendars (RFC 5545, 3.1) and contacts (RFC 6350, 3.3; vCard 2.1) that carry files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from plugins._formats.mail.transfer import base64_readings, quoted_printable

_FOLD = re.compile(rb"(?<!=)(?<!=\r)(?:\r{0,3}\n|\r)[ \t]")
_LINE = re.compile(rb"[^\r\n]+")
_SPLIT = re.compile(rb'(?:[^:"\r\n]|"[^"\r\n]*+(?:"|$|(?=[\r\n])))*+:')
_BASE64_LINE = re.compile(rb"[A-Za-z0-9+/=\t ]+")
_DATA = re.compile(rb"\s*data:([^,]{0,300}),", re.IGNORECASE)
_BASE64 = ("BASE64", "B", "BASE-64")
"""As a value, or (vCard 2.1) a parameter without one."""
_NAME_BYTES = 4_096
_SHORT = 16
"""Less is no file."""


def unfolded(text: bytes) -> bytes | None:
    """The text with its folds undone, which split words anywhere; None for one without any."""
    made = _FOLD.sub(b"", text)
    return made if len(made) < len(text) else None


class Value(NamedTuple):
    """One decoded value: of which property, under which name and type, as the line states them."""

    prop: str
    name: str
    kind: str
    content: bytes


class _Line(NamedTuple):
    prop: str
    parameters: dict[str, str]
    value: bytes


def values(text: bytes) -> Iterator[Value]:
    """Every value in base64 or quoted-printable, and every `data:` URI; linear."""
    for line in _lines(_FOLD.sub(b"", text)):
        said = line.parameters
        encoding = said.get("ENCODING", "").upper()
        name = said.get("FILENAME") or said.get("X-FILENAME") or said.get("X-APPLE-FILENAME") or ""
        kind = said.get("FMTTYPE") or said.get("TYPE") or said.get("MEDIATYPE") or ""
        uri = _DATA.match(line.value[:400])
        if uri:
            content, kind = _of_uri(line.value[uri.end() :], uri.group(1).decode("latin-1").lower())
        elif encoding in _BASE64 or said.get("VALUE", "").upper() == "BINARY" or "BASE64" in said:
            content = base64_readings(line.value)[0].content
        elif encoding in ("QUOTED-PRINTABLE", "Q") or "QUOTED-PRINTABLE" in said:
            content = quoted_printable(line.value)
        else:
            continue
        if len(content) >= _SHORT:
            yield Value(line.prop, name, kind, content)


def _of_uri(data: bytes, head: str) -> tuple[bytes, str]:
    kind = head.partition(";")[0]
    plain = unquote_to_bytes(data)
    return (base64_readings(plain)[0].content if "base64" in head else plain), kind


def _lines(text: bytes) -> Iterator[_Line]:
    """Each line with the ones behind it that belong to it: vCard 2.1 folds base64 without a mark."""
    prop = ""
    said: dict[str, str] = {}
    parts = [b""]
    for found in _LINE.finditer(text):
        raw = found.group()
        soft = bool(parts[-1]) and parts[-1].endswith(b"=") and "QUOTED-PRINTABLE" in str(said).upper()
        if prop and (soft or _BASE64_LINE.fullmatch(raw)):
            parts.append(b"\r\n" + raw)
            continue
        if prop:
            yield _Line(prop, said, b"".join(parts))
        head = _SPLIT.match(raw, 0, min(len(raw), _NAME_BYTES))
        if head is None:
            prop = ""
            continue
        prop, said = _head(head.group()[:-1].decode("utf-8", "replace"))
        parts = [raw[head.end() :]]
    if prop:
        yield _Line(prop, said, b"".join(parts))


def _head(text: str) -> tuple[str, dict[str, str]]:
    name, *pieces = re.findall(r'(?:[^;"]|"[^"]*+(?:"|$))++', text) or [""]
    said: dict[str, str] = {}
    for piece in pieces:
        key, _, value = piece.partition("=")
        said.setdefault(key.strip().upper(), value.strip().strip('"'))
    return name.rpartition(".")[2].strip().upper()[:60], said
