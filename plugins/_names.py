"""What a file name alone gives away: a hidden extension, or an executable dressed as a document."""

from __future__ import annotations

import re

_RUNS = "exe|scr|pif|com|bat|cmd|cpl|msi|msp|hta|js|jse|vbs|vbe|wsf|wsh|ps1|lnk|jar|reg|dll|iso|img|vhd|scf|url|chm"
_DRESSED = re.compile(
    rf"\.(?:pdf|docx?|xlsx?|pptx?|rtf|txt|csv|odt|ods|jpe?g|png|gif|bmp|tiff?|mp[34]|avi|wav|html?|eml|msg)"
    rf"[\s_.\u00a0\u2000-\u200b]{{0,200}}\.(?:{_RUNS})\s*$",
    re.IGNORECASE,
)
_EXECUTABLE = re.compile(rf"\.(?:{_RUNS})\s*$", re.IGNORECASE)
_DIRECTIONS = frozenset("\u202e\u202d\u202b\u2067\u2066")


def name_findings(name: str) -> tuple[list[str], bool]:
    """Names of findings (`name_right_to_left`, `name_double_extension`), and whether it is an executable's."""
    tail = name[-400:]
    found = ["name_right_to_left"] if "\u202e" in tail or _mirrored(tail) else []
    if _DRESSED.search(tail):
        found.append("name_double_extension")
    return found, bool(_EXECUTABLE.search(tail))


def _mirrored(name: str) -> bool:
    """Another direction mark in front of Latin letters; Arabic and Hebrew names use them rightly."""
    marked = any(one in _DIRECTIONS for one in name)
    return marked and not any("\u0590" <= one <= "\u08ff" for one in name)
