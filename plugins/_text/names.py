"""What a file name alone gives away: a hidden extension, or an executable dressed as a document."""

from __future__ import annotations

import re

NAME_FINDINGS = {
    "name_right_to_left": (
        600, "a file name with a right-to-left override hides its extension", ("T1036.002",)
    ),
    "name_double_extension": (600, "an executable whose name ends like a document's", ("T1036.007",)),
}  # fmt: skip
"""What `name_findings` finds, for a plugin's declaration."""

PACKED_FINDINGS = {
    **NAME_FINDINGS,
    "ole_packed_executable": (
        500, "a program or script is packed into the document as an object", ("T1204.002",)
    ),
}  # fmt: skip
"""The same for files that are packed into documents."""

_RUNS = (
    r"exe|scr|pif|com|bat|cmd|cpl|msi|msp|hta|js|jse|vbs|vbe|wsf|wsh|ps1|"
    r"lnk|jar|reg|dll|iso|img|vhd|scf|url|chm"
)
_DRESSED = re.compile(
    rf"\.(?:pdf|docx?|xlsx?|pptx?|rtf|txt|csv|odt|ods|jpe?g|png|gif|bmp|tiff?|mp[34]|avi|wav|html?|eml|msg)"
    rf"[\s_.\u00a0\u2000-\u200b]{{0,200}}\.(?:{_RUNS})\s*$",
    re.IGNORECASE,
)
_EXECUTABLE = re.compile(rf"\.(?:{_RUNS})\s*$", re.IGNORECASE)
_DIRECTIONS = frozenset("\u202e\u202d\u202b\u2067\u2066")


def name_findings(name: str) -> tuple[list[str], bool]:
    """Names of findings of `NAME_FINDINGS`, and whether the name is an executable's."""
    tail = name[-400:]
    found = ["name_right_to_left"] if "\u202e" in tail or _mirrored(tail) else []
    if _DRESSED.search(tail):
        found.append("name_double_extension")
    return found, bool(_EXECUTABLE.search(tail))


def _mirrored(name: str) -> bool:
    """Another direction mark in front of Latin letters; Arabic and Hebrew names use them rightly."""
    marked = any(one in _DIRECTIONS for one in name)
    return marked and not any("\u0590" <= one <= "\u08ff" for one in name)
