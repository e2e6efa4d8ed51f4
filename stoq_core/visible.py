"""Text of hostile files as it may be shown: nothing in it moves, hides or turns what stands around it."""

from __future__ import annotations

import re

_NOT_PLAIN = re.compile(r"[^ -\[\]-~]")
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Characters that count as printable and show nothing (Unicode, Default_Ignorable_Code_Point; Braille)."""
_BLANK_RANGES = ((0x180B, 0x180F), (0xFE00, 0xFE0F), (0xE0000, 0xE0FFF))


def visible(text: str, *, keep: str = "") -> str:
    r"""The text with each control, direction mark and invisible character as `\u202e` or `\U000e0001`.

    A backslash is doubled, so that no text looks like an escape that it is not; `keep` stay as they are.
    """
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return _NOT_PLAIN.sub(lambda found: found[0] if found[0] in keep else _shown(found[0]), text)


def visible_json(text: str) -> str:
    """The same JSON, with those characters written as JSON's own escapes."""
    if text.isascii() and "\x7f" not in text:
        return text
    return _NOT_PLAIN.sub(lambda found: _in_json(found[0]), text)


def _hidden(one: str) -> bool:
    number = ord(one)
    return not one.isprintable() or one in _BLANK or any(low <= number <= high for low, high in _BLANK_RANGES)


def _shown(one: str) -> str:
    if one == "\\":
        return "\\\\"
    if not _hidden(one):
        return one
    return f"\\u{ord(one):04x}" if ord(one) < 0x10000 else f"\\U{ord(one):08x}"


def _in_json(one: str) -> str:
    if one in "\\\n\r\t" or not _hidden(one):
        return one
    units = one.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
