"""Where documents lead: addresses that another machine answers, and fields that fetch or start something."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote

LINK_FINDINGS = {
    "office_dde_command": (600, "a field or link that starts a program by DDE", ("T1559.002",)),
    "document_fetches_content": (
        300, "text or data from elsewhere is put into the document when it opens", ("T1221",)
    ),
    "document_web_bug": (
        300, "a picture that is fetched from elsewhere each time the document opens", ("T1187",)
    ),
}  # fmt: skip
"""What `field` finds, for a plugin's declaration."""

_WEB = re.compile(
    r"\s*(?:x-usc:|mhtml:|!)*(?:https?|ftps?|mhtml|ms-[a-z-]+|javascript|vbscript):", re.IGNORECASE
)
_SERVER = re.compile(r"\s*(?:file:)?[\\/]{2,}([^\\/@?#\s]{1,255})(@[^\\/]{1,20})?(?:[\\/]|$)", re.IGNORECASE)
_DRIVE = re.compile(r"\s*(?:file:)?[\\/]*[A-Za-z][:|]", re.IGNORECASE)
_OWN_ENDINGS = ("local", "localhost", "lan", "corp", "internal", "intranet", "home", "localdomain", "intra")
_FIELD = re.compile(
    r"(DDEAUTO|DDE|INCLUDEPICTURE|INCLUDETEXT|INCLUDE|IMPORT|RD|LINK|DATABASE)\b[\s\"“”']*(.*)",
    re.IGNORECASE | re.DOTALL,
)
_PROGRAM = re.compile(
    r"\b(?:cmd|powershell|pwsh|mshta|[wc]script|rundll32|regsvr32|msiexec|certutil|bitsadmin|wmic|schtasks|"
    r"forfiles|conhost|explorer|msbuild|installutil|curl)\b|\.exe\b|system32|\$\(|[\\/]c\s",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"[\s\"“”']*((?:[a-z-]{3,12}:|[\\/]{2})[^\s\"“”']+)", re.IGNORECASE)
_NOT_STORED = re.compile(r"\\d\b")


class Seen(NamedTuple):
    """A finding's name and its detail."""

    finding: str
    detail: str


def is_remote(target: str) -> bool:
    r"""Whether another network answers: http, `mhtml:`, `\\host`; not a disk or a server of one's own.

    A server named by one word, or under an ending that only local networks have, is one's own.
    """
    target = unquote(target.strip().strip("\"'"))
    if _WEB.match(target):
        return True
    if _DRIVE.match(target):
        return False
    found = _SERVER.match(target)
    if found is None:
        return False
    host, port = found[1].lower().rstrip("."), found[2]
    if port is not None:  # WebDAV: \\host@SSL\folder
        return True
    return "." in host and host.rpartition(".")[2] not in _OWN_ENDINGS


def field(instruction: str) -> Iterator[Seen]:
    """What a field's instruction (ECMA-376 part 1, 17.16.5) does that a reader should know."""
    text = " ".join(instruction.replace("\\\\", "\\").split())
    found = _FIELD.match(text)
    if found is None:
        return
    kind, rest = found[1].upper(), found[2]
    if kind.startswith("DDE"):
        if _PROGRAM.search(rest):
            yield Seen("office_dde_command", text[:300])
        return
    address = _ADDRESS.match(rest) or _ADDRESS.search(rest)
    if address is None or not is_remote(address[1]):
        return
    if kind != "INCLUDEPICTURE":
        yield Seen("document_fetches_content", text[:300])
    elif _NOT_STORED.search(rest):
        yield Seen("document_web_bug", text[:300])


def dde(service: str, topic: str) -> Iterator[Seen]:
    """A link to another program's data: to Excel or Word itself it is everyday, to a shell it is not."""
    if _PROGRAM.search(f"{service} {topic} ") or service.upper() == "MSEXCEL":
        yield Seen("office_dde_command", f"{service} | {topic}"[:300])
