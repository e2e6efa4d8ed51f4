"""What `7z l -slt` prints, as members."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .entry import Member, name_of

_SEPARATOR = "----------"
_HEAD_BYTES = 65_536


def parse_listing(output: bytes) -> Iterator[tuple[Member, str, str]]:
    """Each member with its CRC-32 and SHA-1 in hex (empty where not listed).

    One field a line, `Key = value`; members are separated by empty lines, behind a line of dashes.
    7-Zip writes control characters in names as `_`, so a name cannot begin a field of its own.
    """
    text = output.decode("utf-8", "backslashreplace")
    _, found, members = text.partition(f"\n{_SEPARATOR}\n")
    if not found:
        return
    fields: dict[str, str] = {}
    for line in members.split("\n"):
        key, equals, value = line.partition(" = ")
        if equals:
            fields.setdefault(key, value)
        elif line.endswith(" ="):
            fields.setdefault(line[:-2], "")
        elif not line.strip() and fields:
            yield _member(fields)
            fields = {}
    if fields:
        yield _member(fields)


def physical_size(output: bytes) -> int:
    """Where the archive ends in its file, as the listing's head says; 0 where it does not."""
    head = output[:_HEAD_BYTES].partition(f"\n{_SEPARATOR}\n".encode())[0]
    found = re.search(rb"^Physical Size = (\d{1,18})$", head, re.MULTILINE)
    offset = re.search(rb"^Offset = (\d{1,18})$", head, re.MULTILINE)
    return int(found[1]) + (int(offset[1]) if offset else 0) if found else 0


def _member(fields: dict[str, str]) -> tuple[Member, str, str]:
    attributes = fields.get("Attributes", "")
    mode = fields.get("Mode", "") or attributes.rpartition(" ")[2]
    kind = "file"
    if fields.get("Folder") == "+" or attributes.startswith("D") or mode.startswith("d"):
        kind = "directory"
    elif fields.get("Symbolic Link") or mode.startswith("l"):
        kind = "symlink"
    elif fields.get("Hard Link") or fields.get("Copy Link"):
        kind = "hardlink"
    elif mode[:1] in ("b", "c", "p", "s"):
        kind = "device"
    size = fields.get("Size", "")
    modified = fields.get("Modified", "")
    member = Member(
        name=name_of(fields.get("Path", "content").encode("utf-8", "backslashreplace")),
        size=int(size) if size.isdecimal() and len(size) < 20 else 0,
        kind=kind,
        encrypted=fields.get("Encrypted") == "+",
        method=fields.get("Method", ""),
        modified=f"{modified[:10]}T{modified[11:19]}Z" if len(modified) >= 19 else None,
        mode=f"{_octal(mode):04o}" if len(mode) == 10 else None,
    )
    return member, fields.get("CRC", ""), fields.get("SHA-1", "")


def _octal(mode: str) -> int:
    """`-rwxr-x---` as a number."""
    return sum(1 << 8 - n for n, letter in enumerate(mode[1:10]) if letter not in "-ST")
