"""What a script makes of its own constants: reversed, replaced, formatted, joined, put into variables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from stoq_core.limits import KiB

_LITERAL = re.compile(rb"\"([^\"\r\n]{4,})\"|'([^'\r\n]{4,})'")
_REPLACE = re.compile(
    rb"(?:replace(?:all)?|substitute)\s{0,4}\(?[^\"'/\r\n]{0,80}"
    rb"(?:\"([^\"\r\n]{1,40})\"|'([^'\r\n]{1,40})'|/([^/\r\n]{1,40})/[gimsu]{0,4})"
    rb"(?:\s{0,8}[,)]{1,2}\s{0,8}(?:\"([^\"\r\n]{0,40})\"|'([^'\r\n]{0,40})'|\[string\]::empty|\$null|none"
    rb"|vbnullstring)|(?=\s{0,4}[);|\r\n]))"
)
"""To be searched for in the text in small letters."""
_FORMAT = re.compile(
    rb"(?:\"([^\"\r\n]{0,4096}\{[0-9]{1,3}\}[^\"\r\n]{0,4096})\"|'([^'\r\n]{0,4096}\{[0-9]{1,3}\}[^'\r\n]{0,4096})')"
    rb"\s{0,4}\)?\s{0,4}-f\s{0,4}"
    rb"(\(?\s{0,4}(?:\"[^\"\r\n]{0,400}\"|'[^'\r\n]{0,400}')"
    rb"(?:[\s()]{0,8},[\s()]{0,8}(?:\"[^\"\r\n]{0,400}\"|'[^'\r\n]{0,400}'))*+)",
    re.IGNORECASE,
)
_PLACE = re.compile(rb"\{([0-9]{1,3})\}")
_QUOTED = re.compile(rb"\"([^\"\r\n]*+)\"|'([^'\r\n]*+)'")
_ARRAY = re.compile(
    rb"(?:\"[^\"\r\n]*+\"|'[^'\r\n]*+')(?:\s{0,40},\s{0,40}(?:\"[^\"\r\n]*+\"|'[^'\r\n]*+'))++"
)
_SET = re.compile(
    rb"^[ \t@(]{0,16}set[ \t]{1,8}\"?([A-Za-z_][\w]{0,40})=([^\"\r\n&|]{0,400})", re.IGNORECASE | re.MULTILINE
)
_VARIABLE = re.compile(
    rb"[%!]([A-Za-z_]\w{0,40})(?::~(-?[0-9]{1,4})(?:,(-?[0-9]{1,4}))?|:([^=%!\r\n]{1,40})=([^%!\r\n]{0,40}))?[%!]"
)
_ENVIRONMENT = {
    b"comspec": rb"C:\WINDOWS\system32\cmd.exe",
    b"public": rb"C:\Users\Public",
    b"programfiles": rb"C:\Program Files",
    b"commonprogramfiles": rb"C:\Program Files\Common Files",
    b"systemroot": rb"C:\WINDOWS",
    b"windir": rb"C:\WINDOWS",
    b"systemdrive": b"C:",
    b"programdata": rb"C:\ProgramData",
    b"allusersprofile": rb"C:\ProgramData",
    b"pathext": b".COM;.EXE;.BAT;.CMD;.VBS;.VBE;.JS;.JSE;.WSF;.WSH;.MSC",
    b"os": b"Windows_NT",
}
_MIN_REVERSED = 6
_MAX_PAIRS = 64
_PLAIN = re.compile(rb"\\(.)")


def derived(text: bytes, tricks: frozenset[str]) -> list[bytes]:
    """The texts that the script's own words make of its constants."""
    made: list[bytes] = []
    if "set" in tricks and (b"%" in text or b"!" in text):
        made.extend(_with_variables(text))
    if "format" in tricks:
        made.extend(_formatted(text))
    if "join" in tricks and "pieces" in tricks:
        made.extend(_joined(text))
    if "replace" in tricks:
        made.extend(_replaced(text))
    if "reverse" in tricks:
        made.extend(literal[::-1] for literal in _literals(text, _MIN_REVERSED))
    return made


def _literals(text: bytes, least: int) -> Iterator[bytes]:
    for found in _LITERAL.finditer(text):
        literal = found[1] or found[2]
        if len(literal) >= least:
            yield literal


def _replaced(text: bytes) -> Iterator[bytes]:
    """Literals in which something was to be replaced, after each replacement that the text names."""
    pairs = list(dict.fromkeys(_pairs(text)))[:_MAX_PAIRS]
    if not pairs:
        return
    for literal in _literals(text, 8):
        made = literal
        for old, new in pairs:
            made = made.replace(old, new)
        if made != literal and len(made) >= 4:
            yield made


def _pairs(text: bytes) -> Iterator[tuple[bytes, bytes]]:
    for found in _REPLACE.finditer(text.lower()):
        parts = [text[found.start(at) : found.end(at)] if found.start(at) >= 0 else b"" for at in range(1, 6)]
        old = parts[0] or parts[1] or _PLAIN.sub(rb"\1", parts[2])
        new = parts[3] or parts[4]
        if old and old != new and len(new) <= 4 * len(old):
            yield old, new


def _formatted(text: bytes) -> Iterator[bytes]:
    for found in _FORMAT.finditer(text):
        parts = [part[1] or part[2] or b"" for part in _QUOTED.finditer(found[3])]
        yield _PLACE.sub(partial(_part, parts), found[1] or found[2])


def _part(parts: list[bytes], place: re.Match[bytes]) -> bytes:
    at = int(place[1])
    return parts[at] if at < len(parts) else b""


def _joined(text: bytes) -> Iterator[bytes]:
    for found in _ARRAY.finditer(text):
        parts = [part[1] or part[2] or b"" for part in _QUOTED.finditer(found.group())]
        yield b"".join(parts)
        if len(parts) > 2:
            yield b"".join(reversed(parts))


def _with_variables(text: bytes) -> Iterator[bytes]:
    """The text of a batch file with what it has put into variables."""
    room = 4 * len(text) + 64 * KiB
    variables = _Variables(room)
    for found in _SET.finditer(text):
        variables.values[found[1].lower()] = variables.expanded(found[2])
    variables.room = room
    made = variables.expanded(text)
    if made != text:
        yield made


class _Variables:
    """The values of variables, and how many bytes (`room`) their places may still be filled with."""

    def __init__(self, room: int) -> None:
        self.values = dict(_ENVIRONMENT)
        self.room = room

    def expanded(self, text: bytes) -> bytes:
        """The text with values for names; as it stands where the room is used up."""
        return _VARIABLE.sub(self._value, text)

    def _value(self, found: re.Match[bytes]) -> bytes:
        value = self.values.get(found[1].lower())
        if value is None or len(value) > self.room:
            return found.group()
        if found[2] is not None:
            start = int(found[2])
            value = value[start:] if start >= 0 or -start <= len(value) else value
            value = value[: int(found[3])] if found[3] is not None else value
        elif found[4]:
            value = value.replace(found[4], found[5])
        self.room -= len(value)
        return value
