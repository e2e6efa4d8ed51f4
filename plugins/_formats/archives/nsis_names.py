"""What an NSIS script calls the blocks of its data: the few of its instructions that name files."""

from __future__ import annotations

import struct

from .entry import name_of

_BLOCKS = struct.Struct("<4x8I")  # behind flags: offset and number of pages, sections, entries, strings
_ENTRY = struct.Struct("<7I")  # the instruction and its six parameters
_CREATE_FOLDER, _EXTRACT = 11, 20
_MOST_ENTRIES = 20_000
_NAME_BYTES = 1_024
_VARIABLES = [
    *(f"${n}" for n in range(10)), *(f"$R{n}" for n in range(10)), "$CMDLINE", "$INSTDIR", "$OUTDIR",
    "$EXEDIR", "$LANGUAGE", "$TEMP", "$PLUGINSDIR", "$EXEPATH", "$EXEFILE", "$HWNDPARENT", "$_CLICK",
    "$_OUTDIR",
]  # fmt: skip


def names_of(script: bytes) -> dict[int, str]:
    """Names by where their block begins in the data; what does not hold gives fewer names, never an error."""
    if len(script) < _BLOCKS.size:
        return {}
    _, _, _, _, entries, count, strings, _ = _BLOCKS.unpack_from(script)
    texts = _Strings(script, strings)
    found: dict[int, str] = {}
    folder = ""
    for n in range(min(count, _MOST_ENTRIES)):
        at = entries + n * _ENTRY.size
        if at + _ENTRY.size > len(script):
            break
        which, first, second, third, *_ = _ENTRY.unpack_from(script, at)
        if which == _CREATE_FOLDER and second:
            folder = texts.at(first)
        elif which == _EXTRACT:
            name = texts.at(second)
            if name and third not in found:
                found[third] = name if name.startswith("$") or not folder else f"{folder}/{name}"
    return found


class _Strings:
    """The script's texts: UTF-16 since version 3 if wanted, else one byte a letter; variables are numbers."""

    def __init__(self, script: bytes, start: int) -> None:
        self._script = script
        self._start = start
        self._wide = script[start : start + 2] == b"\0\0"

    def at(self, index: int) -> str:
        """The text that begins at that letter, with slashes; empty where there is none."""
        begin = self._start + index * (2 if self._wide else 1)
        raw = self._script[begin : begin + _NAME_BYTES]
        return (self._wide_text(raw) if self._wide else self._narrow_text(raw)).replace("\\", "/")

    def _wide_text(self, raw: bytes) -> str:
        made, words = "", iter(memoryview(raw[: len(raw) & ~1]).cast("H"))
        for word in words:
            if not word:
                break
            made += chr(word) if word > 4 else _special(word, next(words, 0))
        return made.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _narrow_text(self, raw: bytes) -> str:
        made, letters = "", iter(raw)
        for letter in letters:
            if not letter:
                break
            if letter > 4 and letter < 252:
                made += name_of(bytes([letter]), "cp1252")
            else:
                code = letter if letter <= 4 else 256 - letter
                made += _special(code, next(letters, 0) | next(letters, 0) << 8)
        return made


def _special(code: int, value: int) -> str:
    """A variable by its name; other codes by their number (language, folder of the shell)."""
    number = value & 0x7F | (value & 0x7F00) >> 1
    if code == 3:
        return _VARIABLES[number] if number < len(_VARIABLES) else f"$var{number}"
    return f"$shell{value & 0xFF}" if code == 2 else f"$text{number}"
