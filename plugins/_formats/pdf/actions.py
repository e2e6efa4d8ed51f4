"""What a PDF does when it is opened or clicked: programs, shares, addresses, scripts (ISO 32000-1, 12.6)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from plugins._formats.office.links import is_remote

from .syntax import Name, Ref

ACTION_FINDINGS = {
    "pdf_starts_program": (600, "an action that starts a program", ("T1204.002",)),
    "pdf_leads_to_share": (
        500, "an action that fetches something from another network's share, with the user's name and hash",
        ("T1187",),
    ),
    "pdf_opens_address": (300, "the document opens a web address by itself", ("T1204.001",)),
    "pdf_opens_program_address": (
        600, "the document by itself opens the address of a program or an archive", ("T1204.002", "T1105")
    ),
    "pdf_javascript_on_open": (
        100, "JavaScript, and something starts when the document opens", ("T1059.007",)
    ),
    "pdf_javascript_unpacks_code": (
        500, "JavaScript that unpacks code or starts an attached file", ("T1059.007", "T1027")
    ),
    "pdf_attached_program": (500, "a program or script is attached", ("T1204.002",)),
}  # fmt: skip
"""What this module finds, for a plugin's declaration."""

KINDS = frozenset((
    b"Launch", b"GoToE", b"GoToR", b"SubmitForm", b"ImportData", b"URI", b"JavaScript", b"Thread",
    b"Rendition",
))  # fmt: skip
_PROGRAM = re.compile(
    r"\b(?:cmd|powershell|pwsh|mshta|[wc]script|rundll32|regsvr32|msiexec|certutil|bash|sh|python\d?)\b"
    r"|\.(?:exe|scr|com|pif|bat|cmd|ps1|vbs|vbe|js|jse|wsf|wsh|hta|lnk|jar|msi|cpl|sct|reg|dll|application|appref-ms)"
    r"(?=$|[\s\"'?#)])",
    re.IGNORECASE,
)
_FETCHED = re.compile(
    r"\.(?:exe|scr|msi|bat|cmd|ps1|vbs|js|hta|lnk|jar|zip|rar|7z|iso|img|vhdx?|cab|dll)(?=$|[?#\s])",
    re.IGNORECASE,
)
_UNPACKS = re.compile(
    rb"\beval\s{0,40}\(\s{0,40}(?:unescape|String\.fromCharCode|util\.unpackBytes|app\.doc\.)"
    rb"|unescape\s{0,40}\(\s{0,40}[\"']%u[0-9a-fA-F]{4}%u[0-9a-fA-F]{4}"
    rb"|exportDataObject\s{0,40}\(\s{0,40}\{[^}]{0,400}nLaunch[\"']?\s{0,40}:\s{0,40}[12]"
)
_MOST_ACTIONS = 50_000
_MOST_TEXT = 2_000
_FILE_KEYS = (b"UF", b"F", b"Unix", b"DOS", b"Mac")
Owner = tuple[int, int] | None


class Action(NamedTuple):
    """An action: its kind, its dictionary, and the object whose key its strings are encrypted with."""

    kind: bytes
    said: dict[bytes, Any]
    owner: Owner


class Actions:
    """Gathers actions as dictionaries are read, and which of them run when the document opens."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self.found: list[Action] = []
        self.openers: set[int] = set()
        self.opening: list[dict[bytes, Any]] = []
        self.numbers: dict[int, int] = {}

    def dictionary(self, found: dict[bytes, Any], owner: Owner) -> None:
        """Keep an action; remember what the document starts by itself."""
        kind = found.get(b"S")
        if type(kind) is Name and kind in KINDS and len(self.found) < _MOST_ACTIONS:
            self.found.append(Action(bytes(kind), found, owner))
        self._opener(found.get(b"OpenAction"))
        additional = found.get(b"AA")
        if isinstance(additional, dict):
            for value in additional.values():
                self._opener(value)

    def _opener(self, value: Any) -> None:
        if isinstance(value, Ref):
            self.openers.add(value.number)
        elif isinstance(value, dict):
            self.opening.append(value)

    def opens(self, action: Action) -> bool:
        """Whether an action runs by itself when the document or a page of it opens."""
        held = action.owner is not None and action.owner[0] in self.openers
        return held or any(action.said is one for one in self.opening)


def texts(said: dict[bytes, Any], resolved: Any) -> Iterator[bytes]:
    """The strings of an action that say where it leads: `F`, `URI`, and those of `Win` and `Mac`."""
    for key in (*_FILE_KEYS, b"URI", b"P", b"D"):
        value = resolved(said.get(key))
        if type(value) is bytes:
            yield value
        elif isinstance(value, dict):
            yield from (one for inner in _FILE_KEYS if type(one := resolved(value.get(inner))) is bytes)
    for key in (b"Win", b"Mac", b"Unix"):
        value = resolved(said.get(key))
        if isinstance(value, dict):
            yield from (one for one in map(resolved, value.values()) if type(one) is bytes)


def judged(kind: bytes, said: list[str], *, opens: bool) -> Iterator[tuple[str, str]]:
    """Findings about one action with their detail."""
    words = [one[:_MOST_TEXT] for one in said]
    if kind == b"Launch" and any(_PROGRAM.search(one) or is_remote(one) for one in words):
        yield "pdf_starts_program", " ".join(words)[:300]
    shares = [one for one in words if is_remote(one) and not one.lower().lstrip().startswith(("http", "ftp"))]
    if kind != b"JavaScript" and shares:
        yield "pdf_leads_to_share", f"{kind.decode()}: {shares[0]}"[:300]
    if kind == b"URI" and opens and words:
        fetched = _FETCHED.search(words[0])
        yield "pdf_opens_program_address" if fetched else "pdf_opens_address", words[0][:300]


def unpacks(script: bytes) -> bool:
    """Whether a script unpacks code or starts an attached file."""
    return bool(_UNPACKS.search(script))
